"""Signed messages: believed only under the key that this gateway knows, and only in what that issuer may say."""

import json
from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.jws import LONGEST, Issuer, Issuers, SignatureError, Signer, Use
from tests.simulators.centre_keys import CENTRE, GATEWAY, STRANGER

PAYLOAD = b'{"revision":7}'
ISSUERS = Issuers([Issuer(CENTRE.kid, CENTRE.key.public_key(), frozenset({Use.CONSENT}))])
SIGNED = CENTRE.sign(PAYLOAD)


def part(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_what_an_issuer_has_signed_is_believed() -> None:
    """The payload comes back, with whose it is."""
    assert ISSUERS.verify(SIGNED, Use.CONSENT) == (CENTRE.kid, PAYLOAD)
    assert ISSUERS.verify(SIGNED.encode(), Use.CONSENT) == (CENTRE.kid, PAYLOAD)


HEADER, BODY, SIGNATURE = SIGNED.split(".")
OWN_KEY = {"kid": CENTRE.kid, "alg": "EdDSA", "jwk": {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43}}
REFUSED = {
    "no JWS": ("nonsense", "no JWS"),
    "empty": ("", "no JWS"),
    "without a signature": (f"{HEADER}.{BODY}", "no JWS"),
    "too long": ("a" * (LONGEST + 1), "too long"),
    "of somebody unknown": (GATEWAY.sign(PAYLOAD), "issuer is unknown"),
    "by somebody who uses the name": (STRANGER.sign(PAYLOAD), "signature is not valid"),
    "with another payload": (f"{HEADER}.{part({'revision': 8})}.{SIGNATURE}", "signature is not valid"),
    "alg none": (f"{part({'alg': 'none', 'kid': CENTRE.kid})}.{BODY}.", "signature is not valid"),
    "alg HS256": (f"{part({'alg': 'HS256', 'kid': CENTRE.kid})}.{BODY}.{SIGNATURE}", "signature is not valid"),
    "a key of its own": (f"{part(OWN_KEY)}.{BODY}.{SIGNATURE}", "signature is not valid"),
    "an unknown critical header": (
        f"{part({'alg': 'EdDSA', 'kid': CENTRE.kid, 'crit': ['x'], 'x': 1})}.{BODY}.{SIGNATURE}", "not valid|no JWS"
    ),
    "kid is no text": (f"{part({'alg': 'EdDSA', 'kid': ['x']})}.{BODY}.{SIGNATURE}", "unknown|no JWS"),
    "a header nested for ever": (
        f"{urlsafe_b64encode(b'[' * 20_000).decode()}.{BODY}.{SIGNATURE}", "no JWS"
    ),
    "not ASCII": ("é.é.é", "no JWS"),
}  # fmt: skip


@pytest.mark.parametrize(("token", "why"), REFUSED.values(), ids=REFUSED)
def test_whatever_else_is_refused(token: str, why: str) -> None:
    """The reason says what is wrong, and nothing of the message."""
    with pytest.raises(SignatureError, match=why):
        ISSUERS.verify(token, Use.CONSENT)


def test_an_issuer_signs_what_it_may() -> None:
    """Who writes consents orders nothing."""
    with pytest.raises(SignatureError, match="may not sign a command"):
        ISSUERS.verify(SIGNED, Use.COMMAND)
    assert (ISSUERS.any_for(Use.CONSENT), ISSUERS.any_for(Use.CUE)) == (True, False)


@given(st.binary(max_size=300) | st.text(alphabet="ab.=-_é\0", max_size=300).map(str.encode))
def test_no_octets_are_believed_by_chance(token: bytes) -> None:
    """Anything at all is refused, and nothing but SignatureError leaves."""
    with pytest.raises(SignatureError):
        ISSUERS.verify(token, Use.CONSENT)


def test_no_private_key_is_shown() -> None:
    """Neither a signer nor an issuer prints its key."""
    signer = Signer("x", CENTRE.key)
    assert "key" not in repr(signer).replace("kid", "")
    assert signer.believed(Use.CUE).verify(signer.sign(b"{}"), Use.CUE) == ("x", b"{}")
