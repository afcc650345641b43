"""The same drain by a peer: mosquitto as a bridge, with what it queued on disk, as others forward from a store.

The bridge is given events while the centre is away; then the centre comes, and what is measured is from the first
event that arrives there to the last. The forwarder drains as many of its own to a broker of the same configuration.
"""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import monotonic, sleep

from gateway.demo.broker import free_port
from gateway.uplink.forward import ONE
from tests.benchmarks.bare import bare_publisher
from tests.benchmarks.broker import mosquitto
from tests.benchmarks.drain import BATCHED, ours_per_second, prepare
from tests.benchmarks.outbox import draft
from tests.benchmarks.row import Row, Target
from tests.benchmarks.sightings import written
from tests.benchmarks.wire import Arrivals, arrivals

EVENTS = BATCHED.events
TIMES = 3
ARRIVE_SECONDS = 60
BRIDGE = """connection centre
address 127.0.0.1:{port}
topic touchpoint/# out 1
bridge_protocol_version mqttv50
cleansession false
restart_timeout 1
autosave_interval 1
"""


def rows() -> Iterator[Row]:
    """Measure ours and the bridge in turn."""
    measured = [(_ours(), _bridge()) for _ in range(TIMES)]
    ratio = median(ours / bridge for ours, bridge in measured)
    ours, bridge = (median(values) for values in zip(*measured, strict=True))
    target = Target(3, at_least=True)
    yield Row("drain, batched", "mosquitto bridge with persistence", "events/s", ours, bridge, ratio, target)


def _ours() -> float:
    with TemporaryDirectory() as directory, mosquitto(Path(directory)) as broker, arrivals(broker.port):
        backlogs = prepare(Path(directory), EVENTS, broker.port)
        return asyncio.run(ours_per_second(backlogs, BATCHED))


def _bridge() -> float:
    with ExitStack() as stack:
        here = Path(stack.enter_context(TemporaryDirectory()))
        store, centre, port = here / "store", here / "centre", free_port()
        event = written(draft()).encode()
        store.mkdir()
        centre.mkdir()
        with mosquitto(centre, port=port), arrivals(port) as arrived:
            bridge = stack.enter_context(mosquitto(store, BRIDGE.format(port=port), persistent=True))
            publisher = stack.enter_context(bare_publisher(bridge.port))
            publisher.publish(event, ONE)
            _until(arrived, 1)
        for _ in range(EVENTS):
            publisher.publish(event, ONE)
        stack.enter_context(mosquitto(centre, port=port))
        with arrivals(port) as arrived:
            _until(arrived, EVENTS)
            return EVENTS * 1e9 / (arrived.payloads[-1][0] - arrived.payloads[0][0])


def _until(arrived: Arrivals, number: int) -> None:
    deadline = monotonic() + ARRIVE_SECONDS
    while arrived.count() < number:
        assert monotonic() < deadline, f"{arrived.count()} of {number} came over the bridge"
        sleep(0.1)
