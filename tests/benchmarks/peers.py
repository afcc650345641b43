"""The same drain by ourselves and by peers, as each is installed: mosquitto as a bridge, and thingsboard-gateway.

Everybody has the same events on disk, written by its own code before anything is measured, and starts from a copy of
those files while the broker they go to is there. The same witness at that broker counts for all: from the message that
brings the first event to the one that brings the last. So start-up counts for nobody, and what is left to do
after the last event (acknowledgement, trim) for nobody either.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import sleep

from gateway.demo.broker import free_port
from gateway.uplink.forward import MANY, ONE
from tests.benchmarks import thingsboard
from tests.benchmarks.bare import bare_publisher
from tests.benchmarks.broker import RunningBroker, mosquitto
from tests.benchmarks.drain import BATCH, BATCH_BYTES
from tests.benchmarks.installation import Installation, install, running, wait_for
from tests.benchmarks.outbox import draft, fill, open_outbox
from tests.benchmarks.row import Pairs, Row, Target, rotated
from tests.benchmarks.sightings import written
from tests.benchmarks.witness import witness

EVENTS = 20_000
ROUNDS = 5
SECONDS = 120
DRAIN = "the same drain"
SETTLE_SECONDS = 1.0
"""How long the capture half is left alone after its start, before the uplink half is started."""
BRIDGE = """{saved}
connection centre
address 127.0.0.1:{port}
topic touchpoint/# out 1
bridge_protocol_version mqttv50
cleansession false
restart_timeout 1
"""
AT_ONCE = "autosave_on_changes true\nautosave_interval 1"
SHORT, DEFAULT = "autosave_interval 1", "autosave_interval 1800"
"""When a mosquitto saves: what came since is lost when it is killed. The last is what it comes with."""
FEW = 2_000
"""How many events wait in slow peers; a bridge that saves at once writes all that wait each time."""
BRIDGED = (
    "Mosquitto with persistence true, {saved}, unlimited queue, QoS 1, {size}, at most 20 messages unacknowledged (its "
    "default). It starts from the mosquitto.db that holds the events. {promise}"
)
LOST = "What came since its last save is lost when it is killed; ours accepts an event when it is on disk."
KEPT = (
    "Saving after each message comes nearest to ours, which accepts an event when it is on disk. "
    f"Only {FEW:,} wait, since each save writes all that wait."
)
ALONE, TOGETHER = "one event a message", f"as many events a message as ours (up to {BATCH_BYTES // 1024} KiB)"
THINGSBOARD = (
    f"PyPI thingsboard-gateway {thingsboard.VERSION} as published: its SQLite storage (WAL, synchronous=NORMAL), its "
    "sample configuration otherwise, QoS 1, {events:,} events of one device, {read_at_once:,} a read (1,000 is what "
    "the storage reads if not told, 10 what the sample tells any storage). Mosquitto stands in for the "
    "platform; getSessionLimits is answered with ThingsBoard's defaults (64 KiB a message, no rate limits)."
)

Measure = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Rival:
    """A peer, what its row is called, and against which of ours it is held."""

    measure: Measure
    ours: int
    what: str
    beside: str
    note: str
    target: Target | None = None


def rows() -> Iterator[Row]:
    """Measure everybody in turn, round after round."""
    with TemporaryDirectory() as directory:
        here = Path(directory)
        ours = (_gateway(here / "batched", BATCH), _gateway(here / "alone", 1))
        rivals, missing = _rivals(here)
        for measure in (*ours, *(rival.measure for rival in rivals)):
            measure()
        rounds = rotated([*ours, *(rival.measure for rival in rivals)], ROUNDS)
        columns = list(zip(*rounds, strict=True))
        for at, rival in enumerate(rivals, len(ours)):
            pairs = Pairs(columns[rival.ours], columns[at])
            yield pairs.row(rival.what, rival.beside, "events/s", rival.target, rival.note)
        for why in missing:
            yield Row(DRAIN, "thingsboard-gateway: not measured", "events/s", median(columns[0]), note=why)


def _rivals(here: Path) -> tuple[list[Rival], list[str]]:
    """Prepare the peers; return too why one is missing."""
    bridges = _bridges(here)
    try:
        installed = thingsboard.environment()
    except thingsboard.MissingError as error:
        return bridges, [f"thingsboard-gateway {thingsboard.VERSION} could not be installed: {error}"]
    return [*bridges, *_thingsboards(installed, here)], []


def _thingsboards(installed: Path, here: Path) -> Iterator[Rival]:
    configured = {
        "thingsboard-gateway": (EVENTS, thingsboard.READ_AT_ONCE),
        "thingsboard-gateway, sample settings": (FEW, thingsboard.SAMPLE_READ_AT_ONCE),
    }
    for beside, (number, read_at_once) in configured.items():
        filled = here / f"filled-{number}"
        thingsboard.fill(installed, filled, number)
        measure = partial(thingsboard.events_per_second, installed, filled, number, read_at_once)
        note = THINGSBOARD.format(events=number, read_at_once=read_at_once)
        yield Rival(measure, 0, DRAIN, beside, note, Target(20, at_least=True))


def _bridges(here: Path) -> list[Rival]:
    each, few = _bridge(here / "bridge", EVENTS), _bridge(here / "few", FEW)
    batched = _bridge(here / "bridge-batched", EVENTS, _together())
    short = _bridged(SHORT, ALONE, LOST)
    what, goal = "mosquitto bridge", Target(3, at_least=True)
    return [
        Rival(partial(few, AT_ONCE), 0, DRAIN, f"{what}, saved at once", _bridged(AT_ONCE, ALONE, KEPT), goal),
        Rival(partial(each, SHORT), 0, DRAIN, f"{what}, saved each second", short, goal),
        Rival(partial(each, DEFAULT), 0, DRAIN, f"{what}, default autosave", _bridged(DEFAULT, ALONE, LOST)),
        Rival(partial(batched, SHORT), 0, DRAIN, f"{what}, fed with batches", _bridged(SHORT, TOGETHER, LOST)),
        Rival(partial(each, SHORT), 1, f"{DRAIN}, one event a message", f"{what}, saved each second", short),
    ]


def _bridged(saved: str, size: str, promise: str) -> str:
    return BRIDGED.format(saved=saved.replace("\n", ", "), size=size, promise=promise)


def _together() -> int:
    """Return how many events share a message of ours."""
    return min(BATCH, (BATCH_BYTES - 2) // (len(written(draft())) + 1))


def _gateway(here: Path, batch: int) -> Measure:
    """Install ourselves, and store the events."""
    here.mkdir()
    port = free_port()
    installed = install(here, port, readers=1, batch=batch)
    outbox = open_outbox(installed.state)
    fill(outbox, EVENTS)
    outbox.connection.close()
    installed.state.rename(here / "filled")
    return partial(_gateway_per_second, installed, port)


def _gateway_per_second(installed: Installation, port: int) -> float:
    shutil.rmtree(installed.state, ignore_errors=True)
    shutil.copytree(installed.directory / "filled", installed.state)
    with ExitStack() as stack:
        broker = stack.enter_context(mosquitto(installed.directory, port=port))
        watching = stack.enter_context(witness(broker.port))
        stack.enter_context(running(installed.command("capture")))
        wait_for(installed.state / "capture.bell")
        sleep(SETTLE_SECONDS)
        stack.enter_context(running(installed.command("uplink")))
        watching.wait(EVENTS, SECONDS)
        return watching.per_second(EVENTS)


def _bridge(here: Path, events: int, together: int = 1) -> Callable[[str], float]:
    """Give a bridge the events while its centre is away, and stop it; return what measures it by when it saves."""
    store, port, event = here / "store", free_port(), written(draft())
    store.mkdir(parents=True)
    with _store(store, port, SHORT) as broker, bare_publisher(broker.port) as publisher:
        for done in range(0, events, together):
            texts = [event] * min(together, events - done)
            text, kind = (event, ONE) if together == 1 else (f"[{','.join(texts)}]", MANY)
            publisher.publish(text.encode(), kind)
    store.rename(here / "filled")
    return partial(_bridge_per_second, here, port, events)


def _store(directory: Path, port: int, saved: str) -> AbstractContextManager[RunningBroker]:
    return mosquitto(directory, BRIDGE.format(saved=saved, port=port), persistent=True)


def _bridge_per_second(here: Path, port: int, events: int, saved: str) -> float:
    store, centre = here / "store", here / "centre"
    shutil.rmtree(store, ignore_errors=True)
    shutil.copytree(here / "filled", store)
    centre.mkdir(exist_ok=True)
    with mosquitto(centre, port=port), witness(port) as watching, _store(store, port, saved):
        watching.wait(events, SECONDS)
        return watching.per_second(events)
