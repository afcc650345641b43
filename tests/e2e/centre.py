"""The centre: what arrives at the broker, as the wire has it."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any, Self

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

SECONDS = 20.0


def until(condition: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    """Poll until the condition holds; fail and say what was waited for when it does not."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.02)


class Subscriber:
    """Collects what arrives under a topic filter, as the wire has it. Its session outlives a broker that is stopped."""

    def __init__(self, port: int, topic: str = "touchpoint/#") -> None:
        self.messages: list[MQTTMessage] = []
        self._lock = threading.Lock()
        self._subscribed = threading.Event()
        self._topic = topic
        self._client = Client(
            CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5, client_id=f"subscriber-{topic.count('+')}"
        )
        self._client.on_connect = lambda client, *_: client.subscribe(topic, 1) and None
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._collect
        self._client.reconnect_delay_set(1, 1)
        lasting = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho
        lasting.SessionExpiryInterval = 3600
        self._client.connect("127.0.0.1", port, clean_start=False, properties=lasting)

    def __enter__(self) -> Self:
        """Start to listen."""
        self._client.loop_start()
        assert self._subscribed.wait(SECONDS), "the subscriber could not subscribe"
        return self

    def __exit__(self, *_: object) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()

    def _collect(self, _client: Client, _user: object, message: MQTTMessage) -> None:
        with self._lock:
            self.messages.append(message)

    def publish(self, topic: str, payload: str) -> None:
        """Say something to the gateway."""
        self._client.publish(topic, payload, 1).wait_for_publish(SECONDS)

    def payloads(self, last: str) -> list[bytes]:
        """Return what arrived on the topics that end so, in order."""
        with self._lock:
            return [bytes(message.payload) for message in self.messages if message.topic.endswith(last)]

    def content_types(self) -> set[str]:
        """Return the MQTT 5 content types of the event messages."""
        with self._lock:
            return {
                str(getattr(message.properties, "ContentType", None))
                for message in self.messages
                if message.topic.endswith("/event") and message.properties is not None
            }

    def events(self) -> list[dict[str, Any]]:
        """Return every event in the order of arrival, batches taken apart, copies included."""
        found: list[dict[str, Any]] = []
        for payload in self.payloads("/event"):
            content = json.loads(payload)
            found += content if isinstance(content, list) else [content]
        return found

    def sequences(self) -> list[int]:
        """Return the sequences of distinct events in the order of their first arrival."""
        return list(dict.fromkeys(int(event["sequence"]) for event in self.events()))

    def states(self) -> list[dict[str, Any]]:
        """Return the state messages."""
        return [json.loads(payload) for payload in self.payloads("/state")]
