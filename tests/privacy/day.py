"""A day of 500 customers and 5,000 passers-by, and a search for everybody in every file that any process wrote.

    python -m tests.privacy [--customers 500 --passersby 5000 --seconds 300 --seed 1]

The day runs below one strace, which follows every process (both halves, broker, consumer, and whoever plays the people)
and tells every file that one of them opened for writing. Everything on the line between them and the broker is
remembered. At the end all processes are killed, so that logs stay as they are, and everything is searched.
"""

import asyncio
import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Literal

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from gateway.bytesearch import Needles, spellings
from gateway.control import NobodyListensError, RequestError, ask
from gateway.core.downlink import ConsentRecord, ConsentState, digest
from gateway.core.pseudonym import derive
from gateway.core.sighting import Advertisement, Payload, Scan, Sighting, Tag
from gateway.demo.boutique import CUSTOMER_BEACONS, DOMAIN, TOKENS, Customer, Passerby, Secret
from gateway.demo.line import Line
from gateway.demo.signals import ibeacon, ndef_link, phone, private_address
from gateway.sources.recording import Recorded
from gateway.sources.recording import format as recorded
from gateway.store.device import public_text
from tests.campaign.centre import Centre
from tests.campaign.installation import open_pipe
from tests.simulators.broker import Mosquitto
from tests.simulators.centre_keys import CENTRE
from tests.simulators.trust_service import TrustService

ROOT = bytes(range(32))
TRUST = TrustService(ROOT)
HALVES = ("capture", "uplink")
READERS = {"counter": "nfc", "scanner": "scanner", "salon": "ble"}
SHOWN = f"https://{DOMAIN}/t/window"
REGISTRY = f"""id,kind,name,zone,phase,gtin,reference,serial,campaign,valid_from,valid_until,identifiers
counter,counter,the counter,salon,during,,,,,,,
window,display,the window,salon,before,,,,,,,link:{SHOWN}
"""
CONFIGURATION = f"""[gateway]
tenant = "acme"
site = "zrh-1"
id = "gw-1"
state = "state"

[mqtt]
host = "127.0.0.1"
port = {{port}}
keepalive = 5
delivery = "receipt"

[pseudonym]
keys = "./keys.json"

[clock]
source = "trusted"

[visit]
seconds = 5
debounce = 0

[[issuer]]
kid = "{CENTRE.kid}"
key = "{public_text(CENTRE.key.public_key())}"
may = ["consent"]

[[bearer]]
kind = "link"
prefix = "{TOKENS}"

[[bearer]]
kind = "ibeacon"
prefix = "{CUSTOMER_BEACONS}/"
low_entropy = true
"""
READER = """
[[reader]]
name = "{name}"
kind = "simulated"
plays = "{plays}"
device = "{name}.pipe"
touchpoint = "counter"
zone = "salon"
"""
WRITING = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND")
SYSTEM = ("/dev/", "/proc/", "/sys/", "pipe:", "socket:", "anon_inode:")


@dataclass(frozen=True)
class Person:
    """A customer with a card, a phone's link and a beacon."""

    customer: Customer
    beacon: tuple[int, int] = field(repr=False)
    address: bytes = field(repr=False)

    @property
    def tokens(self) -> tuple[tuple[str, str], ...]:
        return ("link", self.customer.token), ("ibeacon", f"{CUSTOMER_BEACONS}/{self.beacon[0]}/{self.beacon[1]}")

    @property
    def handles(self) -> tuple[str, ...]:
        return tuple(TRUST.handle("acme", "zrh-1", token) for token in self.tokens)

    def secrets(self) -> list[Secret]:
        numbers = b"".join(number.to_bytes(2) for number in self.beacon)
        name, text = self.customer.name, self.tokens[1][1].encode()
        beacon = [(f"{name}'s beacon", CUSTOMER_BEACONS.bytes + numbers), (f"{name}'s beacon in text", text)]
        return [*self.customer.secrets(), *beacon, (f"the address of {name}'s beacon", self.address)]


@dataclass(frozen=True)
class People:
    """Everybody of a day; the same seed makes the same people."""

    persons: Sequence[Person]
    passersby: Sequence[Passerby]

    @classmethod
    def of(cls, seed: int, customers: int, passersby: int) -> "People":
        dice = Random(seed)  # noqa: S311  # for repeatable days, not for secrets
        return cls(
            [_person(f"customer {n}", dice) for n in range(customers)], [_passerby(dice) for _ in range(passersby)]
        )

    def secrets(self) -> list[Secret]:
        everybody: list[Person | Passerby] = [*self.persons, *self.passersby]
        return [secret for who in everybody for secret in who.secrets()]


def _person(name: str, dice: Random) -> Person:
    customer = Customer(name, agreed=False, secret=dice.randbytes(16), card=b"\x04" + dice.randbytes(6))
    return Person(customer, (dice.randrange(1, 65_536), dice.randrange(1, 65_536)), private_address(dice))


def _passerby(dice: Random) -> Passerby:
    return Passerby((private_address(dice), private_address(dice)), *phone(dice))


def colons(address: bytes) -> str:
    """Write a MAC address as BlueZ does."""
    return address.hex(":").upper()


@dataclass
class Day:
    """The day itself, below strace."""

    directory: Path
    people: People
    seconds: float
    dice: Random
    done: Counter[str] = field(default_factory=Counter)
    found: set[str] = field(default_factory=set)
    halves: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    pipes: dict[str, int] = field(default_factory=dict)
    records: dict[str, ConsentRecord] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.needles = Needles(self.people.secrets())

    @property
    def state(self) -> Path:
        return self.directory / "state"

    def install(self, port: int) -> None:
        self.state.mkdir()
        text = CONFIGURATION.format(port=port)
        text += "".join(READER.format(name=name, plays=plays) for name, plays in READERS.items())
        (self.directory / "gateway.toml").write_text(text, encoding="utf-8")
        (self.directory / "keys.json").write_text(derive(ROOT, "acme", "zrh-1", [("2026Q4", 0, None)]).to_json())
        (self.directory / "keys.json").chmod(0o600)
        for name in READERS:
            os.mkfifo(self.directory / f"{name}.pipe")
            self.pipes[name] = open_pipe(self.directory / f"{name}.pipe")

    def start(self, half: str) -> None:
        with (self.directory / f"{half}.log").open("ab") as log:
            command = [sys.executable, "-m", "gateway", half, "--config", str(self.directory / "gateway.toml")]
            self.halves[half] = subprocess.Popen(command, stdout=log, stderr=log)

    def kill(self, *halves: str) -> None:
        for half in halves:
            self.halves[half].kill()
            self.halves[half].wait()

    async def run(self) -> None:
        """Live through the day. What is measured stands in `done`."""
        with Mosquitto(self.directory) as self.broker:
            async with Line(self.broker.port) as self.line:
                self.install(self.line.port)
                centre = Centre(self.directory, self.line.port, ("--receipts",))
                centre.start()
                for half in HALVES:
                    self.start(half)
                await self._until(self._reading, 60)
                await self.ask({"ask": "registry-import", "csv": REGISTRY})
                self.says = self._centre_speaks()
                try:
                    counter: asyncio.Queue[Any] = asyncio.Queue()
                    await asyncio.gather(self._live(counter), self._serve(counter), self._break_things())
                    await self._until(self._drained, max(10, self.seconds / 3))
                    self.done["stored by the centre"] = len(centre.stored())
                    self.done["with a subject"] = sum('"subject":{' in event.text for event in centre.stored())
                    self.look("at the end")
                finally:
                    self.says.loop_stop()
                    self.kill(*HALVES)
                    centre.kill()
                    self.broker.kill()
        (self.directory / "line").write_bytes(bytes(self.line.up) + b"\0" + bytes(self.line.down))
        self.done["octets on the line"] = len(self.line.up) + len(self.line.down)

    async def _until(self, condition: Any, seconds: float) -> None:  # noqa: ANN401  # an async condition
        deadline = time.monotonic() + seconds
        while not await condition():
            if time.monotonic() > deadline:
                self.done[f"waited in vain: {condition.__name__}"] += 1
                sys.stderr.write("".join(log.read_text(encoding="utf-8") for log in self.directory.glob("*.log")))
                return
            await asyncio.sleep(0.1)

    async def _reading(self) -> bool:
        status = await self.ask({"ask": "status"})
        return bool(status and all(reader["up"] for reader in status["readers"].values()))

    async def _drained(self) -> bool:
        with contextlib.closing(sqlite3.connect(f"file:{self.state / 'capture.db'}?mode=ro", uri=True)) as outside:
            (waiting,) = outside.execute("SELECT count(*) FROM outbox WHERE fate = 0").fetchone()
        return bool(waiting < len(READERS))

    async def ask(self, request: dict[str, Any], present: Payload | None = None) -> dict[str, Any] | None:
        """Ask the capture half; when it wants a token, present it. None when it is not there or refuses."""

        async def told(_: dict[str, Any]) -> None:
            if present is not None:
                self.read("counter", present)

        try:
            async with asyncio.timeout(20):
                return await ask(self.state, request, told)
        except RequestError:
            self.done["requests refused"] += 1
        except (NobodyListensError, OSError, TimeoutError, ValueError):
            self.done["requests unheard"] += 1
        return None

    def read(self, reader: str, payload: Payload) -> None:
        line = recorded(Recorded(0, Sighting(reader, payload))).encode() + b"\n"
        try:
            os.write(self.pipes[reader], line)
            self.done["readings"] += 1
        except BlockingIOError:
            self.done["readings that found no room"] += 1

    async def _live(self, counter: "asyncio.Queue[Any]") -> None:
        """Everybody comes at a moment of their own; customers again and again."""
        begun = time.monotonic()
        acts: list[tuple[float, Callable[[Any], Awaitable[None]], object]] = []
        acts += [(self.dice.random(), self._pass, who) for who in self.people.passersby]
        for person in self.people.persons:
            acts += [(self.dice.random(), act, person) for act in (self._visit, self._visit, self._agree, self._visit)]
            acts += [(self.dice.random(), act, person) for act in self.dice.sample([self._withdraw, self._said], 1)]
        for at, act, who in sorted(acts, key=lambda act: act[0]):
            await asyncio.sleep(max(begun + at * self.seconds - time.monotonic(), 0))
            if act in {self._agree, self._withdraw}:
                counter.put_nowait((act, who))
            else:
                await act(who)
        counter.put_nowait(None)

    async def _serve(self, counter: "asyncio.Queue[Any]") -> None:
        """Serve one customer after another at the counter, until the last has come or the day is long over."""
        closing = time.monotonic() + 1.5 * self.seconds
        while (waiting := await counter.get()) is not None and time.monotonic() < closing:
            act, who = waiting
            await act(who)

    async def _pass(self, who: Passerby) -> None:
        for address in who.addresses:
            self.read("salon", Advertisement(colons(address), -70, who.manufacturer, who.service))

    async def _visit(self, who: Person) -> None:
        """Come in with a beacon, show the card or the phone, and scan what is in the window."""
        for _ in range(3):
            self.read("salon", Advertisement(colons(who.address), -55, ibeacon(CUSTOMER_BEACONS.bytes, *who.beacon)))
        if self.dice.random() < 0.5:
            self.read("counter", self._card(who))
        else:
            self.read("scanner", Scan(who.customer.token, "]Q1"))
        self.read("scanner", Scan(SHOWN, "]Q1"))

    def _card(self, who: Person) -> Tag:
        return Tag(who.customer.card, ndef_link(who.customer.token))

    async def _agree(self, who: Person) -> None:
        request = {"ask": "consent-grant", "reader": "counter", "seconds": 1}
        self.done["granted"] += await self.ask(request, self._card(who)) is not None

    async def _withdraw(self, who: Person) -> None:
        request = {"ask": "consent-withdraw", "reader": "counter", "seconds": 1}
        self.done["withdrawn"] += await self.ask(request, self._card(who)) is not None

    async def _said(self, who: Person) -> None:
        """The centre gives, ends or withdraws a consent."""
        now, record_id = datetime.now(UTC), f"rec-{who.customer.name.split()[1]}"  # noqa: TID251  # the real clock
        state: Literal["given", "withdrawn"] = "withdrawn" if self.dice.random() < 0.4 else "given"
        before = self.records.get(record_id)
        record = ConsentRecord(
            record_id=record_id,
            handles=who.handles,
            controller="acme",
            purposes=("personalisation",),
            legal_basis="consent",
            granted_at=now,
            expires_at=now + timedelta(seconds=self.dice.choice((3, 20, 9_000))),
            notice_version="1",
            language="en",
            jurisdiction="CH",
            source="central",
            state=state,
            withdrawn_at=now if state == "withdrawn" else None,
            revision=before.revision + 1 if before else 1,
            issuer_kid=CENTRE.kid,
            tenant="acme",
            site="zrh-1",
        )
        self.records[record_id] = record
        self._publish(f"consent/{record_id}", record.model_dump_json())
        self._say_state(now)
        self.done["said by the centre"] += 1

    def _say_state(self, now: datetime) -> None:
        self.done["revision"] += 1
        entries = sorted((each.record_id, each.revision, each.state) for each in self.records.values())
        state = ConsentState(
            tenant="acme",
            site="zrh-1",
            revision=self.done["revision"],
            count=len(entries),
            digest=digest(entries),
            at=now,
        )
        self._publish("consent-state", state.model_dump_json())

    def _publish(self, topic: str, text: str) -> None:
        self.says.publish(f"touchpoint/v1/acme/zrh-1/{topic}", CENTRE.sign(text.encode()), 1, retain=True)

    def _centre_speaks(self) -> Client:
        says = Client(CallbackAPIVersion.VERSION2, client_id="trust", protocol=MQTTProtocolVersion.MQTTv5)
        says.reconnect_delay_set(1, 1)
        says.connect_async("127.0.0.1", self.line.port)
        says.loop_start()
        self.says = says
        self._say_state(datetime.now(UTC))  # noqa: TID251  # the real clock
        return says

    async def _break_things(self) -> None:
        """Outages and crashes, spread over the day; after each the files are searched: some do not live to its end."""
        faults = (self._kill_capture, self._kill_broker, self._kill_uplink, self._freeze, self._unplug, self._kill_both)
        pause = self.seconds / (len(faults) + 1)
        for fault in faults:
            await asyncio.sleep(pause)
            await fault()
            self.done["faults"] += 1
            await asyncio.to_thread(self.look, fault.__name__.strip("_"))

    async def _kill_capture(self) -> None:
        self.kill("capture")
        self.start("capture")

    async def _kill_uplink(self) -> None:
        self.kill("uplink")
        self.start("uplink")

    async def _kill_both(self) -> None:
        self.kill(*HALVES)
        for half in HALVES:
            self.start(half)

    async def _kill_broker(self) -> None:
        self.broker.kill()
        await asyncio.sleep(1)
        await asyncio.to_thread(self.broker.start)

    async def _freeze(self) -> None:
        self.broker.freeze()
        await asyncio.sleep(min(self.seconds / 10, 12))
        self.broker.thaw()

    async def _unplug(self) -> None:
        await self.line.unplug()
        await asyncio.sleep(min(self.seconds / 20, 5))
        self.line.plug()

    def look(self, when: str) -> None:
        """Search all files as they are now, and what processes hold open though it is deleted."""
        self.done["looks"] += 1
        files = [path for path in self.directory.rglob("*") if path.is_file() and path.name != "strace"]
        pids = [half.pid for half in self.halves.values() if half.poll() is None]
        files += [link for pid in pids for link in _deleted(pid)]
        for path in files:
            with contextlib.suppress(FileNotFoundError):
                self.found |= search(path.read_bytes(), self.needles, f"{path.name}, {when}")


def _deleted(pid: int) -> list[Path]:
    """Return the descriptors of a process's files that have no name any more."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if str(link.readlink()).endswith(" (deleted)") and link.is_file():
                    found.append(link)
    return found


def search(data: bytes, needles: Needles, where: str) -> set[str]:
    """Return what stands in the data, but for so little base64 that chance alone puts it there."""
    hits = needles.spelled_in(data)
    return {f"{label} in {where}, as {encoding}" for label, encoding in hits if not _chance(label, encoding)}


def _chance(label: str, encoding: str) -> bool:
    """Tell whether seven characters are all that remains of six octets: a gigabyte of base64 holds each by chance."""
    return "address" in label and "base64" in encoding and not encoding.endswith("0")


def written(trace: Path) -> set[str]:
    """Return every file that a traced process opened for writing, made or renamed, as strace tells (option -y)."""
    found: set[str] = set()
    begun: dict[str, str] = {}
    for text in trace.read_text(encoding="utf-8", errors="replace").splitlines():
        process = text.partition(" ")[0]
        if text.endswith("<unfinished ...>"):
            begun[process] = text
            continue
        line = begun.pop(process, "") + text if " resumed>" in text else text
        call = re.search(r"\b(open|openat|openat2|creat|rename\w*|link\w*|truncate|memfd_create)(?:\(| resumed>)", line)
        if call is None or " = -1 " in line:
            continue
        opened = re.search(r"= \d+<([^>]*)>", line)
        if opened and (call[1] == "creat" or WRITING.search(line)):
            found.add(opened[1])
        elif call[1].startswith(("rename", "link", "truncate")):
            found |= {name for name in re.findall(r'"([^"]+)"', line) if name.startswith("/")}
    return {name.removesuffix(" (deleted)") for name in found if not name.startswith(SYSTEM)}


TRACED = "open,openat,openat2,creat,rename,renameat,renameat2,link,linkat,truncate,memfd_create"


@dataclass(frozen=True)
class Verdict:
    """What a day has come to."""

    done: dict[str, int]
    files: list[str]
    gone: list[str]
    octets: int
    found: list[str]
    needles: int
    proven: bool
    seconds: float

    @property
    def good(self) -> bool:
        return self.proven and not self.found and bool(self.files)


def prove(needles: Needles, secrets: Iterable[Secret]) -> bool:
    """Plant one secret of each kind in each of its spellings, one at a time: each must be found, by its name."""
    kinds: dict[str, Secret] = {}
    for label, raw in secrets:
        kinds.setdefault(re.sub(r"\d+", "", label), (label, raw))
    return all(
        label in needles.find(b"\0" * 100 + spelled + b"\0" * 100)
        for label, raw in kinds.values()
        for spelled in spellings(raw).values()
    )


def live(seed: int, customers: int, passersby: int, seconds: float) -> Verdict:
    """Run a day below strace and search everything. Leaves nothing behind."""
    begun = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="tp-day-") as name,
        tempfile.TemporaryDirectory(prefix="tp-trace-") as other,
    ):
        trace = Path(other) / "strace"
        inner = [sys.executable, "-m", "tests.privacy", "--inner", name, "--seed", str(seed)]
        inner += ["--customers", str(customers), "--passersby", str(passersby), "--seconds", str(seconds)]
        tracing = ["strace", "-f", "--seccomp-bpf", "-y", "-qq", "-s", "4096", "-e", f"trace={TRACED}"]
        with (Path(other) / "said").open("wb") as said:
            ran = subprocess.run([*tracing, "-e", "signal=none", "-o", str(trace), *inner], check=False, stdout=said)
        told = json.loads((Path(other) / "said").read_text(encoding="utf-8")) if ran.returncode == 0 else {}
        files = sorted(written(trace) | {str(Path(name) / "line")})
        people = People.of(seed, customers, passersby)
        needles, found, octets = Needles(people.secrets()), set(told.get("found", ["the day came to no end"])), 0
        for each in files:
            with contextlib.suppress(FileNotFoundError, IsADirectoryError, OSError):
                data = Path(each).read_bytes() if Path(each).is_file() else b""
                octets += len(data)
                found |= search(data, needles, each)
        gone = [each for each in files if not Path(each).exists()]
        proven = prove(needles, people.secrets())
    count = sum(len(spellings(raw)) for _, raw in people.secrets())
    took = time.monotonic() - begun
    return Verdict(told.get("done", {}), files, gone, octets, sorted(found), count, proven, took)


def inner(directory: Path, seed: int, customers: int, passersby: int, seconds: float) -> None:
    """Live through the day and tell what was counted, as JSON."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    dice = Random(seed + 1)  # noqa: S311  # for repeatable days, not for secrets
    day = Day(directory, People.of(seed, customers, passersby), seconds, dice)
    asyncio.run(day.run())
    sys.stdout.write(json.dumps({"done": day.done, "found": sorted(day.found)}))
