"""The gateway's own certificate: key and request made here (PKCS #10, RFC 2986), the certificate imported and verified.

The private key never leaves the device. For a renewal a new key is made beside the one in use, which stays until the
certificate for the new one is imported. The certificate is replaced first, then the key; whoever connects meanwhile,
or after a power cut in between, takes the key that fits (`config.key_that_fits`): there is always a pair. A
connection that is made in the very moment of a replacement may fail, and is tried again.
"""

from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from gateway.config import Settings, key_that_fits, next_key
from gateway.keys import KeyFileError, destroy, replace_secret, write_secret
from gateway.sentence import sentence

LONGEST_NAME: Final = 64
"""Characters of a name in a certificate (RFC 5280, appendix A.1, ub-common-name)."""


class EnrolmentError(Exception):
    """A request cannot be made, or a certificate not be used: what is wrong, and what to do next."""


def request(settings: Settings) -> bytes:
    """Make a key, unless one waits for its certificate already, and return the request for it, in PEM.

    The first key is the one in use; later ones wait beside it. Raises EnrolmentError, KeyFileError.
    """
    certificate, key = _pair(settings)
    _finish(certificate, key)
    path = next_key(key) if certificate.exists() else key
    if not path.exists():
        made = ec.generate_private_key(ec.SECP256R1())
        write_secret(path, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode().rstrip("\n"))
    gateway = settings.gateway
    name = (
        (NameOID.COMMON_NAME, settings.mqtt.client_id or gateway.id),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, gateway.site),
        (NameOID.ORGANIZATION_NAME, gateway.tenant),
    )
    subject = x509.Name([x509.NameAttribute(oid, text[:LONGEST_NAME]) for oid, text in name])
    asked = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(_private(path), SHA256())
    return asked.public_bytes(Encoding.PEM)


def install(settings: Settings, pem: bytes, now_ms: int) -> int:
    """Put a certificate, with those of its authorities behind it, in place; return when it expires (Unix milliseconds).

    It must be for one of the gateway's keys, and valid now. Raises EnrolmentError, KeyFileError.
    """
    path, key = _pair(settings)
    _finish(path, key)
    try:
        held = x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise EnrolmentError(sentence("that is no certificate in PEM: -----BEGIN CERTIFICATE-----")) from None
    from_ms, until_ms = (
        int(at.timestamp() * 1000) for at in (held[0].not_valid_before_utc, held[0].not_valid_after_utc)
    )
    if not from_ms <= now_ms < until_ms:
        raise EnrolmentError(
            sentence("that certificate is not valid now; look at the clock, or have another one issued")
        )
    own = (_public(_private(each)) for each in (next_key(key), key) if each.exists())
    if _public(held[0]) not in own:
        raise EnrolmentError(
            sentence("that certificate is for another key; have it issued for the request that setup has made")
        )
    chain = b"".join(each.public_bytes(Encoding.PEM) for each in held).decode().rstrip("\n")
    if path.exists():
        replace_secret(path, chain)
    else:
        write_secret(path, chain)
    _finish(path, key)
    return until_ms


def _finish(certificate: Path, key: Path) -> None:
    """Put the key of the certificate in its place, also where an import was cut off before. Raises KeyFileError."""
    waiting = next_key(key)
    if not waiting.exists():
        return
    if key_that_fits(certificate, key) == waiting:
        put = replace_secret if key.exists() else write_secret
        put(key, waiting.read_text(encoding="ascii").rstrip("\n"))
    half_destroyed = b"-----BEGIN" not in waiting.read_bytes()
    if half_destroyed or (key.exists() and waiting.read_bytes() == key.read_bytes()):
        destroy(waiting)


def _pair(settings: Settings) -> tuple[Path, Path]:
    certificate, key = settings.mqtt.certificate, settings.mqtt.key
    if certificate is None or key is None:
        raise EnrolmentError(
            sentence("the configuration names no mqtt.certificate and mqtt.key: say there where they will lie")
        )
    return certificate, key


def _private(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError):
        raise KeyFileError(
            sentence("cannot read the private key {path}: it is none that is in PEM and not encrypted").format(
                path=path
            )
        ) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise EnrolmentError(
            sentence("{path} is a key of another kind than is made here; move it away for a new one").format(path=path)
        )
    return key


def _public(of: ec.EllipticCurvePrivateKey | x509.Certificate) -> bytes:
    return of.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
