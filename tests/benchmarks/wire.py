"""What arrives at the broker, and when: payloads are only kept, and taken apart when nothing is measured any more."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from time import monotonic_ns

from paho.mqtt.client import Client
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
    arrived, subscribed = Arrivals(), Event()
    client = Client(CallbackAPIVersion.VERSION2, client_id="witness", protocol=MQTTProtocolVersion.MQTTv5)
    client.on_connect = lambda *_: client.subscribe("touchpoint/v1/+/+/+/event", 1) and None
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_message = lambda _client, _user, message: arrived.payloads.append((monotonic_ns(), message.payload))
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        assert subscribed.wait(SECONDS), "the broker did not answer"
        yield arrived
    finally:
        client.disconnect()
        client.loop_stop()
