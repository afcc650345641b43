"""What is measured: every counter, every part, and nobody."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from prometheus_client.parser import text_string_to_metric_families

from gateway.core.sighting import ClockQuality
from gateway.store import condition, said
from gateway.store.database import open_writer, transaction
from gateway.store.progress import Component, Progress, record, report
from gateway.store.schema import CAPTURE
from gateway.uplink.measured import Measured
from gateway.uplink.metrics import exposition
from tests.uplink.conftest import Bench

Samples = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]


@dataclass
class Half:
    """What the uplink half would say of itself."""

    wrong: dict[str, str | None] = field(default_factory=lambda: {"capture": None, "clock": None})
    connected: bool = True
    certificate: Path | None = None


@pytest.fixture
def half() -> Half:
    return Half()


def scraped(bench: Bench, half: Half) -> Samples:
    """Return every sample of a scrape, by name and labels, as the library's own parser reads it."""
    measured = Measured(
        {"version": "1.2.3", "tenant": "acme", "site": "zrh-1", "gateway": "gw-1"},
        bench.directory,
        16 * 1024 * 1024,
        {"counter": "scanner", "salon": "ble"},
        half.certificate,
        bench.clock.now,
        lambda: half.connected,
        lambda: half.wrong,
    )
    text, content_type = exposition(measured, None)
    assert content_type.startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(text.decode())
    return {
        (each.name, tuple(sorted(each.labels.items()))): each.value for family in families for each in family.samples
    }


def tell(bench: Bench, wrong: Mapping[str, str | None], **counts: int) -> None:
    """Have the capture half tell its condition, and count."""
    connection = open_writer(bench.directory, CAPTURE)
    with transaction(connection):
        condition.tell(connection, wrong)
        rows = [(name.replace("__", ":"), number) for name, number in counts.items()]
        connection.executemany("INSERT INTO tally VALUES (?, ?)", rows)
    connection.close()


def test_events_and_outbox(bench: Bench, half: Half) -> None:
    """The balance of events is there, what waits, since when, and how far the session has got."""
    bench.capture.append(3)
    record(bench.database, "s1", Progress(published=2, delivered=1))
    bench.capture.trim(1)
    found = scraped(bench, half)
    names = ("appended", "delivered", "withdrawn", "evicted")
    assert [found[f"touchpoint_events_{name}_total", ()] for name in names] == [3, 1, 0, 0]
    assert found["touchpoint_outbox_last_sequence", ()] == 3
    assert found["touchpoint_outbox_published_sequence", ()] == 2
    assert found["touchpoint_outbox_delivered_sequence", ()] == 1
    assert found["touchpoint_outbox_oldest_timestamp_seconds", ()] == bench.clock.now().wall_ms / 1000
    assert found["touchpoint_store_readable", ()] == 1


def test_nothing_waits(bench: Bench, half: Half) -> None:
    """Of an empty outbox there is no oldest event."""
    assert ("touchpoint_outbox_oldest_timestamp_seconds", ()) not in scraped(bench, half)


def test_sightings_by_fate(bench: Bench, half: Half) -> None:
    """Each fate and each reason is a series; added up they are all readings."""
    tell(bench, {}, sightings=7, absorbed=1, acted_on=2, dropped__unknown=4, sun__forged=5, denied__expired=6)
    found = scraped(bench, half)
    sightings = {labels: value for (name, labels), value in found.items() if name == "touchpoint_sightings_total"}
    assert sightings == {
        (("fate", "absorbed"), ("reason", "")): 1,
        (("fate", "acted_on"), ("reason", "")): 2,
        (("fate", "dropped"), ("reason", "unknown")): 4,
    }
    assert found["touchpoint_tag_messages_total", (("verdict", "forged"),)] == 5
    assert found["touchpoint_subjects_denied_total", (("reason", "expired"),)] == 6


def test_refused_from_the_centre(bench: Bench, half: Half) -> None:
    """What either half refused is counted by kind and reason."""
    tell(bench, {}, **{"down__bad-signature": 1})
    said.tally(bench.database, [("down:command:expired", 2)])
    found = scraped(bench, half)
    name = "touchpoint_centre_refused_total"
    assert found[name, (("kind", "command"), ("reason", "expired"))] == 2
    assert found[name, (("kind", "stored"), ("reason", "bad-signature"))] == 1


def test_readers_are_those_of_the_configuration(bench: Bench, half: Half) -> None:
    """A reader is up if capture says so; of one it has not spoken of, or that is not configured, nothing is known."""
    tell(bench, {"reader:counter": None, "reader:gone": None, "keys": "there is no key ring"})
    found = scraped(bench, half)
    readers = {labels: value for (name, labels), value in found.items() if name == "touchpoint_reader_up"}
    assert readers == {(("kind", "scanner"), ("reader", "counter")): 1, (("kind", "ble"), ("reader", "salon")): 0}
    assert found["touchpoint_component_ok", (("component", "keys"),)] == 0


def test_no_reader_is_up_without_capture(bench: Bench, half: Half) -> None:
    """What a capture half said that has ended holds no longer."""
    tell(bench, {"reader:counter": None})
    half.wrong["capture"] = "it is not running"
    found = scraped(bench, half)
    assert found["touchpoint_reader_up", (("kind", "scanner"), ("reader", "counter"))] == 0
    assert found["touchpoint_capture_running", ()] == 0
    assert found["touchpoint_component_ok", (("component", "capture"),)] == 0


def test_broker_is_as_it_is_now(bench: Bench, half: Half) -> None:
    """The connection counts, not what was written of an earlier one."""
    report(bench.database, "broker", Component(ok=True, reason=None, since_ms=0))
    half.connected = False
    found = scraped(bench, half)
    assert found["touchpoint_broker_connected", ()] == 0
    assert found["touchpoint_component_ok", (("component", "broker"),)] == 0


def test_clock(bench: Bench, half: Half) -> None:
    """One of three is 1."""
    bench.clock.lose_sync(ClockQuality.HOLDOVER)
    found = scraped(bench, half)
    qualities = [found["touchpoint_clock_quality", (("quality", each),)] for each in ("synced", "holdover", "unsynced")]
    assert qualities == [0, 1, 0]


def test_store_that_cannot_be_read(bench: Bench, half: Half) -> None:
    """A scrape of a gateway whose file is damaged says so, and all that does not depend on it."""
    bench.capture.close()
    bench.forwarder.backlog.close()
    (bench.directory / CAPTURE.file).write_bytes(b"not a database at all" * 500)
    found = scraped(bench, half)
    assert found["touchpoint_store_readable", ()] == 0
    assert found["touchpoint_broker_connected", ()] == 1
    assert ("touchpoint_outbox_waiting", ()) not in found


def test_end_of_the_certificate(bench: Bench, half: Half) -> None:
    """The time at which the certificate for mutual TLS ends, so that somebody renews it before."""
    ends = datetime(2027, 3, 1, tzinfo=UTC)
    key, name = ed25519.Ed25519PrivateKey.generate(), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gw-1")])
    building = x509.CertificateBuilder(name, name, key.public_key(), 1, ends - timedelta(days=90), ends)
    half.certificate = bench.directory / "gateway.pem"
    half.certificate.write_bytes(building.sign(key, None).public_bytes(Encoding.PEM))
    assert scraped(bench, half)["touchpoint_certificate_expiry_timestamp_seconds", ()] == ends.timestamp()


@pytest.mark.parametrize("text", [None, b"no certificate"])
def test_certificate_that_cannot_be_read(bench: Bench, half: Half, text: bytes | None) -> None:
    """Nothing is said of it here: the broker is not reached, and that says why."""
    half.certificate = bench.directory / "gateway.pem"
    if text is not None:
        half.certificate.write_bytes(text)
    assert ("touchpoint_certificate_expiry_timestamp_seconds", ()) not in scraped(bench, half)


def test_labels_come_from_configuration_and_code(bench: Bench, half: Half) -> None:
    """Labels are these and no others: none could hold an identifier."""
    bench.capture.append(1, handle="h1.secret")
    tell(bench, {"reader:counter": None}, dropped__unknown=1)
    labels = {name for _, labelled in scraped(bench, half) for name, _ in labelled}
    assert labels <= {
        *("version", "tenant", "site", "gateway", "reader", "kind", "component", "quality", "file"),
        *("fate", "reason", "verdict"),
    }
