"""A consumer of the events, as the centre would write it: it knows the contract and MQTT, and nothing of the gateway.

    with Consumer(port) as consumer:
        consumer.wait(lambda: consumer.received >= 3)
        assert (consumer.holes, consumer.duplicates) == (set(), 0)

Its session at the broker outlives both of them, so that nothing is missed while either is away. With `receipts`, it
answers each message with how far it has everything without a hole.
"""

import json
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Self

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

ONE = "application/cloudevents+json"
MANY = "application/cloudevents-batch+json"
EVENT, STATE, RECEIPT = "/event", "/state", "/receipt"
DEADLINE = 20.0


@dataclass
class Consumer:
    """Takes what comes on every event topic, and the latest state of each gateway."""

    port: int
    receipts: bool = False
    tenant: str = "acme"
    texts: list[str] = field(default_factory=list)
    """The text of each event when it came first, byte for byte."""
    changed: list[str] = field(default_factory=list)
    """Ids of events that came again with another text."""
    duplicates: int = 0
    malformed: list[str] = field(default_factory=list)
    messages: int = 0
    states: list[dict[str, Any]] = field(default_factory=list)
    """Every state message, the retained one first."""
    _known: dict[tuple[str, str], str] = field(default_factory=dict)
    _accounted: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))

    def __enter__(self) -> Self:
        self._subscribed = False
        client = Client(CallbackAPIVersion.VERSION2, client_id="consumer", protocol=MQTTProtocolVersion.MQTTv5)
        client.on_connect, client.on_subscribe, client.on_message = self._on_connect, self._on_subscribe, self._take
        session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho
        session.SessionExpiryInterval = 3600
        client.connect_async("127.0.0.1", self.port, clean_start=False, properties=session)
        client.loop_start()
        self._client = client
        self.wait(lambda: self._subscribed)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def events(self) -> list[dict[str, Any]]:
        """The distinct events, in the order in which they came first."""
        return [json.loads(text) for text in self.texts]

    def of(self, *types: str) -> list[dict[str, Any]]:
        """Return the events of these types, such as `scan`."""
        wanted = {f"touchpoint.{each}.v1" for each in types}
        return [event for event in self.events if event["type"] in wanted]

    @property
    def received(self) -> int:
        """How many distinct events came."""
        return len(self.texts)

    @property
    def holes(self) -> set[tuple[str, int]]:
        """Sequences, from 1 on, that neither came nor are explained by a gap."""
        return {
            (session, number)
            for session, numbers in self._accounted.items()
            for number in range(1, max(numbers))
            if number not in numbers
        }

    @property
    def in_order(self) -> bool:
        """Whether within each session the events came first in the order of their sequences."""
        last: dict[str, int] = {}
        for event in self.events:
            if int(event["sequence"]) <= last.get(event["session"], 0):
                return False
            last[event["session"]] = int(event["sequence"])
        return True

    @property
    def state(self) -> dict[str, Any]:
        """The latest state message; empty before the first."""
        return self.states[-1] if self.states else {}

    def wait(self, condition: Callable[[], object], seconds: float = DEADLINE) -> None:
        """Wait until something holds, or fail."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"in vain for {seconds} s; {self.received} events, state {self.state}"
            time.sleep(0.01)

    def acknowledge(self, topic: str, session: str, through: int) -> None:
        """Send a receipt."""
        self._client.publish(topic, json.dumps({"session": session, "through": through}), qos=1)

    def _on_connect(self, client: Client, *_: object) -> None:
        client.subscribe([(f"touchpoint/v1/{self.tenant}/+/+/{kind}", 1) for kind in ("event", "state")])

    def _on_subscribe(self, *_: object) -> None:
        self._subscribed = True

    def _take(self, _client: Client, _: object, message: MQTTMessage) -> None:
        if message.topic.endswith(STATE):
            self.states.append(json.loads(message.payload))
            return
        self.messages += 1
        try:
            for text in event_texts(message.payload.decode(), getattr(message.properties, "ContentType", None)):
                self._store(text)
        except (ValueError, LookupError, TypeError) as error:
            self.malformed.append(repr(error))
        if self.receipts:
            self._give_receipts(message.topic.removesuffix(EVENT) + RECEIPT)

    def _store(self, text: str) -> None:
        event = json.loads(text)
        first = int(event["sequence"])
        through = (event["data"]["through"] or first) if event["type"] == "touchpoint.gap.v1" else first
        key = (event["source"], event["id"])
        if key in self._known:
            self.duplicates += 1
            if self._known[key] != text:
                self.changed.append(event["id"])
            return
        self._known[key] = text
        self._accounted[event["session"]].update(range(first, through + 1))
        self.texts.append(text)

    def _give_receipts(self, topic: str) -> None:
        for session, numbers in self._accounted.items():
            through = next(number for number in count() if number + 1 not in numbers)
            self.acknowledge(topic, session, through)


def event_texts(payload: str, content_type: str | None) -> list[str]:
    """Return the events of a message as they stand in it (CloudEvents, JSON format and JSON batch format)."""
    if content_type == ONE and payload.startswith("{"):
        return [payload]
    if content_type != MANY or payload[0] != "[" or payload[-1] != "]":
        raise ValueError("neither one event nor a batch")
    decoder, texts, at = json.JSONDecoder(), [], 1
    while at < len(payload) - 1:
        _, end = decoder.raw_decode(payload, at)
        texts.append(payload[at:end])
        at = end + 1
    return texts
