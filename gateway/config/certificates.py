"""Whether the files of TLS are what they should be: they are opened as the uplink half will open them."""

import ssl
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.config.problem import Problem
from gateway.config.settings import Settings
from gateway.sentence import sentence

EXPIRES_DAYS: Final = 30
"""So long before a certificate expires somebody is told."""
DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Validity:
    """From when until when a certificate is valid (Unix milliseconds), and the setting that names it."""

    setting: str
    from_ms: int
    until_ms: int


def validities(settings: Settings) -> Iterator[Validity]:
    """Yield the dates of the certificates that are named and can be read; of authorities the first to expire."""
    from cryptography import x509  # noqa: PLC0415  # most commands need no certificate

    for setting, path in (("mqtt.ca", settings.mqtt.ca), ("mqtt.certificate", settings.mqtt.certificate)):
        with suppress(OSError, ValueError):
            held = x509.load_pem_x509_certificates(path.read_bytes()) if path else []
            held = held[:1] if setting == "mqtt.certificate" else held  # behind it come those of its authorities
            for each in sorted(held, key=lambda each: each.not_valid_after_utc)[:1]:
                times = (each.not_valid_before_utc, each.not_valid_after_utc)
                yield Validity(setting, *(int(at.timestamp() * 1000) for at in times))


def expiry_fault(settings: Settings, now_ms: int) -> str | None:
    """Say which certificate has expired or soon will; None while all have time."""
    for each in validities(settings):
        days = (each.until_ms - now_ms) // DAY_MS
        if days < EXPIRES_DAYS:
            when = sentence("has expired") if days < 0 else sentence("expires in {days} days").format(days=days)
            return sentence("{setting} {when}: see touchpoint setup --renew").format(setting=each.setting, when=when)
    return None


def next_key(key: Path) -> Path:
    """Return where a private key lies that waits for its certificate."""
    return key.with_name(f"{key.name}.next")


def key_that_fits(certificate: Path, key: Path | None) -> Path | None:
    """Return the private key of this certificate: the one that is named, or the one that waits beside it.

    A renewal replaces the certificate and then the key; should the power fail in between, the pair is complete all the
    same. Where neither fits, the one that is named.
    """
    if key is None or _fits(certificate, key) or not _fits(certificate, next_key(key)):
        return key
    return next_key(key)


def _fits(certificate: Path, key: Path) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, _nobody_types)
    except (OSError, ssl.SSLError, _EncryptedError):
        return False
    return True


class _EncryptedError(Exception):
    """OpenSSL asked for a passphrase, which nobody is there to type."""


def tls_problems(settings: Settings) -> list[Problem]:
    """Return what is wrong with `mqtt.ca`, `mqtt.certificate` and `mqtt.key`. Nothing of a key is in it."""
    mqtt = settings.mqtt
    named = {"mqtt.ca": mqtt.ca, "mqtt.certificate": mqtt.certificate, "mqtt.key": mqtt.key}
    look = {"mqtt.key": _unread}
    found = {
        setting: fault
        for setting, path in named.items()
        if path is not None and (fault := look.get(setting, authority_fault)(path))
    }
    if mqtt.certificate is not None and not found.keys() - {"mqtt.ca"} and (fault := _key_fault(named)):
        found["mqtt.certificate" if mqtt.key is None else "mqtt.key"] = fault
    return [Problem(str(settings.file), None, setting, *fault) for setting, fault in found.items()]


def authority_fault(path: Path) -> tuple[str, str] | None:
    """Say why a file is none of certificates, and what to do; None if it is one."""
    if fault := _unread(path):
        return fault
    if _holds_certificates(path):
        return None
    return sentence("{path} holds no certificate").format(path=path), sentence(
        "name a file in PEM: -----BEGIN CERTIFICATE-----"
    )


def _unread(path: Path) -> tuple[str, str] | None:
    """Say why a file cannot be read, and what to do."""
    try:
        path.read_bytes()
    except FileNotFoundError:
        return sentence("there is no file {path}").format(path=path), sentence("put it there, or name another")
    except IsADirectoryError:
        return sentence("{path} is a directory").format(path=path), sentence("name the file in it")
    except OSError as error:
        hint = sentence("give the user that the gateway runs as the right to read it")
        return sentence("{path} cannot be read: {error}").format(path=path, error=error.strerror), hint
    return None


def _holds_certificates(path: Path) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        return False
    return bool(context.cert_store_stats()["x509"])


def _key_fault(named: dict[str, Path | None]) -> tuple[str, str] | None:
    certificate, key = named["mqtt.certificate"], named["mqtt.key"]
    if certificate is None:
        return None
    holder = key_that_fits(certificate, key) or certificate
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, holder, _nobody_types)
    except _EncryptedError:
        return sentence("the private key in {holder} is encrypted").format(holder=holder), sentence(
            "store it without a passphrase, for its owner only"
        )
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            return sentence("the private key in {holder} is not that of {certificate}").format(
                holder=holder, certificate=certificate
            ), sentence("name the pair that was issued together")
        where = (
            sentence("name it with mqtt.key")
            if key is None
            else sentence("name a file in PEM: -----BEGIN PRIVATE KEY-----")
        )
        return sentence("{holder} holds no private key").format(holder=holder), where
    return None


def _nobody_types() -> str:
    raise _EncryptedError
