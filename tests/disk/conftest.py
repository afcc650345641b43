"""A capture half in this process, opened as the daemon opens it, on whatever disk a test has."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from gateway.capture import Capture
from gateway.clock import Clock
from gateway.config import Settings, load
from gateway.control import doorbell, serve
from gateway.core.event import Draft, EventType, Retention, retention
from gateway.core.path import Fate, Outcome
from gateway.core.sighting import ClockQuality, Moment
from gateway.daemon.capture import handlers, open_capture
from gateway.daemon.uplink import open_progress, uplink
from gateway.store.backlog import Backlog
from gateway.store.database import StoreError
from gateway.store.progress import Progress, record
from gateway.store.verify import Report, verify
from tests.core import salon

CONFIGURATION = """
[gateway]
tenant = "acme"
site = "zrh-1"
id = "gw-1"
state = "{state}"
runtime = "."
limit_mb = 16
[mqtt]
host = "127.0.0.1"
port = {port}
[pseudonym]
keys = "./keys.json"
[clock]
source = "trusted"
[[reader]]
name = "counter"
kind = "scanner"
device = "/none"
touchpoint = "counter"
"""
INTERACTION = (
    '{"touchpoint":{"id":"vitrine-1","kind":"display","zone":null,"phase":null,"product":null,"campaign":null},'
    '"at":null,"channel":"nfc","reader":"r","test":false,"subject":null,"authenticity":null,"clock":"%s"}'
)
HEALTH = (
    '{"touchpoint":{"id":"pillar","kind":"beacon","zone":null,"phase":null,"product":null,"campaign":null},'
    '"zone":"salon","channel":"ble","reader":"r","test":false,"status":"ok","battery_mv":null,"temperature_c":null,'
    '"uptime_s":null,"rssi":null,"last_seen_s":0.0,"clock":"%s"}'
)
PRESENCE = (
    '{"zone":"salon","at":null,"channel":"ble","reader":"r","test":false,"subject":{"pseudonym":"tp1.e.p",'
    '"attribution":"direct","consent":{"proof":"p","revision":1,"notice":"1","purpose":"personalisation"}},'
    '"clock":"%s"}'
)
CONSENT = '{"record":"a.b.c","revision":1,"reader":null,"clock":"%s"}'
DATA = {
    Retention.HEALTH: HEALTH,
    Retention.PRESENCE: PRESENCE,
    Retention.INTERACTION: INTERACTION,
    Retention.CONTROL: CONSENT,
}


def drafted(kind: EventType = EventType.TAP, at: Moment | None = None) -> Draft:
    """Draft an event that names nobody to the store."""
    at = at or Clock("trusted").now()
    return Draft(kind, at, DATA[retention(kind)] % at.quality, None, None)


def configured(directory: Path, state: Path, port: int = 1883) -> Settings:
    """Return the settings of a gateway whose files are in `state`; the directory must be short enough for sockets."""
    (directory / "gateway.toml").write_text(CONFIGURATION.format(state=state, port=port), encoding="utf-8")
    (directory / "keys.json").write_text(salon.RING.to_json(), encoding="utf-8")
    state.mkdir(exist_ok=True)
    return load(directory / "gateway.toml")


@asynccontextmanager
async def capture_on(settings: Settings) -> AsyncIterator[Capture]:
    """Open the capture half; no source and no watcher runs."""
    async with open_capture(settings) as half:
        yield half


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Capture]:
    """Run both halves as their daemons do, without a source: what they tell each other, staff and the centre."""
    sockets = settings.gateway.sockets
    async with (
        open_capture(settings) as half,
        doorbell(sockets, "capture", half.bell),
        serve(sockets, handlers(half, settings), None),
    ):
        work = [asyncio.ensure_future(half.run([])), asyncio.ensure_future(uplink(settings))]
        try:
            yield half
        finally:
            for each in work:
                each.cancel()
            await asyncio.gather(*work, return_exceptions=True)


async def accept(half: Capture, kind: EventType = EventType.TAP) -> bool:
    """Commit an event as a sighting's; True if it was accepted."""
    outcome = await half.commit(Outcome(Fate.ACTED_ON, None, (drafted(kind),)))
    return outcome.fate is Fate.ACTED_ON


def verified(state: Path) -> Report:
    """Return what `touchpoint outbox verify` finds; nothing may be wrong."""
    with closing(Backlog(state)) as backlog:
        report = verify(backlog)
    assert report.problems == []
    return report


def publish(state: Path, through: int, delivered: int = 0) -> None:
    """Say as the uplink that it has published."""
    with closing(Backlog(state)) as backlog:
        session = backlog.session()
        assert session is not None
        with closing(open_progress(state, backlog, 0)) as connection:
            record(connection, session, Progress(through, delivered))


def unsynced(boot_ns: int) -> Moment:
    """Return a moment before the clock was synced: 1970."""
    return Moment(boot_ns, boot_ns // 1_000_000, ClockQuality.UNSYNCED)


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a path short enough for a Unix socket."""
    with tempfile.TemporaryDirectory(prefix="tp-") as made:
        yield Path(made)


async def refused_starts(settings: Settings, number: int) -> list[str]:
    """Start the capture half so many times, each of which must be refused; return what was said."""
    said = []
    for _ in range(number):
        with pytest.raises(StoreError) as refusal:
            async with capture_on(settings):
                pass
        said.append(str(refusal.value))
    return said
