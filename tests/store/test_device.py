"""Public keys: what is one, and what only looks like one."""

from base64 import urlsafe_b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from gateway.store.device import public_key, public_text

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int]


def text(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode()


def add(one: Point, other: Point) -> Point:
    """Add two points of edwards25519 (RFC 8032, section 5.1.4)."""
    (x1, y1), (x2, y2) = one, other
    product = D * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P
    return x, y


@given(st.binary(min_size=32, max_size=32))
def test_every_key_is_read_as_it_was_written(seed: bytes) -> None:
    """The public half of any key, and nothing is lost on the way."""
    written = public_text(Ed25519PrivateKey.from_private_bytes(seed).public_key())
    assert public_text(public_key(written)) == written


def test_half_of_all_octets_are_no_key() -> None:
    """For half of all y there is no x."""
    taken = 0
    for y in range(2, 402):
        try:
            public_key(text(y.to_bytes(32, "little")))
        except ValueError:
            continue
        taken += 1
    assert 150 < taken < 250


def test_a_key_for_which_all_can_sign_is_none() -> None:
    """All eight points of small order, found by adding one of them to itself, with either sign."""
    y = int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little")
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    eighth, found = (x, y), {(0, 1)}
    point = eighth
    while point != (0, 1):
        found.add(point)
        point = add(point, eighth)
    assert len(found) == 8
    for _, each in found:
        for sign in (0, 1 << 255):
            with pytest.raises(ValueError, match="no Ed25519 public key"):
                public_key(text((each | sign).to_bytes(32, "little")))


@pytest.mark.parametrize("wrong", ["", "A", "A" * 42, "A" * 44, "A" * 42 + "B", text((P + 3).to_bytes(32, "little"))])
def test_what_is_not_written_as_a_key_is_none(wrong: str) -> None:
    """Too short, too long, or a second way to write what has one."""
    with pytest.raises(ValueError, match=r"."):
        public_key(wrong)
