"""Keys of a centre and of a gateway for tests, the same in every run."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.core.jws import Signer

CENTRE = Signer("centre-1", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
GATEWAY = Signer("acme.zrh-1.gw-1", Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64))))
STRANGER = Signer("centre-1", Ed25519PrivateKey.from_private_bytes(bytes(range(64, 96))))
"""Somebody who signs in the centre's name."""
