"""What arrives at the broker, and when: payloads are only kept, and taken apart when nothing is measured any more."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from time import monotonic_ns

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

SECONDS = 20


@dataclass(slots=True)
class Arrivals:
    """Payloads with the time of their arrival (CLOCK_MONOTONIC, ns), in order."""

    payloads: list[tuple[int, bytes]] = field(default_factory=list)

    def by_reader(self) -> dict[str, list[int]]:
        """Return the times of arrival of each reader's events, in order."""
        times: dict[str, list[int]] = {}
        for at, payload in self.payloads:
            read = json.loads(payload)
            for event in read if isinstance(read, list) else [read]:
                times.setdefault(event["data"].get("reader", ""), []).append(at)
        return times

    def count(self) -> int:
        """Count the events that have arrived, by a text that each holds once."""
        return sum(payload.count(b'"specversion"') for _, payload in self.payloads)


@contextmanager
def arrivals(port: int) -> Iterator[Arrivals]:
    """Subscribe to all events while the context is open."""
    arrived = Arrivals()
    with _subscribed(port, "event", lambda message: arrived.payloads.append((monotonic_ns(), bytes(message.payload)))):
        yield arrived


@contextmanager
def born(port: int) -> Iterator[Event]:
    """Return what is set when a gateway says that it is online; what it said before counts for nothing."""
    birth = Event()

    def see(message: MQTTMessage) -> None:
        if not message.retain and json.loads(message.payload)["online"]:
            birth.set()

    with _subscribed(port, "state", see):
        yield birth


@contextmanager
def _subscribed(port: int, last: str, see: Callable[[MQTTMessage], None]) -> Iterator[None]:
    subscribed = Event()
    client = Client(CallbackAPIVersion.VERSION2, client_id=f"witness-{last}", protocol=MQTTProtocolVersion.MQTTv5)
    client.on_connect = lambda *_: client.subscribe(f"touchpoint/v1/+/+/+/{last}", 1) and None
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_message = lambda _client, _user, message: see(message)
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        assert subscribed.wait(SECONDS), "the broker did not answer"
        yield
    finally:
        client.disconnect()
        client.loop_stop()
