"""What Prometheus scrapes: the counters of both files, and how the parts fare, read when somebody asks and not kept.

Names and units follow https://prometheus.io/docs/practices/naming/. A label's value is a name from the configuration
or from this code, never anything that was read: the number of series is bounded, and none of them is about somebody.

It is imported at the first scrape: a gateway that nobody scrapes does not load the library.
"""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType

from cryptography import x509
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from gateway.core.sighting import ClockQuality
from gateway.store import said
from gateway.store.backlog import Backlog
from gateway.store.condition import is_of_reader, of_reader
from gateway.store.database import StoreError
from gateway.store.progress import Followed, components
from gateway.store.schema import CAPTURE, UPLINK
from gateway.uplink.measured import Measured

EVENTS: Mapping[str, str] = MappingProxyType(
    {
        "appended": "Events that were accepted, durably.",
        "delivered": "Events that the broker or, with receipts, the centre has.",
        "withdrawn": "Events that a withdrawn consent took back before they were sent.",
        "evicted": "Events that gave way on a full disk, or were damaged.",
    }
)


def exposition(measured: Measured, accept: str | None) -> tuple[bytes, str]:
    """Return the metrics and their content type, in the best format that an Accept header names.

    Never raises what the store does: then `touchpoint_store_readable` is 0.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(GatewayCollector(measured))
    encode, content_type = choose_encoder(accept or "")
    return encode(registry), content_type


class GatewayCollector(Collector):
    """Reads both files at one scrape."""

    def __init__(self, measured: Measured) -> None:
        self._measured = measured

    def collect(self) -> Iterator[Metric]:
        """Yield every metric; those that come from the files are missing while one cannot be read."""
        yield InfoMetricFamily("touchpoint_build", "The gateway and its version.", value=dict(self._measured.names))
        yield from self._parts()
        yield from self._disk()
        readable = GaugeMetricFamily("touchpoint_store_readable", "1 if both files of the store can be read.")
        try:
            stored = self._stored()
        except (StoreError, sqlite3.Error):
            readable.add_metric([], 0)
            yield readable
        else:
            readable.add_metric([], 1)
            yield readable
            yield from stored

    def _parts(self) -> Iterator[Metric]:
        measured = self._measured
        connected, runs = measured.connected(), measured.condition()["capture"] is None
        yield _gauge("touchpoint_broker_connected", "1 while a broker takes what is published.", connected)
        yield _gauge("touchpoint_capture_running", "1 while the capture half runs.", runs)
        quality = GaugeMetricFamily(
            "touchpoint_clock_quality", "1 for what the clock is: synced, holdover or unsynced.", labels=["quality"]
        )
        is_now = measured.now().quality
        for each in ClockQuality:
            quality.add_metric([each.value], each is is_now)
        yield quality
        yield from _certificate(measured.certificate)

    def _disk(self) -> Iterator[Metric]:
        measured = self._measured
        size = GaugeMetricFamily("touchpoint_store_bytes", "Size of a file of the store.", labels=["file"])
        for file in (CAPTURE.file, UPLINK.file):
            path = measured.state / file
            if path.exists():
                size.add_metric([file], path.stat().st_size)
        yield size
        yield _gauge("touchpoint_store_limit_bytes", "How far the outbox may grow.", measured.limit_bytes)
        found = os.statvfs(measured.state)
        free = found.f_bavail * found.f_frsize
        yield _gauge("touchpoint_disk_free_bytes", "What the disk of the store has left for us.", free)

    def _stored(self) -> list[Metric]:
        """Read everything that the files know. Raises StoreError, sqlite3.Error."""
        state = self._measured.state
        with (
            closing(Backlog(state)) as backlog,
            closing(Followed(state)) as followed,
            backlog.at_one_instant(),
        ):
            tallies, uplink = backlog.tallies(), followed.connection()
            refused = said.tallies(uplink) if uplink else {}
            return [
                *_events(tallies),
                *_outbox(backlog, followed),
                *_sightings(tallies),
                _by_reason(
                    "touchpoint_tag_messages", "Signed messages of tags, by verdict.", "verdict", tallies, "sun:"
                ),
                _by_reason("touchpoint_subjects_denied", "Customers not named, by why.", "reason", tallies, "denied:"),
                _refused({**tallies, **refused}),
                *self._health(backlog, uplink),
            ]

    def _health(self, backlog: Backlog, uplink: sqlite3.Connection | None) -> Iterator[Metric]:
        """Tell how readers and other components fare."""
        measured = self._measured
        wrong = {**backlog.condition(), **measured.condition()}
        parts = {name: part.ok for name, part in components(uplink).items()} if uplink else {}
        fares = parts | {name: reason is None for name, reason in wrong.items()} | {"broker": measured.connected()}
        up = GaugeMetricFamily("touchpoint_reader_up", "1 while a reader's device works.", labels=["reader", "kind"])
        for name, kind in measured.readers.items():  # what a capture half said that has ended holds no longer
            up.add_metric([name, kind], fares["capture"] and fares.get(of_reader(name), False))
        yield up
        ok = GaugeMetricFamily("touchpoint_component_ok", "1 while nothing is wrong with it.", labels=["component"])
        for component in sorted(fares):
            if not is_of_reader(component):
                ok.add_metric([component], fares[component])
        yield ok


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, documentation, value=value)


def _certificate(certificate: Path | None) -> Iterator[Metric]:
    """Tell when the certificate for mutual TLS ends; nothing of one that cannot be read: the broker component does."""
    if certificate is None:
        return
    try:
        ends = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return
    name, said_of_it = "touchpoint_certificate_expiry_timestamp_seconds", "When the certificate for the broker ends."
    yield _gauge(name, said_of_it, ends.timestamp())


def _events(tallies: Mapping[str, int]) -> Iterator[Metric]:
    for name, documentation in EVENTS.items():
        yield CounterMetricFamily(f"touchpoint_events_{name}", documentation, value=tallies.get(name, 0))


def _outbox(backlog: Backlog, followed: Followed) -> Iterator[Metric]:
    """Tell what waits: how many, since when, and how far the session has got."""
    progress = followed.progress(backlog.session() or "")
    yield _gauge("touchpoint_outbox_waiting", "Events that wait for delivery.", backlog.waiting())
    last, published = backlog.last(), progress.published
    yield _gauge("touchpoint_outbox_last_sequence", "Sequence of the last event accepted in this session.", last)
    yield _gauge("touchpoint_outbox_published_sequence", "Up to which events were published.", published)
    yield _gauge("touchpoint_outbox_delivered_sequence", "Up to which events are delivered.", progress.delivered)
    oldest_ms = backlog.oldest_ms(progress.delivered)
    if oldest_ms is not None:
        documentation = "When the oldest event that waits was read."
        yield _gauge("touchpoint_outbox_oldest_timestamp_seconds", documentation, oldest_ms / 1000)


def _sightings(tallies: Mapping[str, int]) -> Iterator[Metric]:
    """Tell what became of every reading: absorbed + acted on + dropped is all of them."""
    documentation = "Readings, by what became of them; of those that were dropped, why."
    family = CounterMetricFamily("touchpoint_sightings", documentation, labels=["fate", "reason"])
    for fate in ("absorbed", "acted_on"):
        family.add_metric([fate, ""], tallies.get(fate, 0))
    for name, number in tallies.items():
        if name.startswith("dropped:"):
            family.add_metric(["dropped", name.removeprefix("dropped:")], number)
    yield family


def _by_reason(name: str, documentation: str, label: str, tallies: Mapping[str, int], prefix: str) -> Metric:
    family = CounterMetricFamily(name, documentation, labels=[label])
    for counted, number in tallies.items():
        if counted.startswith(prefix):
            family.add_metric([counted.removeprefix(prefix)], number)
    return family


def _refused(tallies: Mapping[str, int]) -> Metric:
    """Count what was refused of what came down. Capture finds only bad signatures, whatever the kind."""
    documentation = "Messages from the centre that were refused, by kind and reason."
    family = CounterMetricFamily("touchpoint_centre_refused", documentation, labels=["kind", "reason"])
    for counted, number in tallies.items():
        if counted.startswith("down:"):
            kind, _, reason = counted.removeprefix("down:").rpartition(":")
            family.add_metric([kind or "stored", reason], number)
    return family
