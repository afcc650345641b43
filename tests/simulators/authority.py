"""A certificate authority for an afternoon: signs what a broker shows, in date or not, for its host or another.

authority = Authority(tmp_path)
authority.certificate                              # what a client trusts
authority.issue("broker", "127.0.0.1")             # Certificate(certificate=..., key=...)
"""

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

YEAR = timedelta(days=365)
SIGNS = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True)
class Certificate:
    """Where a certificate and its private key lie, in PEM."""

    certificate: Path
    key: Path


class Authority:
    """Keeps its files, and those of the certificates it issues, in `directory`."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self._directory = directory
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = directory / f"{name}.pem"
        builder = self._identified(_valid(self._name, self._name, self._key.public_key(), -YEAR, YEAR), self._key)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(SIGNS, critical=True)
        self.certificate.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, host: str, *, expired: bool = False) -> Certificate:
        """Sign a certificate for a host name or address."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        ends = -YEAR / 2 if expired else YEAR
        builder = self._identified(_valid(self._name, subject, key.public_key(), -YEAR, ends), key)
        builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(host)]), critical=False)
        issued = Certificate(self._directory / f"{name}.pem", self._directory / f"{name}.key")
        issued.certificate.write_bytes(
            builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )
        issued.key.write_bytes(_unencrypted(key))
        return issued

    def _identified(self, builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        """Name both keys, as strict clients want it (RFC 5280, section 4.2.1; Python from 3.13 on)."""
        ours, theirs = self._key.public_key(), key.public_key()
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(theirs), critical=False)
        return builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ours), critical=False)


def _valid(
    issuer: x509.Name, subject: x509.Name, key: ec.EllipticCurvePublicKey, begins: timedelta, ends: timedelta
) -> x509.CertificateBuilder:
    """Begin a certificate that is valid between two distances from now."""
    now = datetime.now(UTC)  # noqa: TID251  # the TLS library compares with the real clock
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
    )


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _unencrypted(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
