"""The centre's word, from a real broker to what the gateway says of its customers: given, withdrawn, ordered."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from gateway.clock import Clock
from gateway.core import pseudonym
from gateway.core.contract import Topics
from gateway.core.sighting import Identifier
from gateway.store.device import public_text
from gateway.uplink.mqtt import Message
from tests.e2e.centre import Subscriber, until
from tests.e2e.conftest import ROOT, Store
from tests.simulators.broker import Mosquitto
from tests.simulators.centre import Centre
from tests.simulators.centre_keys import CENTRE

TOKEN = "https://id.acme.example/m/Zk3vX9c1QmS7tB0dLw2RfA"
VITRINE = "https://id.acme.example/t/vitrine-1"
TOPICS = Topics("acme", "zrh-1", "gw-1")
HANDLE = pseudonym.handle(pseudonym.derive(ROOT, "acme", "zrh-1", []), Identifier("link", TOKEN))
ISSUER = f"""
[[issuer]]
kid = "{CENTRE.kid}"
key = "{public_text(CENTRE.key.public_key())}"
"""

pytestmark = pytest.mark.timeout(120)
Say = Callable[..., None]


def now_ms() -> int:
    return Clock("trusted").now().wall_ms


@pytest.fixture
def centre() -> Centre:
    return Centre(TOPICS)


@pytest.fixture
def say(broker: Mosquitto) -> Iterator[Say]:
    """Publish as the centre does, and wait until the broker has it."""
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5, client_id="centre")
    client.connect("127.0.0.1", broker.port)
    client.loop_start()

    def publish(*messages: Message) -> None:
        sent = [client.publish(each.topic, each.payload, 1, retain=each.retain) for each in messages]
        for each in sent:
            each.wait_for_publish(10)

    yield publish
    client.disconnect()
    client.loop_stop()


@pytest.fixture
def trusting(store: Store) -> Store:
    """A store whose gateway believes the centre."""
    path = store.directory / "gateway.toml"
    path.write_text(path.read_text("utf-8") + ISSUER, encoding="utf-8")
    return store


def subjects(subscriber: Subscriber) -> list[Any]:
    """Return whom the scans that have arrived name."""
    return [event["data"]["subject"] for event in subscriber.events() if event["type"] == "touchpoint.scan.v1"]


def consent_is(store: Store, *, ok: bool) -> Callable[[], bool]:
    """Tell whether the gateway holds its consent set to be complete."""
    return lambda: (store.ask("status")["health"].get("consent", "nothing yet") is None) is ok


def of_type(subscriber: Subscriber, kind: str) -> list[Any]:
    return [event["data"] for event in subscriber.events() if event["type"] == f"touchpoint.{kind}.v1"]


def applied(subscriber: Subscriber, revision: int) -> Callable[[], bool]:
    """Tell whether the gateway has said that a revision of the set is in force."""
    return lambda: any(each["revision"] == revision for each in of_type(subscriber, "consent-applied"))


def test_consent_from_the_centre_and_its_withdrawal(
    trusting: Store, subscriber: Subscriber, centre: Centre, say: Say
) -> None:
    """Nobody is named before the set is complete; then who agreed is; and after the withdrawal nobody again."""
    trusting.start()
    until(consent_is(trusting, ok=False), "the gateway to miss the set")
    trusting.scan(TOKEN)
    say(centre.grant("r1", HANDLE, at_ms=now_ms() - 1_000), centre.state(now_ms()))
    until(consent_is(trusting, ok=True), "the set to be complete")
    trusting.scan(TOKEN, VITRINE)
    until(lambda: len(subjects(subscriber)) == 3, "three scans")
    assert [subject and subject["attribution"] for subject in subjects(subscriber)] == [None, "direct", "visit"]
    began = time.monotonic()
    say(centre.withdraw("r1", now_ms()), centre.state(now_ms()))
    until(applied(subscriber, centre.revision), "the withdrawal to be applied")
    assert time.monotonic() - began < 60, "a withdrawal is in force within a minute"
    trusting.scan(VITRINE, TOKEN)
    until(lambda: len(subjects(subscriber)) == 5, "five scans")
    assert subjects(subscriber)[3:] == [None, None]


def test_what_was_scanned_offline_is_decided_again(
    trusting: Store, subscriber: Subscriber, centre: Centre, say: Say
) -> None:
    """A withdrawal that comes with the connection comes before the events that wait: they are never sent."""
    say(centre.grant("r1", HANDLE, at_ms=now_ms() - 1_000), centre.state(now_ms()))
    trusting.start()
    until(consent_is(trusting, ok=True), "the set to be complete")
    trusting.stop()
    trusting.start("capture")
    trusting.scan(TOKEN, VITRINE)
    say(centre.withdraw("r1", now_ms()), centre.state(now_ms()))
    trusting.start("uplink")
    until(applied(subscriber, centre.revision), "the withdrawal to be applied")
    until(lambda: trusting.ask("outbox", "show")["waiting"] == 0, "the outbox to be empty")
    assert [subject for subject in subjects(subscriber) if subject] == []


def test_commands_are_carried_out_and_answered(
    trusting: Store, subscriber: Subscriber, centre: Centre, say: Say
) -> None:
    """By whichever half they concern, once; what is not in the list is refused; all of it is answered."""
    trusting.start()
    say(centre.state(now_ms()))
    until(consent_is(trusting, ok=True), "the gateway to listen")
    twice = centre.command("activate-epoch", now_ms(), epoch="2027Q1")
    say(twice, twice, centre.command("shell", now_ms(), run="reboot"), centre.command("report", now_ms()))
    until(lambda: len(of_type(subscriber, "command-result")) == 3, "three answers")
    answers = {answer["command"]: answer["status"] for answer in of_type(subscriber, "command-result")}
    assert answers == {"activate-epoch": "done", "shell": "refused", "report": "done"}
    say(centre.command("restart", now_ms()))
    until(lambda: trusting.log.count("starting again") == 2, "both halves to start again")
    until(trusting.is_reading, "the scanner to be read again")
    trusting.scan(VITRINE)
    until(lambda: len(subjects(subscriber)) == 1, "a scan after the restart")
    assert len(of_type(subscriber, "command-result")) == 4


def test_touchpoints_from_the_centre(trusting: Store, say: Say) -> None:
    """A definition with a higher revision takes the place of the store's own, and the next scan counts by it."""
    trusting.start()
    entry = {
        "id": "vitrine-1", "kind": "display", "name": "From the centre", "zone": "loft",
        "identifiers": [f"link:{VITRINE}"], "revision": 99,
    }  # fmt: skip
    say(Message("touchpoint/v1/acme/zrh-1/registry/vitrine-1", json.dumps(entry).encode(), retain=True))

    def names() -> dict[str, str]:
        return {each["id"]: each["name"] for each in trusting.ask("touchpoints", "list")}

    until(lambda: names()["vitrine-1"] == "From the centre", "the definition to be taken over")
    assert "vitrine-1" in trusting.log
