"""Brokers that the tests command: a real mosquitto, and one that answers wrongly on purpose.

with Mosquitto(tmp_path) as broker:
    ...                                       # 127.0.0.1:{broker.port}
    broker.freeze()                           # a black hole: the port accepts, nothing answers
    broker.restart()                          # on the same port, as a broker comes back

async with FakeBroker() as broker:
    broker.puback = lambda published: 0x97    # every publish is refused: quota exceeded
"""

import asyncio
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.simulators.authority import Certificate

HOST = "127.0.0.1"
START_SECONDS = 10.0
ATTEMPTS = 5
"""Another test may take the port between looking for a free one and listening on it."""
RUNNING = " running"

CONFIGURATION = """user root
listener {port} {host}
allow_anonymous {anonymous}
persistence true
persistence_location {directory}/
autosave_on_changes true
autosave_interval 1
max_queued_messages 0
set_tcp_nodelay true
log_dest stderr
"""


def free_port() -> int:
    """Return a port that is free at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def mosquitto_program() -> str:
    """Find mosquitto; Debian installs it where users do not look. Fails when there is none: no test is passed over."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")
    assert found, "these tests need a real broker: apt-get install mosquitto (or: make test, which says so first)"
    return found


class Mosquitto:
    """A mosquitto of its own, with its files in `directory`, on a port that stays the same over restarts.

    `settings` are further lines of its configuration, `acl` is the text of an ACL file, `tls` a certificate for the
    listener; without `anonymous` nobody may log in. What it has acknowledged, and the sessions of its subscribers,
    survive `stop`; `kill` is a power cut for it.
    """

    def __init__(
        self,
        directory: Path,
        settings: str = "",
        *,
        acl: str | None = None,
        tls: Certificate | None = None,
        anonymous: bool = True,
    ) -> None:
        self.directory = directory / "mosquitto"
        self.port = 0
        self._settings = settings
        self._acl = acl
        self._tls = tls
        self._anonymous = anonymous
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True)
        for _ in range(ATTEMPTS):
            self.port = free_port()
            with suppress(OSError):
                self.start()
                return self
        raise AssertionError(f"mosquitto found no port: {self.said()}")

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, or start it again. Raises OSError when the port is taken."""
        (self.directory / "mosquitto.conf").write_text(self._configuration(), encoding="utf-8")
        log = self.directory / "mosquitto.log"
        with log.open("wb") as output:
            command = [mosquitto_program(), "-c", str(self.directory / "mosquitto.conf")]
            self._process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        deadline = time.monotonic() + START_SECONDS
        while RUNNING not in self.said():
            if self._process.poll() is not None and "in use" in self.said():
                raise OSError(self.said())
            assert self._process.poll() is None, f"mosquitto ended at once: {self.said()}"
            assert time.monotonic() < deadline, f"mosquitto did not start: {self.said()}"
            time.sleep(0.005)

    def stop(self) -> None:
        """Stop it as an administrator does; it saves its sessions."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once; what it had not saved is gone."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop it and start it on the same port."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Stop it from answering; connections stay open and the port accepts more."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it answer again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def said(self) -> str:
        """Return its log since the last start."""
        return (self.directory / "mosquitto.log").read_text(encoding="utf-8", errors="replace")

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(START_SECONDS)
        self._process.kill()
        self._process.wait()

    def _configuration(self) -> str:
        lines = CONFIGURATION.format(
            port=self.port, host=HOST, directory=self.directory, anonymous=str(self._anonymous).lower()
        )
        if self._acl is not None:
            (self.directory / "acl").write_text(self._acl, encoding="utf-8")
            lines += f"acl_file {self.directory / 'acl'}\n"
        if self._tls is not None:
            lines += f"certfile {self._tls.certificate}\nkeyfile {self._tls.key}\n"
        return f"{lines}{self._settings}\n"


@dataclass(frozen=True)
class Published:
    """A PUBLISH that the fake broker received."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    duplicate: bool
    content_type: str | None


@dataclass
class FakeBroker:
    """Speaks just enough MQTT 5 to answer as it is told: late, never, or with a chosen reason code.

    Answers are reason codes (MQTT 5.0, section 2.4); None is silence.
    """

    connack: int | None = 0
    puback: Callable[[Published], int | None] = lambda _: 0
    suback: int = 1
    maximum_packet: int | None = None
    """What the CONNACK says that it takes, in octets."""
    published: list[Published] = field(default_factory=list)
    port: int = 0
    connections: int = 0
    """How many CONNECT packets came, ever."""
    subscribed: list[str] = field(default_factory=list)
    """The first topic filter of each SUBSCRIBE."""
    disconnected: int = 0
    """How many DISCONNECT packets came."""
    hears: asyncio.Event = field(default_factory=asyncio.Event)
    """While it is clear, nothing more is read from any connection: what is sent fills the network's buffers."""
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _serving: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self.hears.set()
        self._server = await asyncio.start_server(self._serve, HOST, self.port, limit=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.hears.set()
        for _turn in range(5):  # what was accepted a moment ago becomes a connection first, which can be dropped
            await asyncio.sleep(0)
        self.drop()
        if self._serving:
            await asyncio.wait(self._serving)

    def drop(self) -> None:
        """Break every connection without a word."""
        for writer in self._writers:
            writer.transport.abort()

    def disconnect(self, code: int) -> None:
        """Send a DISCONNECT with this reason code and close."""
        for writer in self._writers:
            writer.write(bytes([0xE0, 1, code]))
            writer.close()

    def send(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish to every client, with QoS 0."""
        body = _text(topic) + b"\0" + payload
        for writer in self._writers:
            writer.write(bytes([0x31 if retain else 0x30]) + _length(len(body)) + body)

    def on(self, topic: str) -> list[bytes]:
        """Return the payloads that came on a topic, in order."""
        return [published.payload for published in self.published if published.topic == topic]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        if (task := asyncio.current_task()) is not None:
            self._serving.add(task)
        try:
            while True:
                (header,) = await reader.readexactly(1)
                body = await reader.readexactly(await _read_length(reader))
                writer.write(self._answer(header, body))
                await self.hears.wait()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def _answer(self, header: int, body: bytes) -> bytes:
        match header & 0xF0:
            case 0x10:
                self.connections += 1
                return self._connack()
            case 0x30:
                return self._take(header, body)
            case 0x80:
                self.subscribed.append(_cut(body[3 + body[2] :])[0].decode())
                return bytes([0x90, 4]) + body[:2] + bytes([0, self.suback])
            case 0xC0:
                return b"\xd0\0"
            case 0xE0:
                self.disconnected += 1
                return b""
            case _:
                return b""

    def _connack(self) -> bytes:
        if self.connack is None:
            return b""
        maximum = self.maximum_packet
        properties = b"" if maximum is None else b"\x27" + maximum.to_bytes(4, "big")
        body = bytes([0, self.connack, len(properties)]) + properties
        return b"\x20" + bytes([len(body)]) + body

    def _take(self, header: int, body: bytes) -> bytes:
        topic, rest = _cut(body)
        packet_id, rest = (rest[:2], rest[2:]) if header & 0x06 else (b"", rest)
        properties, payload = rest[1 : 1 + rest[0]], rest[1 + rest[0] :]
        content_type = _cut(properties[1:])[0].decode() if properties[:1] == b"\x03" else None
        published = Published(
            topic.decode(), payload, header >> 1 & 3, bool(header & 1), bool(header & 8), content_type
        )
        self.published.append(published)
        code = self.puback(published)
        return b"" if code is None or not packet_id else b"\x40\x04" + packet_id + bytes([code, 0])


def _text(value: str) -> bytes:
    return len(value.encode()).to_bytes(2, "big") + value.encode()


def _cut(data: bytes) -> tuple[bytes, bytes]:
    """Take a string with its length before it off the front."""
    end = 2 + int.from_bytes(data[:2], "big")
    return data[2:end], data[end:]


def _length(number: int) -> bytes:
    """Write a variable byte integer (MQTT 5.0, section 1.5.5)."""
    digits = bytearray()
    while True:
        number, digit = divmod(number, 128)
        digits.append(digit | (0x80 if number else 0))
        if not number:
            return bytes(digits)


async def _read_length(reader: asyncio.StreamReader) -> int:
    number, shift = 0, 0
    while True:
        (digit,) = await reader.readexactly(1)
        number |= (digit & 0x7F) << shift
        shift += 7
        if digit < 0x80:
            return number
