"""The witness: subscribes at the broker and counts only what it parsed from the wire.

It shares nothing with the gateway but the MQTT library, so that a mistake there cannot hide itself here. It is run by
its path, as a process of its own:

    python -P subscriber.py HOST PORT TOPIC

It prints one JSON object a line: `{"ready": true}` once it is subscribed, then the totals after each message, each
with the events that are `new`, and the totals once more when its standard input ends or SIGTERM comes.
"""

import json
import signal
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any, NoReturn

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

ONE = "application/cloudevents+json"
MANY = "application/cloudevents-batch+json"
GAP = "touchpoint.gap.v1"


@dataclass
class Tally:
    """Counts what arrived."""

    malformed: int = 0
    duplicates: int = 0
    subjects: int = 0
    """Events that name a subject."""
    types: Counter[str] = field(default_factory=Counter)
    gaps: Counter[str] = field(default_factory=Counter)
    """By reason: how many events the gaps stand for."""
    _seen: set[tuple[str, str]] = field(default_factory=set)
    _accounted: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    """By session: the sequences that arrived, or that a gap explains."""

    def take(self, payload: bytes, content_type: str | None) -> list[dict[str, Any]]:
        """Count a message and return the events in it that are new."""
        try:
            return [event for event in _events(payload, content_type) if self._is_new(event)]
        except (ValueError, LookupError, TypeError):
            self.malformed += 1
            return []

    def _is_new(self, event: dict[str, Any]) -> bool:
        identity = (event["source"], event["id"])
        if identity in self._seen:
            self.duplicates += 1
            return False
        self._seen.add(identity)
        self._count(event)
        return True

    def _count(self, event: dict[str, Any]) -> None:
        first = through = int(event["sequence"])
        data = event["data"]
        self.types[event["type"]] += 1
        self.subjects += data.get("subject") is not None
        if event["type"] == GAP:
            through = data["through"] or first
            self.gaps[data["reason"]] += through - first + 1
        self._accounted[event["session"]].update(range(first, through + 1))

    @property
    def received(self) -> int:
        """Count the distinct events that stand for themselves."""
        return sum(self.types.values()) - self.types[GAP]

    @property
    def holes(self) -> int:
        """Count the sequences, from 1 on, that neither arrived nor are explained by a gap."""
        return sum(max(accounted) - len(accounted) for accounted in self._accounted.values())

    def totals(self) -> dict[str, Any]:
        """Return everything that was counted."""
        return {
            "received": self.received,
            "duplicates": self.duplicates,
            "holes": self.holes,
            "malformed": self.malformed,
            "subjects": self.subjects,
            "gaps": dict(self.gaps),
            "types": dict(self.types),
        }


def _events(payload: bytes, content_type: str | None) -> list[dict[str, Any]]:
    """Read a message by its content type (CloudEvents MQTT binding; JSON batch format). Raises ValueError."""
    read = json.loads(payload)
    if content_type == MANY and isinstance(read, list):
        return read
    if content_type == ONE and isinstance(read, dict):
        return [read]
    raise ValueError("neither one event nor a batch")


def report(**line: object) -> None:
    """Print a line for whoever started this process."""
    print(json.dumps(line), flush=True)  # noqa: T201  # its standard output is its interface


def watch(host: str, port: int, topic: str) -> None:
    """Count until standard input ends or SIGTERM comes."""
    tally = Tally()

    def on_connect(client: Client, *_: object) -> None:
        client.subscribe(topic, qos=1)

    def on_subscribe(*_: object) -> None:
        report(ready=True)

    def on_message(_client: Client, _: object, message: MQTTMessage) -> None:
        new = tally.take(bytes(message.payload), getattr(message.properties, "ContentType", None))
        report(**tally.totals(), new=new)

    client = Client(CallbackAPIVersion.VERSION2, client_id="witness", protocol=MQTTProtocolVersion.MQTTv5)
    client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
    client.connect(host, port)
    client.loop_start()
    try:
        sys.stdin.read()
    finally:
        client.disconnect()
        client.loop_stop()
        report(**tally.totals(), new=[])


def _stop(*_: object) -> NoReturn:
    raise SystemExit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    watch(sys.argv[1], int(sys.argv[2]), sys.argv[3])
