"""What strangers can send us, as functions of bytes: each returns, or raises what it says it does, and takes no longer
than its input is long.

    TARGETS["downlink"](data)      # raises BrokenError if a promise is broken
"""

import asyncio
import contextlib
import json
import logging
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel, TypeAdapter, ValidationError

from gateway.control import LINE, control_path, serve
from gateway.core import decode, downlink
from gateway.core.authenticity import GENUINE, Authenticator
from gateway.core.contract import Topics
from gateway.core.decode.sun import MAC_OCTETS, Covers, TagKeys
from gateway.core.eid import BeaconKey
from gateway.core.eid import from_json as beacons_from_json
from gateway.core.ephemeral import Ephemeral
from gateway.core.jws import Issuers, SignatureError, Use
from gateway.core.order import RestartAskedError
from gateway.core.pseudonym import KeyRing
from gateway.core.sighting import Advertisement, Moment, Scan, SealedTelemetry, Tag
from gateway.sources.framing import Framer, Lines
from gateway.sources.recording import parse as parse_recording
from gateway.sources.source import DeviceLostError
from gateway.sources.wedge_keys import EVENT, Keys
from gateway.store.database import open_writer
from gateway.store.registry_csv import RegistryErrors
from gateway.store.registry_csv import parse as parse_registry
from gateway.store.schema import UPLINK
from gateway.uplink.downlink import Downlink
from gateway.uplink.mqtt import Message
from tests.fuzz import nfc_readers
from tests.simulators import sun_links
from tests.simulators.centre_keys import CENTRE
from tests.simulators.frames import message, uri

if TYPE_CHECKING:
    from gateway.uplink.forward import Forwarder

SECONDS = 0.5
"""Processor time that no input may take, however it is made."""
SECONDS_PER_OCTET = 50e-6
TOPICS = Topics("acme", "zrh-1", "gw-1")
NOW = Moment(10**12, 1_795_000_000_000)
SECRET = b"secret-of-the-input"
"""No error may quote what it refuses; inputs that hold this show it."""


class BrokenError(AssertionError):
    """A promise is broken."""


@dataclass(frozen=True)
class Target:
    """A parser, what it may raise, and inputs that it takes."""

    run: Callable[[bytes], object]
    raises: tuple[type[Exception], ...] = ()
    seeds: tuple[bytes, ...] = ()

    def __call__(self, data: bytes) -> None:
        """Hand it the input. Raises BrokenError for slowness or an error that quotes; lets through what is foreign."""
        began = time.process_time()
        try:
            self.run(data)
        except self.raises as error:
            if SECRET.decode() in str(error):
                raise BrokenError("an error quotes its input") from None
        took = time.process_time() - began
        if took > SECONDS + SECONDS_PER_OCTET * len(data):
            raise BrokenError(f"{len(data)} octets took {took:.2f} s")


def _verify(data: bytes) -> None:
    CENTRE.believed(*Use).verify(data, Use.CONSENT)


MODELS: tuple[type[BaseModel], ...] = (
    downlink.Receipt,
    downlink.ConsentRecord,
    downlink.ConsentState,
    downlink.RegistryEntry,
    downlink.Cue,
)


def _models(data: bytes) -> None:
    refused = None
    adapters: list[TypeAdapter[Any]] = [downlink.COMMAND, *(TypeAdapter(model) for model in MODELS)]
    for adapter in adapters:
        try:
            read = adapter.validate_json(data)
            if isinstance(read, downlink.ConsentRecord):
                read.word()
        except ValidationError as error:
            refused = error
    if refused is not None:
        raise refused


class _Nowhere:
    """A forwarder for what comes down beside it."""

    bell = asyncio.Event()

    def receive_receipt(self, payload: bytes) -> None:
        """Take it as the real one does."""
        with contextlib.suppress(ValidationError):
            downlink.Receipt.model_validate_json(payload)

    def replay(self, *_: object) -> str | None:
        """Refuse."""
        return "nothing is kept"


@cache
def _downlink() -> Downlink:
    logging.disable(logging.CRITICAL)
    database = open_writer(Path(tempfile.mkdtemp(prefix="tp-fuzz-")), UPLINK)
    issuers: Issuers = CENTRE.believed(*Use)
    return Downlink(database, TOPICS, issuers, cast("Forwarder", _Nowhere()), lambda: NOW, lambda: None)


def _topics() -> tuple[str, ...]:
    filters = (TOPICS.consent_filter, TOPICS.registry_filter, TOPICS.cue_filter)
    return (TOPICS.receipt, TOPICS.command, TOPICS.consent_state, *(each[:-1] + "a" for each in filters), "else/where")


def _take(data: bytes) -> None:
    """Take a message: its first octet says on which topic, whether it is retained, and whether the centre signed it."""
    if not data:
        return
    how, payload, topics = data[0], data[1:], _topics()
    if how & 0x40:
        payload = CENTRE.sign(payload).encode()
    message = Message(topics[how % len(topics)], payload, retain=bool(how & 0x80))
    with contextlib.suppress(RestartAskedError):
        _downlink().take([message])


def _advertisement(data: bytes) -> None:
    for company in (0x004C, 0x0118, 0x0006):
        decode.advertisement(Advertisement("C4:00:00:00:00:01", -60, {company: data}))
    for service in ("feaa", "fd6f"):
        decode.advertisement(Advertisement("C4:00:00:00:00:01", -60, {}, {service: data}))


BEACON = BeaconKey("a", bytes(range(16)), 10, NOW.wall_ms - 5_000_000)


@cache
def _ephemeral() -> Ephemeral:
    ephemeral = Ephemeral([BEACON])
    ephemeral.expire(NOW)
    return ephemeral


def _eddystone(data: bytes) -> None:
    """Take frames of one address: the identifier of a beacon of ours first, then what the input says."""
    ours = next(BEACON.eids(range(4, 5)))
    for frame in (b"\x30\xee" + ours, data, b"\x20\x01" + data, b"\x20\x00" + data, b"\x30\xee" + data):
        heard = decode.advertisement(Advertisement("C4:00:00:00:00:01", -60, {}, {"feaa": frame}))
        if isinstance(heard, decode.Beacon):
            _ephemeral().resolve(heard.identifier, "C4:00:00:00:00:01", NOW)
        elif isinstance(heard, SealedTelemetry):
            _ephemeral().open("C4:00:00:00:00:01", heard)


def _tag(data: bytes) -> None:
    decode.tag(Tag(data[:7], data[7:]))


def _scan(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    decode.scan(Scan(text, "]Q1"))
    decode.scan(Scan(text, "]Q3"))


SUN = Authenticator(TagKeys({sun_links.UID: sun_links.FILE_KEY}, sun_links.META_KEY))
MESSAGES = tuple(each(5).encode() for each in (sun_links.encrypted, sun_links.plain, sun_links.whole))
SIGNED = tuple(message.lower()[-2 * MAC_OCTETS :] for message in MESSAGES)


def _sun(data: bytes) -> None:
    """Judge a link, as a scan and on a tag, whatever its MAC covers; nothing is genuine that no tag has signed."""
    text = data.decode("utf-8", "surrogateescape")
    for covers in Covers:
        SUN.mirrors = replace(SUN.mirrors, covers=covers)
        for reading in (SUN.read(Scan(text)), SUN.read(Tag(data[:7], data[7:]))):
            if reading.verdict == GENUINE and not any(mac in data.lower() for mac in SIGNED):
                raise BrokenError("a message was believed that no tag has signed")


def _lines(data: bytes) -> None:
    size = data[0] + 1 if data else 1
    lines = Lines(b"\r\n", 64)
    for at in range(0, len(data), size):
        list(lines.feed(data[at : at + size]))
    list(lines.end())


def _scanner(data: bytes) -> None:
    """Frame what a serial scanner sends: the first octet says in pieces of how many, and how long each takes."""
    how, stream = (data[0], data[1:]) if data else (0, b"")
    framer, now, size = Framer(), 0.0, (how & 0x3F) + 1
    for at in range(0, len(stream), size):
        now += (how >> 6) * 0.1
        framer.feed(stream[at : at + size], now)
    framer.silence()
    framer.reset()


def _keyboard(data: bytes) -> None:
    """Press keys in each layout: of three octets one says the type and value of an event, then its code and a pause."""
    for layout in (None, "us", "de", "fr"):
        keys, at = Keys(layout), 0
        for kind, code, pause in zip(*[iter(data)] * 3, strict=False):
            at += pause * 2
            keys.feed(EVENT.pack(at // 1000, at % 1000 * 1000, kind & 1, code if kind & 1 else kind & 0x3, kind >> 6))
        keys.feed(data)
        keys.silence()
        keys.reset()


async def _nothing(*_: object) -> dict[str, Any]:
    return {}


class _Control:
    """A control socket, and a loop that answers on it."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="tp-fuzz-"))
        self.loop = asyncio.new_event_loop()
        self.serving = serve(self.directory, {"status": _nothing}, None)
        self.loop.run_until_complete(self.serving.__aenter__())

    def ask(self, data: bytes) -> None:
        self.loop.run_until_complete(self._ask(data.replace(b"\n", b" ")[: LINE // 2]))

    async def _ask(self, line: bytes) -> None:
        reader, writer = await asyncio.open_unix_connection(str(control_path(self.directory)), limit=LINE)
        writer.write(line + b"\n")
        async with asyncio.timeout(10):
            answer = json.loads(await reader.readline())
        writer.close()
        if not ("error" in answer or answer.get("done")):
            raise BrokenError("a request got no answer")
        if "nobody foresaw" in answer.get("error", ""):
            raise BrokenError("a request failed in a way that nobody foresaw")


@cache
def _control() -> _Control:
    return _Control()


def _text_of(parse: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: parse(data.decode("utf-8", "replace"))


def _signed_seeds() -> Iterator[bytes]:
    for payload in _payloads():
        yield CENTRE.sign(payload).encode()


def _payloads() -> tuple[bytes, ...]:
    at, later = "2026-11-18T10:00:00.000Z", "2027-11-18T10:00:00.000Z"
    order = {"id": "c-1", "gateway": "gw-1", "counter": 1, "issued": at, "expires": later}
    record = {
        "record_id": "a",
        "handles": ["h1.N4M2MrQXSlyjs7HtgAyDKQ"],
        "controller": "acme",
        "purposes": ["personalisation"],
        "legal_basis": "consent",
        "granted_at": at,
        "expires_at": None,
        "notice_version": "1",
        "language": "en",
        "jurisdiction": "CH",
        "source": "central",
        "state": "given",
        "withdrawn_at": None,
        "revision": 1,
        "issuer_kid": "centre-1",
        "tenant": "acme",
        "site": "zrh-1",
    }
    state = {"tenant": "acme", "site": "zrh-1", "revision": 1, "count": 0, "digest": downlink.digest([]), "at": at}
    entry = {"id": "a", "kind": "display", "name": "A", "identifiers": ["text:a"], "revision": 1}
    cue = {"id": "q", "touchpoint": "a", "issued": at, "expires": later, "title": "T", "body": "B"}
    commands = [
        {**order, "command": "sync-consent"},
        {**order, "command": "replay", "session": "s", "from": 1, "through": 2},
        {**order, "command": "activate-epoch", "epoch": "2027Q1"},
        {**order, "command": "identify", "reader": None, "seconds": 3},
        {**order, "command": "set-log-level", "level": "debug"},
    ]
    known = [record, state, entry, cue, {"session": "s", "through": 3}, *commands]
    return tuple(json.dumps(each).encode() for each in known)


DEEP = b"[" * 20_000
"""Deeper than any parser goes."""
HOSTILE = (b"", b"\0", DEEP, b'{"a":' * 5_000, b"9" * 5_000, b'{"id":1,"id":2}', SECRET, b"\xff" * 200)
RING = b'{"version": 1, "tenant": "acme", "site": "zrh-1", "consent_key": "x", "epochs": []}'
BEACONS = b"""{"version": 1, "beacons": [{"name": "a", "key": "00010203040506070809101112131415", "exponent": 9,
 "counter": 1, "at": "2026-11-21T10:00Z"}]}"""
LINE_OF_ALL = (
    b'{"at": 1, "reader": "r", "scan": {"text": "secret-of-the-input", "symbology": "]Q1"}}',
    b'{"at": 1, "reader": "r", "nfc": {"uid": "04a2b3c4d5e680", "ndef": "d1010155"}}',
    b'{"at": 1, "reader": "r", "ble": {"address": "C4:00:00:00:00:01", "rssi": -61, "service": {"feaa": "00e3"}}}',
)


def _pressed(codes: Iterable[int]) -> bytes:
    """Return what `_keyboard` takes for these keys, down and up."""
    return b"".join(bytes([value << 6 | 1, code, 1]) for code in codes for value in (1, 0))


TARGETS: dict[str, Target] = {
    "jws": Target(_verify, (SignatureError,), tuple(_signed_seeds())),
    "models": Target(_models, (ValidationError,), _payloads()),
    "downlink": Target(
        _take, (), tuple(bytes([how]) + each for each in _payloads() for how in (*range(7), *range(0x40, 0x47), 0xC1))
    ),
    "advertisement": Target(
        _advertisement, (), (b"\x02\x15" + bytes(21), b"\x00\xe3" + bytes(18), b"\x10\x02acme\x07")
    ),
    "eddystone": Target(_eddystone, (), (bytes(8), bytes(12), bytes(16), b"\x00\xe3" + bytes(18), b"\x10\x02acme\x07")),
    "beacons": Target(_text_of(beacons_from_json), (ValueError,), (BEACONS,)),
    "tag": Target(_tag, (), (bytes(7) + bytes.fromhex("d1010f5504") + b"id.acme.example",)),
    "scan": Target(_scan, (), (b"https://id.acme.example/01/09506000134352/21/A", b"0109506000134352", b"%41%zz")),
    "sun": Target(_sun, (), (*MESSAGES, sun_links.UID + message(uri(MESSAGES[0].decode())))),
    "lines": Target(_lines, (), (b"\x03one\r\ntwo\r\n" + b"x" * 100,)),
    "scanner": Target(_scanner, (), (b"\x03]Q1one\r\n\x02]d2two\x1dthree\x03", b"\xc0]Q1https://a.example\x1d")),
    "keyboard": Target(
        _keyboard, (), (_pressed((27, 16, 2, 35, 20, 20, 25, 31, 39, 53, 53, 30, 28)), _pressed((29, 27)))
    ),
    "nfc": Target(nfc_readers.read, (DeviceLostError,), nfc_readers.SEEDS),
    "recording": Target(parse_recording, (ValueError,), LINE_OF_ALL),
    "control": Target(lambda data: _control().ask(data), (), (b'{"ask": "status"}', b'{"ask": []}', b"[1]")),
    "registry": Target(_text_of(parse_registry), (RegistryErrors,), (b"id,kind,name\na,display,A\n",)),
    "ring": Target(_text_of(KeyRing.from_json), (ValueError,), (RING,)),
}


def close() -> None:
    """Close what targets have opened."""
    if _downlink.cache_info().currsize:
        with contextlib.suppress(sqlite3.Error):
            path = Path(_downlink().database.execute("PRAGMA database_list").fetchone()[2])
            _downlink().database.close()
            shutil.rmtree(path.parent)
        logging.disable(logging.NOTSET)
        _downlink.cache_clear()
    if _control.cache_info().currsize:
        control = _control()
        control.loop.run_until_complete(control.serving.__aexit__(None, None, None))
        control.loop.close()
        shutil.rmtree(control.directory)
        _control.cache_clear()
