"""The expiry of certificates is watched: somebody knows a month before."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from sqlite3 import Connection

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from gateway.config import Settings, load
from gateway.core.sighting import ClockQuality, Moment
from gateway.store.database import open_writer
from gateway.store.progress import components
from gateway.store.schema import UPLINK
from gateway.uplink.expiry import look, watch

EXPIRES = datetime(2027, 1, 31, tzinfo=UTC)
CONFIGURATION = """
[gateway]
tenant = "acme"
site = "zrh-1"
id = "gw-1"
state = "."
[mqtt]
host = "127.0.0.1"
ca = "ca.pem"
"""


@pytest.fixture
def settings(directory: Path) -> Settings:
    """A gateway with an authority whose certificate expires in January."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(EXPIRES - timedelta(days=365)).not_valid_after(EXPIRES)
    (directory / "ca.pem").write_bytes(made.sign(key, SHA256()).public_bytes(Encoding.PEM))
    (directory / "gateway.toml").write_text(CONFIGURATION, encoding="utf-8")
    return load(directory / "gateway.toml")


@pytest.fixture
def database(settings: Settings) -> Iterator[Connection]:
    """The uplink's file."""
    with closing(open_writer(settings.gateway.state, UPLINK)) as connection:
        yield connection


def at(days: int, quality: ClockQuality = ClockQuality.SYNCED) -> Moment:
    """Return the moment so many days before the certificate expires."""
    return Moment(0, int((EXPIRES - timedelta(days=days)).timestamp() * 1000), quality)


@pytest.mark.parametrize(
    ("days", "reason"),
    [
        (200, None),
        (30, None),
        (29, "mqtt.ca expires in 29 days: see touchpoint setup --renew"),
        (0, "mqtt.ca expires in 0 days: see touchpoint setup --renew"),
        (-1, "mqtt.ca has expired: see touchpoint setup --renew"),
    ],
)
def test_it_is_said_a_month_before(settings: Settings, database: Connection, days: int, reason: str | None) -> None:
    """With 30 days left all is well; from then on it shows until the certificate is another one."""
    look(settings, database, at(days))
    told = components(database)["certificate"]
    assert (told.ok, told.reason) == (reason is None, reason)


def test_a_clock_that_is_not_synced_raises_no_alarm(settings: Settings, database: Connection) -> None:
    """Who does not know what day it is says nothing about dates."""
    look(settings, database, at(-1, ClockQuality.UNSYNCED))
    assert "certificate" not in components(database)


async def test_without_encryption_nothing_is_watched(settings: Settings, database: Connection) -> None:
    """A broker in the same machine needs no certificate: watching ends at once."""
    plain = settings.model_copy(update={"mqtt": settings.mqtt.model_copy(update={"ca": None})})
    await asyncio.wait_for(watch(plain, database, lambda: at(0)), 5)
    assert components(database) == {}
