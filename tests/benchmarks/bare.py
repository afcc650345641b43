"""A bare paho client with one message in flight: what forwarding costs without anything of ours."""

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

TOPIC = "touchpoint/v1/acme/zrh-1/bare/event"
SECONDS = 20


@dataclass(frozen=True, slots=True)
class BarePublisher:
    """Publishes with QoS 1 and waits for the PUBACK."""

    client: Client
    acks: "queue.SimpleQueue[int]"

    def publish(self, payload: bytes, content_type: str) -> None:
        """Publish one message and wait until the broker has it."""
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho
        properties.ContentType = content_type
        self.client.publish(TOPIC, payload, 1, properties=properties)
        code = self.acks.get(timeout=SECONDS)
        assert code < 0x80, f"refused: 0x{code:02X}"


@contextmanager
def bare_publisher(port: int) -> Iterator[BarePublisher]:
    """Connect to a broker on this machine."""
    client = Client(CallbackAPIVersion.VERSION2, client_id="bare", protocol=MQTTProtocolVersion.MQTTv5)
    connected, acks = Event(), queue.SimpleQueue[int]()
    client.max_inflight_messages_set(0)
    client.on_connect = lambda *_: connected.set()
    client.on_publish = lambda _client, _user, _mid, code, _properties: acks.put(code.value)
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        assert connected.wait(SECONDS), "the broker did not answer"
        yield BarePublisher(client, acks)
    finally:
        client.disconnect()
        client.loop_stop()
