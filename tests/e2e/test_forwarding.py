"""From a scan in the store to an event at the broker, with the processes, driver and broker that a store has."""

import hashlib
import hmac
import json
import os
import signal
import threading
import time
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from gateway.core.contract import schemas
from gateway.core.event import State
from gateway.uplink.scrape import socket_path
from tests.e2e.centre import Subscriber, until
from tests.e2e.conftest import ROOT, Store
from tests.simulators.broker import Mosquitto

TOKEN = "https://id.acme.example/m/Zk3vX9c1QmS7tB0dLw2RfA"
VITRINE, GOOD = "https://id.acme.example/t/vitrine-1", "https://id.acme.example/f/good"
CLOUDEVENTS = json.loads((Path(__file__).parent.parent / "vectors" / "cloudevents.schema.json").read_text("utf-8"))

pytestmark = pytest.mark.timeout(120)


def arrived(subscriber: Subscriber, number: int) -> None:
    until(lambda: len(subscriber.sequences()) >= number, f"{number} events to arrive")


def pseudonym(epoch: str, token: str) -> str:
    """Compute a pseudonym from the root as DESIGN has it, with nothing of the gateway's."""

    def hkdf(key: bytes, info: str) -> bytes:
        pseudorandom = hmac.digest(b"", key, hashlib.sha256) if key else b""
        return hmac.digest(pseudorandom, info.encode() + b"\x01", hashlib.sha256)

    use = hkdf(hkdf(ROOT, f"touchpoint/v1/pseudonym\0acme\0zrh-1\0{epoch}"), "touchpoint/v1/use\0personalisation\0link")
    short = urlsafe_b64encode(hmac.digest(use, token.encode(), hashlib.sha256)[:16]).rstrip(b"=").decode()
    return f"tp1.{epoch}.{short}"


def test_a_scan_becomes_an_event_of_the_contract(store: Store, subscriber: Subscriber) -> None:
    """What arrives is a CloudEvent, by the official schema and by ours, and nothing unknown arrives at all."""
    store.start()
    store.scanner.scan("https://elsewhere.example/")
    store.scan(VITRINE, GOOD)
    arrived(subscriber, 2)
    for event in subscriber.events():
        Draft7Validator(CLOUDEVENTS).validate(event)
        kind = event["type"].removeprefix("touchpoint.").removesuffix(".v1")
        Draft202012Validator(schemas()[f"{kind}-event"]).validate(event)
    scan, answer = subscriber.events()
    assert (scan["type"], scan["data"]["touchpoint"]["id"], scan["data"]["at"]) == (
        "touchpoint.scan.v1",
        "vitrine-1",
        "counter",
    )
    assert (answer["type"], answer["data"]["value"]) == ("touchpoint.response.v1", "good")
    assert scan["data"]["subject"] is None
    assert subscriber.sequences() == [1, 2]


def test_a_customer_is_named_with_consent_and_not_after_it(store: Store, subscriber: Subscriber) -> None:
    """The pseudonym is what the trust service computes from the root; a visit follows it; a withdrawal ends both."""
    store.start()
    store.scan(TOKEN)
    assert store.run("consent", "grant", "--token-from-stdin", given=TOKEN).returncode == 0
    store.scan(TOKEN, VITRINE)
    assert store.run("consent", "withdraw", "--token-from-stdin", given=TOKEN).returncode == 0
    store.scan(VITRINE, TOKEN)
    arrived(subscriber, 8)
    assert [event["type"].split(".")[1] for event in subscriber.events()] == [
        "scan", "consent-granted", "scan", "scan", "consent-withdrawn", "consent-applied", "scan", "scan",
    ]  # fmt: skip
    before, token, vitrine, after, again = [
        event["data"]["subject"] for event in subscriber.events() if "subject" in event["data"]
    ]
    assert (before, after, again) == (None, None, None)
    assert token["pseudonym"] == vitrine["pseudonym"]
    assert token["pseudonym"] == pseudonym(token["pseudonym"].split(".")[1], TOKEN)
    assert (token["attribution"], vitrine["attribution"]) == ("direct", "visit")
    assert token["consent"]["purpose"] == "personalisation"
    store.stop()
    assert store.files_holding(TOKEN) == store.files_holding("Zk3vX9c1QmS7tB0dLw2RfA") == []


def test_consent_is_given_by_presenting_the_token(store: Store) -> None:
    """`consent grant` borrows the reader: the next scan is the customer's word, and no event."""
    store.start()
    granted: list[Any] = []
    asking = threading.Thread(target=lambda: granted.append(store.ask("consent", "grant", "--language", "de")))
    asking.start()
    until(lambda: _present(store, granted), "the consent to be recorded")
    asking.join()
    assert (granted[0]["state"], granted[0]["language"]) == ("given", "de")
    assert store.ask("consent", "show", "--token-from-stdin", given=TOKEN)[0]["record_id"] == granted[0]["record_id"]
    assert store.ask("consent", "show", "--token-from-stdin", given=TOKEN)[0]["notice_version"] == "1"


def _present(store: Store, granted: list[object]) -> bool:
    if not granted:
        store.scanner.scan(TOKEN)
        time.sleep(0.2)
    return bool(granted)


def test_a_withdrawal_reaches_what_waits(store: Store, broker: Mosquitto, subscriber: Subscriber) -> None:
    """While the broker is away a customer withdraws: of what waits about them only the numbers arrive."""
    broker.stop()
    store.start()
    assert store.run("consent", "grant", "--token-from-stdin", given=TOKEN).returncode == 0
    store.scan(VITRINE, TOKEN, VITRINE)
    withdrawn = store.ask("consent", "withdraw", "--token-from-stdin", given=TOKEN)
    assert (withdrawn["withdrawn"], withdrawn["possibly_sent"]) == (1, 0)
    waiting = store.run("outbox", "export").stdout
    assert waiting.count('"type":"touchpoint.gap.v1"') == 2
    assert store.files_holding("tp1.") == []
    broker.start()
    arrived(subscriber, 6)
    assert [event["type"].split(".")[1] for event in subscriber.events()] == [
        "consent-granted", "scan", "gap", "gap", "consent-withdrawn", "consent-applied",
    ]  # fmt: skip
    store.stop()
    assert store.ask("outbox", "verify")["withdrawn"] == 2


def test_without_a_broker_the_gateway_captures_and_later_sends_it_all(
    store: Store, broker: Mosquitto, subscriber: Subscriber
) -> None:
    """Nothing that was accepted meanwhile is missing, and the order is kept; several travel in one message."""
    broker.stop()
    store.start()
    store.scan(*[VITRINE, GOOD] * 10)
    assert store.ask("status")["waiting"] == 20
    broker.start()
    arrived(subscriber, 20)
    assert subscriber.sequences() == list(range(1, 21))
    assert "application/cloudevents-batch+json" in subscriber.content_types()


def test_what_is_exported_is_what_is_sent(store: Store, broker: Mosquitto, subscriber: Subscriber) -> None:
    """`outbox export` prints the bytes of the wire; with `batch = 1` each travels alone."""
    broker.stop()
    store.configure(mqtt="batch = 1")
    store.start()
    store.scan(VITRINE, GOOD, VITRINE)
    exported = store.run("outbox", "export").stdout.splitlines()
    broker.start()
    arrived(subscriber, 3)
    sent = [payload.decode() for payload in subscriber.payloads("/event")]
    assert list(dict.fromkeys(sent)) == exported
    assert subscriber.content_types() == {"application/cloudevents+json"}


def test_a_broker_that_restarts_is_found_again(store: Store, broker: Mosquitto, subscriber: Subscriber) -> None:
    """In the middle of traffic: no hole, and birth is said again."""
    store.start()
    store.scan(VITRINE)
    arrived(subscriber, 1)
    broker.kill()
    store.scan(GOOD, VITRINE)
    broker.start()
    store.scan(GOOD)
    until(lambda: sum(state["online"] for state in subscriber.states()) >= 2, "the second birth")
    until(lambda: store.ask("status")["waiting"] == 0, "the outbox to be empty")
    assert store.ask("outbox", "verify")["ok"]


@pytest.mark.parametrize("half", ["capture", "uplink"])
def test_a_half_that_is_killed_is_started_again_and_loses_nothing(
    store: Store, subscriber: Subscriber, half: str
) -> None:
    """`run` starts it again; what was committed arrives, in order."""
    store.start()
    until(subscriber.states, "the birth")
    store.scan(VITRINE, GOOD)
    holder = int((store.state / f"{half}.lock").read_text("ascii"))
    os.kill(holder, signal.SIGKILL)
    until(lambda: (store.state / f"{half}.lock").read_text("ascii").strip() != str(holder), f"another {half} half")
    until(store.is_reading, "the scanner to be read again")
    store.scan(VITRINE, GOOD)
    arrived(subscriber, 4)
    assert subscriber.sequences() == [1, 2, 3, 4]


def test_birth_and_death_are_retained(store: Store, broker: Mosquitto, subscriber: Subscriber) -> None:
    """Online with the session, offline at a clean stop, and offline by the Will when the uplink is killed."""
    _capture, uplink = store.start("capture", "uplink")
    until(lambda: any(state["online"] and state["session"] for state in subscriber.states()), "the birth")
    uplink.kill()
    until(lambda: not subscriber.states()[-1]["online"], "the Will")
    for payload in subscriber.payloads("/state"):
        State.model_validate_json(payload)
    with Subscriber(broker.port, "touchpoint/+/+/+/+/state") as late:
        until(lambda: late.messages, "the retained state")
        assert late.messages[0].retain
    uplink.wait()
    store.processes.remove(uplink)
    socket_path(store.directory / "state").unlink()  # whoever is killed leaves it, and the next one takes its place


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_clean_stop_takes_less_than_two_seconds_and_loses_nothing(store: Store, number: signal.Signals) -> None:
    """Everything accepted is in the file, counters and all, and the exit status is 0."""
    (gateway,) = store.start()
    store.scan(VITRINE)
    store.scanner.scan("https://elsewhere.example/")
    until(lambda: store.ask("status")["counters"].get("dropped:unknown") == 1, "the stranger to be counted")
    begun = time.monotonic()
    gateway.send_signal(number)
    assert gateway.wait(10) == 0
    assert time.monotonic() - begun < 2 + 1  # a noisy machine gets one more
    store.processes.clear()
    report = store.ask("outbox", "verify")
    assert (report["ok"], report["appended"]) == (True, 1)


def test_receipts_trim_and_only_real_ones(store: Store, subscriber: Subscriber) -> None:
    """With delivery `receipt` a PUBACK is not enough; receipts of another session or from the future are ignored."""
    store.configure(mqtt='delivery = "receipt"')
    store.start()
    store.scan(VITRINE, GOOD)
    arrived(subscriber, 2)
    session, topic = subscriber.events()[0]["session"], "touchpoint/v1/acme/zrh-1/gw-1/receipt"
    for wrong in (f'{{"session":"{session}","through":99}}', '{"session":"other","through":2}', "nonsense", "[" * 9999):
        subscriber.publish(topic, wrong)
    store.scan(VITRINE)
    arrived(subscriber, 3)
    assert store.ask("status")["delivered"] == 0
    subscriber.publish(topic, f'{{"session":"{session}","through":2}}')
    until(lambda: store.ask("status")["delivered"] == 2, "the receipt to be taken")
    until(lambda: store.ask("status")["waiting"] == 1, "the rows to be trimmed")


def test_a_new_session_names_the_last(store: Store, subscriber: Subscriber) -> None:
    """When the outbox is gone, the first event of the new one is a gap that says what came before."""
    store.start()
    store.scan(VITRINE, GOOD)
    arrived(subscriber, 2)
    first = subscriber.events()[0]["session"]
    until(lambda: store.ask("status")["delivered"] == 2, "the delivery to be recorded")
    store.stop()
    for path in store.state.glob("capture.db*"):
        path.unlink()
    store.start()
    until(lambda: len({event["session"] for event in subscriber.events()}) == 2, "the new session")
    gap = subscriber.events()[-1]["data"]
    assert gap == {"reason": "new-session", "through": None, "previous": {"session": first, "sequence": 2}}
