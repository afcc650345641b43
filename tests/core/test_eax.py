"""AES-EAX, by the vectors of its paper."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import eax

# Bellare, Rogaway, Wagner: The EAX Mode of Operation, appendix G: message, key, nonce, header, ciphertext, tag.
VECTORS = [
    (
        "",
        "233952dee4d5ed5f9b9c6d6ff80ff478",
        "62ec67f9c3a4a407fcb2a8c49031a8b3",
        "6bfb914fd07eae6b",
        "",
        "e037830e8389f27b025a2d6527e79d01",
    ),
    (
        "f7fb",
        "91945d3f4dcbee0bf45ef52255f095a4",
        "becaf043b0a23d843194ba972c66debd",
        "fa3bfd4806eb53fa",
        "19dd",
        "5c4c9331049d0bdab0277408f67967e5",
    ),
    (
        "1a47cb4933",
        "01f74ad64077f2e704c0f60ada3dd523",
        "70c3db4f0d26368400a10ed05d2bff5e",
        "234a3463c1264ac6",
        "d851d5bae0",
        "3a59f238a23e39199dc9266626c40f80",
    ),
]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{len(vector[0]) // 2} octets")
def test_published_vectors(vector: tuple[str, ...]) -> None:
    """The whole tag counts, and the first octets of it; a tag, nonce or header of another message does not."""
    plain, key, nonce, header, ciphertext, tag = map(bytes.fromhex, vector)
    assert eax.decrypt(key, nonce, ciphertext, tag, header) == plain
    assert eax.decrypt(key, nonce, ciphertext, tag[:2], header) == plain
    assert eax.decrypt(key, nonce, ciphertext, tag[1:], header) is None
    assert eax.decrypt(key, nonce[1:], ciphertext, tag, header) is None
    assert eax.decrypt(key, nonce, ciphertext, tag) is None


@given(st.binary(min_size=16, max_size=16), st.binary(max_size=20), st.binary(max_size=40), st.binary(min_size=16))
def test_what_nobody_sealed_does_not_open(key: bytes, nonce: bytes, ciphertext: bytes, tag: bytes) -> None:
    """Arbitrary octets are calm, and no message (but for one tag in 2^128)."""
    assert eax.decrypt(key, nonce, ciphertext, tag) is None
