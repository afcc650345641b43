"""Who counts what a drain brings to the broker, and when: a bare socket that looks for a text and parses nothing.

It subscribes with QoS 0 and so answers nothing either. Every drain is timed by it, from the message that brings the
first event to the one that brings the last, whoever sends them and in whatever messages.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic, monotonic_ns, sleep

HOST, OCTETS = "127.0.0.1", 1 << 18
CONNECT = b"\x10\x13\x00\x04MQTT\x04\x02\x00\x00\x00\x07witness"
SUBSCRIBE = b"\x82\x06\x00\x01\x00\x01#\x00"
ACCEPTED = b"\x20\x02\x00\x00\x90\x03\x00\x01\x00"
MARK = b'"type":"touchpoint.scan.v1"'
"""What every event that is drained holds once, and no other message."""


@dataclass(slots=True)
class Witness:
    """How many events had come, by time (CLOCK_MONOTONIC, ns)."""

    seen: list[tuple[int, int]] = field(default_factory=list)

    def wait(self, number: int, seconds: float) -> None:
        """Wait until so many have come."""
        deadline = monotonic() + seconds
        while (come := self.seen[-1][1] if self.seen else 0) < number:
            assert monotonic() < deadline, f"{come} of {number} events came"
            sleep(0.01)

    def per_second(self, number: int) -> float:
        """Return how fast they came, between the first message and the one that made the number full."""
        (began, first), *_ = self.seen
        ended, last = next((at, come) for at, come in self.seen if come >= number)
        return (last - first) * 1e9 / (ended - began)

    def read(self, wire: socket.socket) -> None:
        """Count until the connection is closed."""
        come, rest = 0, b""
        while octets := wire.recv(OCTETS):
            at, text = monotonic_ns(), rest + octets
            rest = text[1 - len(MARK) :]
            if found := text.count(MARK):
                come += found
                self.seen.append((at, come))


@contextmanager
def witness(port: int) -> Iterator[Witness]:
    """Count what is published while the context is open."""
    watching = Witness()
    with socket.create_connection((HOST, port)) as wire:
        wire.sendall(CONNECT + SUBSCRIBE)
        answer = b""
        while len(answer) < len(ACCEPTED):
            answer += wire.recv(len(ACCEPTED) - len(answer))
        assert answer == ACCEPTED, f"the broker answered {answer.hex()}"
        thread = threading.Thread(target=watching.read, args=(wire,), daemon=True)
        thread.start()
        try:
            yield watching
        finally:
            with suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)
            thread.join()
