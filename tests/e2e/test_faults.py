"""Faults in the middle of work: what was accepted arrives, in order, once after the copies are dropped."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen

import pytest

from tests.e2e.centre import until
from tests.e2e.conftest import REGISTRY, Store
from tests.simulators.broker import Mosquitto
from tests.simulators.consumer import Consumer

TOKEN = "https://id.acme.example/m/Zk3vX9c1QmS7tB0dLw2RfA"
OTHER = "https://id.acme.example/m/LwRfA8uT5pQnEjYhZk3vX9"
VITRINE, GOOD = "https://id.acme.example/t/vitrine-1", "https://id.acme.example/f/good"

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def consumer(broker: Mosquitto) -> Iterator[Consumer]:
    """A consumer that gives receipts, as the centre does."""
    with Consumer(broker.port, receipts=True) as listening:
        yield listening


def nothing_is_missing(consumer: Consumer) -> None:
    assert (consumer.malformed, consumer.holes, consumer.changed) == ([], set(), [])
    assert consumer.in_order


def kill(store: Store, half: Popen[bytes]) -> None:
    """End a half as a power cut does."""
    half.kill()
    half.wait()
    store.processes.remove(half)


def test_a_killed_uplink_sends_at_least_once(store: Store, consumer: Consumer) -> None:
    """Killed while events flow and receipts are under way: no hole, no other text, the order kept."""
    store.configure(mqtt='delivery = "receipt"\nbatch = 1')
    _capture, uplink = store.start("capture", "uplink")
    for _ in range(3):
        for _ in range(5):
            store.scanner.scan(VITRINE)
        consumer.wait(lambda: consumer.received > 0)
        kill(store, uplink)
        store.scan(GOOD)
        (uplink,) = store.start("uplink")
    consumer.wait(lambda: consumer.received >= 18)
    nothing_is_missing(consumer)
    until(lambda: store.ask("status")["waiting"] == 0, "the receipts to be taken")


def test_a_killed_capture_keeps_what_it_accepted(store: Store, consumer: Consumer) -> None:
    """What an outsider saw committed before the kill is there after it, and arrives."""
    capture, _uplink = store.start("capture", "uplink")
    for _ in range(40):
        store.scanner.scan(VITRINE)
    until(lambda: store.appended() >= 5, "some scans to be committed")
    kill(store, capture)
    accepted = store.appended()
    store.start("capture")
    store.scan(GOOD)
    consumer.wait(lambda: consumer.of("response"))
    assert consumer.received > accepted
    nothing_is_missing(consumer)


def test_a_lost_record_of_the_uplink_costs_copies_only(store: Store, consumer: Consumer) -> None:
    """Without `uplink.db` it cannot know what was sent; the capture half that runs on takes up the new one."""
    _capture, uplink = store.start("capture", "uplink")
    store.scan(VITRINE)
    consumer.wait(lambda: consumer.received == 1)
    kill(store, uplink)
    for path in store.state.glob("uplink.db*"):
        path.unlink()
    store.scan(GOOD)
    store.start("uplink")
    store.scan(VITRINE)
    consumer.wait(lambda: consumer.received == 3)
    nothing_is_missing(consumer)
    until(lambda: store.ask("status")["waiting"] == 0, "what was delivered to be trimmed")
    assert store.ask("outbox", "verify")["ok"]


def test_a_new_outbox_brings_its_own_consents(store: Store, consumer: Consumer) -> None:
    """When capture begins anew, the uplink that runs on decides by the consents that are in force now."""
    capture, _uplink = store.start("capture", "uplink")
    assert store.run("consent", "grant", "--token-from-stdin", given=OTHER).returncode == 0
    store.scan(OTHER)
    consumer.wait(lambda: len(consumer.of("scan")) == 1)
    kill(store, capture)
    for path in store.state.glob("capture.db*"):
        path.unlink()
    assert store.run("touchpoints", "import", str(REGISTRY)).returncode == 0
    store.start("capture")
    assert store.run("consent", "grant", "--token-from-stdin", given=TOKEN).returncode == 0
    store.scan(OTHER, TOKEN)
    consumer.wait(lambda: len(consumer.of("scan")) == 3)
    assert [bool(scan["data"]["subject"]) for scan in consumer.of("scan")] == [True, False, True]
    nothing_is_missing(consumer)


def test_stopping_does_not_wait_for_a_frozen_broker(store: Store, broker: Mosquitto, consumer: Consumer) -> None:
    """With a black hole at the other end the gateway is gone within two seconds, and keeps what it had accepted."""
    (gateway,) = store.start()
    store.scan(VITRINE)
    consumer.wait(lambda: consumer.received == 1)
    broker.freeze()
    store.scan(GOOD)
    begun = time.monotonic()
    gateway.send_signal(signal.SIGTERM)
    assert gateway.wait(10) == 0
    lasted = time.monotonic() - begun
    store.processes.clear()
    broker.thaw()
    assert lasted < 2 + 1  # a noisy machine gets one more
    assert store.ask("outbox", "verify")["waiting"] >= 1
    store.start()
    consumer.wait(lambda: consumer.received == 2)
    nothing_is_missing(consumer)


def test_an_impatient_ctrl_c_is_a_clean_stop_too(store: Store) -> None:
    """Pressed again and again: exit status 0, no traceback, everything counted."""
    (capture,) = store.start("capture")
    store.scan(VITRINE, GOOD)
    for _ in range(5):
        capture.send_signal(signal.SIGINT)
        time.sleep(0.01)
    assert capture.wait(10) == 0
    store.processes.clear()
    assert "Traceback" not in store.log
    assert store.ask("outbox", "verify")["appended"] == 2
    assert store.ask("status")["counters"]["sightings"] == 2


def test_a_replay_leaves_the_live_gateway_alone(store: Store, consumer: Consumer, tmp_path: Path) -> None:
    """Recorded scans go through the same path into a directory of their own; twice, they are the same bytes."""
    store.start()
    store.scan(VITRINE)
    line = {"at": 1.0, "reader": "counter-scanner", "scan": {"text": GOOD, "symbology": "]Q1"}}
    recording = tmp_path / "day.jsonl"
    recording.write_text(f"{json.dumps(line)}\nnonsense\n", encoding="utf-8")
    words = ("replay", str(recording), "--fast", "--start", "2026-11-21T10:00:00Z", "--events")
    once, twice = store.run(*words), store.run(*words)
    assert once.returncode == 0, once.stderr
    events = [json.loads(text) for text in once.stdout.splitlines()]
    assert [(event["type"], event["time"]) for event in events] == [
        ("touchpoint.response.v1", "2026-11-21T10:00:01.000Z")
    ]
    assert once.stdout == twice.stdout
    assert store.run("replay", str(recording), "--state", str(store.state)).returncode == 2
    consumer.wait(lambda: consumer.received == 1)
    assert store.appended() == 1
