"""`touchpoint beacons`: the real bleak on a BlueZ without a radio, with a gateway and without."""

import asyncio
import fcntl
import inspect
import json
import os
import pty
import re
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway.config import load
from gateway.control import NobodyListensError, ask
from gateway.sources.ble import FEAA
from tests.simulators import frames
from tests.simulators.bluez import Bluez, PrivateBus

pytestmark = pytest.mark.timeout(180)  # each test starts several commands, one after the other

PILLAR, NEW, FAR = b"\x0b" * 20, b"\x0c" * 20, b"\x0d" * 20
CUSTOMERS = bytes.fromhex("a495bb10c5b14b44b5121370f02d74de")
PILLAR_TEXT, NEW_TEXT, FAR_TEXT = (f"altbeacon:{each.hex()}" for each in (PILLAR, NEW, FAR))
REGISTRY = f"""id,kind,name,zone,phase,gtin,reference,serial,campaign,valid_from,valid_until,identifiers
pillar,beacon,Pillar,salon,,,,,,,,{PILLAR_TEXT}
vitrine-3,display,Vitrine 3,salon,before,,,,,,,link:https://id.acme.example/t/vitrine-3
exit,feedback,How was it?,,,,,,,,,text:good#5
"""
CONFIGURATION = """
[gateway]
tenant = "acme"
site = "zrh-1"
id = "gw-1"
state = "."
[mqtt]
host = "127.0.0.1"
[clock]
source = "trusted"
[[reader]]
name = "ceiling"
kind = "ble"
zone = "salon"
adapter = "hci0"
[[reader]]
name = "door"
kind = "ble"
zone = "entrance"
adapter = "hci1"
[[bearer]]
kind = "ibeacon"
prefix = "a495bb10-c5b1-4b44-b512-1370f02d74de/"
low_entropy = true
[[badge]]
kind = "eddystone-uid"
prefix = "0badge0badge0badge00/"
""".replace("0badge0badge0badge00", "ba" * 10)


@dataclass
class Air:
    """Who sends, again and again: address, level at each adapter, manufacturer and service data."""

    bluez: Bluez
    senders: dict[str, tuple[tuple[int, ...], dict[int, bytes], dict[str, bytes]]] = field(default_factory=dict)

    def put(
        self,
        address: str,
        *levels: int,
        manufacturer: dict[int, bytes] | None = None,
        service: dict[str, bytes] | None = None,
    ) -> None:
        """Have a device send from now on."""
        self.senders[address] = (levels, manufacturer or {}, service or {})

    def beacon(self, address: str, beacon_id: bytes, *levels: int) -> None:
        """Have an AltBeacon send from now on."""
        self.put(address, *levels, manufacturer={0x0118: frames.altbeacon(beacon_id, -59)})

    async def send(self) -> None:
        while True:
            for address, (levels, manufacturer, service) in self.senders.items():
                for number, rssi in enumerate(levels):
                    self.bluez.advertise(address, rssi, manufacturer=manufacturer, service=service, number=number)
            await asyncio.sleep(0.1)


def addresses(*lasts: int) -> list[str]:
    """Return MAC addresses that are found wherever they are."""
    return [f"C4:5A:3C:77:91:{last:02X}" for last in lasts]


A_PILLAR, A_NEW, A_FAR, A_CUSTOMER, A_BADGE, A_PHONE, A_HIDDEN, A_TWIN = addresses(*range(0xA0, 0xA8))


@dataclass
class Store:
    """A store with two adapters, and what everything in it said."""

    directory: Path
    air: Air
    said: list[str] = field(default_factory=list)

    def words(self, *words: str) -> list[str]:
        at = 1 if words[0] == "capture" else 2
        return [*words[:at], "--config", str(self.directory / "gateway.toml"), *words[at:]]

    async def start(self, *words: str, **streams: Any) -> asyncio.subprocess.Process:  # noqa: ANN401
        started = [sys.executable, "-m", "gateway", *self.words(*words)]
        return await asyncio.create_subprocess_exec(*started, **streams)

    async def run(self, *words: str, answer: str = "") -> tuple[int, str, str]:
        """Run a command; return exit status, output and messages."""
        pipe = asyncio.subprocess.PIPE
        process = await self.start(*words, stdin=pipe, stdout=pipe, stderr=pipe)
        out, err = (each.decode() for each in await process.communicate(answer.encode()))
        self.said += [out, err]
        return process.returncode or 0, out, err

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the capture half beside, until its readers are up."""
        pipe = asyncio.subprocess.PIPE
        daemon = await self.start("capture", stdout=pipe, stderr=asyncio.subprocess.STDOUT)
        try:
            await eventually(self._is_up)
            yield
        finally:
            daemon.terminate()
            self.said.append((await daemon.communicate())[0].decode())

    async def _is_up(self) -> bool:
        status = await self.status()
        return [each["up"] for each in status.get("readers", {}).values()] == [True, True]

    async def status(self) -> dict[str, Any]:
        with suppress(NobodyListensError):
            return await self.ask("status")
        return {}

    async def ask(self, what: str) -> dict[str, Any]:
        return await ask(load(self.directory / "gateway.toml").gateway.sockets, {"ask": what})

    def shows_no_address(self) -> None:
        """Look for every address in all that was said, and in every file."""
        files = [each.read_bytes() for each in self.directory.rglob("*") if each.is_file()]
        everything = b"".join([*files, "".join(self.said).encode()]).upper()
        for address in self.air.senders:
            for form in (address, address.replace(":", "_"), address.replace(":", ""), address.replace(":", "-")):
                assert form.encode() not in everything
            assert bytes.fromhex(address.replace(":", "")) not in everything
        assert not re.search(rb"([0-9A-F]{2}[:_-]){5}[0-9A-F]{2}\b", "".join(self.said).upper().encode())


async def eventually(condition: Callable[[], Any]) -> None:
    """Wait until a condition holds, which may have to be asked for: commands take a while to start."""
    async with asyncio.timeout(45):
        while not (await held if inspect.isawaitable(held := condition()) else held):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@pytest.fixture
async def store(directory: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    """Around: a beacon of the store, two of nobody's, a customer's, a badge, a phone, and one that hides."""
    (directory / "gateway.toml").write_text(CONFIGURATION, encoding="utf-8")
    (directory / "registry.csv").write_text(REGISTRY, encoding="utf-8")
    bus = PrivateBus(directory)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.address)
    with bus:
        async with Bluez(bus.address, adapters=2) as bluez:
            air = Air(bluez)
            air.put(
                A_PILLAR,
                -60,
                -90,
                manufacturer={0x0118: frames.altbeacon(PILLAR, -59)},
                service={FEAA: frames.eddystone_tlm(2870, 0x1500, 9, 100)},
            )
            air.beacon(A_NEW, NEW, -75, -42)
            air.beacon(A_FAR, FAR, -80)
            air.put(A_CUSTOMER, -40, manufacturer={0x004C: frames.ibeacon(CUSTOMERS, 7, 9, -59)})
            air.put(A_BADGE, -40, service={FEAA: frames.eddystone_uid(b"\xba" * 10, b"\x01" * 6, -20)})
            air.put(A_PHONE, -30, manufacturer={0x004C: bytes.fromhex("10061a1e16ec7f61")})
            air.put(A_HIDDEN, -35, service={FEAA: frames.eddystone_eid(b"\xe1" * 8, -20)})
            made = Store(directory, air)
            sending = asyncio.ensure_future(air.send())
            try:
                told = await made.run("touchpoints", "import", str(directory / "registry.csv"))
                assert told[0] == 0, told
                yield made
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
    made.shows_no_address()


SEEN = [
    ("-42", "-42", "entrance", "-", "not registered", NEW_TEXT),
    ("-60", "-60", "salon", "2.87 V", "pillar", PILLAR_TEXT),
    ("-80", "-80", "salon", "-", "not registered", FAR_TEXT),
]


async def test_each_beacon_has_a_line(store: Store) -> None:
    """Without a gateway: the strongest first, at the reader that hears it best. Phones and what is carried are not."""
    status, out, err = await store.run("beacons", "scan", "--seconds", "2")
    assert (status, [tuple(line.split("\t")) for line in out.splitlines()], err) == (0, SEEN, "")


async def test_a_running_gateway_tells_the_same(store: Store) -> None:
    """To scripts as JSON; its own work goes on, and afterwards a stranger's frame is dropped unread as before."""
    async with store.running():
        status, out, _err = await store.run("beacons", "scan", "--seconds", "2", "--json")
        told = json.loads(out)
        assert status == 0
        assert [(each["identifier"], each["touchpoint"], each["zone"], each["senders"]) for each in told] == [
            (NEW_TEXT, None, "entrance", 1),
            (PILLAR_TEXT, "pillar", "salon", 1),
            (FAR_TEXT, None, "salon", 1),
        ]
        assert (told[1]["median"], told[1]["battery_mv"], told[1]["reader"]) == (-60, 2870, "ceiling")
        before = (await store.status())["counts"]
        await eventually(lambda: _counts_more(store, before, "dropped:unknown", "absorbed"))
        counts = (await store.status())["counts"]
        fates = [counts[name] for name in counts if name.partition(":")[0] in {"absorbed", "acted_on", "dropped"}]
        assert counts["sightings"] == sum(fates)


async def _counts_more(store: Store, before: dict[str, int], *names: str) -> bool:
    counts = (await store.status())["counts"]
    return all(counts[name] > before.get(name, 0) for name in names)


async def test_two_of_the_same_are_pointed_out(store: Store) -> None:
    """Two devices that send one identifier, as beacons fresh from the box do."""
    store.air.beacon(A_TWIN, FAR, -82)
    _status, out, _err = await store.run("beacons", "scan", "--seconds", "2")
    assert "not registered, sent by 2 beacons" in out.splitlines()[-1]


async def test_nobody_around_is_said(store: Store) -> None:
    """On standard error, so that a script gets no line."""
    store.air.senders.clear()
    assert await store.run("beacons", "scan", "--seconds", "0.5") == (0, "", "No beacon was heard.\n")


async def test_a_reader_that_is_down_is_named(store: Store) -> None:
    """With its reason: nothing was heard because nobody listened. Exit status 1."""
    store.air.bluez.power(on=False, number=0)
    store.air.bluez.power(on=False, number=1)
    status, out, err = await store.run("beacons", "scan", "--seconds", "1")
    assert (status, out) == (1, "")
    assert "reader ceiling is not working: hci0 is switched off" in err
    assert "reader door is not working: hci1 is switched off" in err


async def test_a_store_without_a_ble_reader_says_so(store: Store) -> None:
    """Instead of waiting for what cannot come."""
    text = CONFIGURATION.partition("[[reader]]")[0]
    (store.directory / "gateway.toml").write_text(text, encoding="utf-8")
    status, _out, err = await store.run("beacons", "scan", "--seconds", "1")
    assert (status, err) == (1, 'No [[reader]] of kind = "ble" is configured, so no beacon can be heard.\n')


@dataclass
class Terminal:
    """What a command draws on a terminal of 120 by 40."""

    master: int
    drawn: str = ""

    def screen(self) -> str:
        """Return all that was drawn so far, without colours and cursor movements."""
        with suppress(BlockingIOError, OSError):
            while piece := os.read(self.master, 65536):
                self.drawn += piece.decode(errors="replace")
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.drawn)


@asynccontextmanager
async def on_terminal(store: Store, *words: str) -> AsyncIterator[tuple[Terminal, asyncio.subprocess.Process]]:
    """Run a command on a pseudo-terminal."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    os.set_blocking(master, False)
    environment = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
    process = await store.start(*words, stdin=slave, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    terminal = Terminal(master)
    try:
        yield terminal, process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        store.said.append(terminal.screen())
        os.close(master)


@pytest.mark.parametrize("with_gateway", [False, True])
async def test_a_terminal_shows_it_live(store: Store, *, with_gateway: bool) -> None:
    """The table follows what is heard; Ctrl-C ends it with status 0, the cursor back, and nothing left behind."""
    async with store.running() if with_gateway else _nothing():
        async with on_terminal(store, "beacons", "scan") as (terminal, process):
            await eventually(lambda: NEW_TEXT in terminal.screen() and "2.87 V" in terminal.screen())
            line = next(each for each in terminal.screen().splitlines() if NEW_TEXT in each)
            assert re.fullmatch(rf"\s*-42\s+-42\s+█+·*\s+entrance\s+-\s+not registered\s+{NEW_TEXT}\s*", line)
            store.air.beacon(A_NEW, NEW, -90, -71)
            await eventually(lambda: bool(re.search(rf"-71 .*{NEW_TEXT}", terminal.screen())))
            process.send_signal(signal.SIGINT)
            async with asyncio.timeout(10):
                assert await process.wait() == 0
            assert "Traceback" not in terminal.screen()
            assert terminal.drawn.rindex("\x1b[?25h") > terminal.drawn.rindex("\x1b[?25l")
        if with_gateway:
            await eventually(store._is_up)  # noqa: SLF001
    status, _out, _err = await store.run("beacons", "scan", "--seconds", "1")
    assert status == 0


@asynccontextmanager
async def _nothing() -> AsyncIterator[None]:
    yield


class TestRegister:
    """A beacon becomes the store's."""

    async def test_by_its_identifier(self, store: Store) -> None:
        """A new touchpoint of kind beacon is made, an old one gets it beside what it has; capitals do not matter."""
        told = await store.run("beacons", "register", "door-1", NEW_TEXT.upper().replace("ALTBEACON", "AltBeacon"))
        assert told == (0, f"{NEW_TEXT.upper().replace('ALTBEACON', 'AltBeacon')} is registered: door-1.\n", "")
        words = ("--zone", "entrance", "--name", "Vitrine 3b", "--json")
        status, out, _err = await store.run("beacons", "register", "vitrine-3", FAR_TEXT, *words)
        made = json.loads(out)
        assert (status, made["zone"], made["name"]) == (0, "entrance", "Vitrine 3b")
        assert made["identifiers"] == ["link:https://id.acme.example/t/vitrine-3", FAR_TEXT]
        again = await store.run("beacons", "register", "vitrine-3", FAR_TEXT)
        assert again == (0, "It is registered like that already; nothing was changed.\n", "")
        _status, out, _err = await store.run("touchpoints", "show", "door-1", "--json")
        shown = json.loads(out)
        assert (shown["kind"], shown["name"], shown["zone"]) == ("beacon", "door-1", None)

    @pytest.mark.parametrize(
        ("words", "wrong"),
        [
            (("vitrine-3", PILLAR_TEXT), f"vitrine-3: {PILLAR_TEXT} belongs to pillar already"),
            (("door-1", PILLAR_TEXT), f"door-1: {PILLAR_TEXT} belongs to pillar already"),
            (("door-1", f"eddystone-uid:{'ba' * 10}/{'01' * 6}"), "that is a badge of the staff"),
            (("door-1", "ibeacon:a495bb10-c5b1-4b44-b512-1370f02d74de/7/9"), "that is a customer's token"),
            (("door-1", "nfc-uid:04a1b2c3d4e5f6"), "that is no beacon's identifier; it begins with one of ibeacon:,"),
            (("door-1", "altbeacon:12"), "altbeacon: is written as 40 hexadecimal digits"),
            (("exit", NEW_TEXT), "exit is a feedback point: a beacon cannot be an answer"),
            (("door-1", NEW_TEXT, "--zone", "salloon"), "is in the zone salloon; there are: entrance, salon"),
        ],
    )
    async def test_what_cannot_be_is_refused(self, store: Store, words: tuple[str, ...], wrong: str) -> None:
        """With the reason, exit status 1, and nothing changed."""
        status, out, err = await store.run("beacons", "register", *words)
        assert (status, out) == (1, "")
        assert wrong in err
        _status, exported, _err = await store.run("touchpoints", "export")
        assert exported.splitlines() == REGISTRY.splitlines()

    @pytest.mark.parametrize("with_gateway", [False, True])
    async def test_by_holding_it_near(self, store: Store, *, with_gateway: bool) -> None:
        """The one that stands out is shown, and registered when a person has agreed; then it is known at once."""
        async with store.running() if with_gateway else _nothing():
            status, out, err = await store.run("beacons", "register", "door-1", "--zone", "entrance", answer="door-1\n")
            assert (status, out) == (0, f"{NEW_TEXT} is registered: door-1.\n")
            assert "Hold the beacon within a hand's breadth of the antenna of ceiling, door." in err
            assert f"{NEW_TEXT} becomes door-1." in err
            _status, out, _err = await store.run("beacons", "scan", "--seconds", "2", "--json")
            assert {each["identifier"]: each["touchpoint"] for each in json.loads(out)}[NEW_TEXT] == "door-1"

    async def test_nothing_is_registered_unless_it_is_sure(self, store: Store) -> None:
        """Not without a person's word, not of two that are as near, not one that is sent by two devices."""
        status, _out, err = await store.run("beacons", "register", "door-1", answer="no\n")
        assert (status, "nothing was changed" in err) == (1, True)
        store.air.beacon(A_TWIN, NEW, -80, -45)
        status, _out, err = await store.run("beacons", "register", "door-1")
        assert (status, f"2 beacons send {NEW_TEXT}: set each to an identifier of its own" in err) == (1, True)
        store.air.beacon(A_FAR, FAR, -44)
        status, _out, err = await store.run("beacons", "register", "door-1", "--seconds", "3")
        assert status == 1
        assert re.search(r"the strongest that is not registered is altbeacon:\w+ with -4\d dBm. Hold it nearer", err)
        _status, exported, _err = await store.run("touchpoints", "export")
        assert exported.splitlines() == REGISTRY.splitlines()


class TestForget:
    """A beacon becomes a stranger's."""

    async def test_by_identifier_and_by_touchpoint(self, store: Store) -> None:
        """With confirmation; the touchpoint and its other identifiers stay."""
        await store.run("beacons", "register", "vitrine-3", NEW_TEXT)
        status, _out, err = await store.run("beacons", "forget", NEW_TEXT, answer="pillar\n")
        assert (status, "That was not it; nothing was changed." in err) == (1, True)
        told = await store.run("beacons", "forget", NEW_TEXT, answer="vitrine-3\n")
        assert told[:2] == (0, f"{NEW_TEXT}: forgotten.\n")
        assert f"Taken off the registry, from vitrine-3: {NEW_TEXT}" in told[2]
        status, out, _err = await store.run("beacons", "forget", "pillar", "--yes", "--json")
        assert (status, json.loads(out)["identifiers"]) == (0, [])
        _status, exported, _err = await store.run("touchpoints", "export")
        assert exported.splitlines() == REGISTRY.replace(PILLAR_TEXT, "").splitlines()

    async def test_one_that_is_not_the_stores(self, store: Store) -> None:
        """Is named as such; nothing is changed."""
        told = await store.run("beacons", "forget", NEW_TEXT)
        assert told[0] == 1
        assert f"No beacon of the store is called {NEW_TEXT}." in told[2]


class TestHowTheyAre:
    """`list` and `health`."""

    async def test_without_a_gateway_nobody_knows(self, store: Store) -> None:
        """`list` says where they belong, `health` fails."""
        status, out, err = await store.run("beacons", "list")
        assert (status, [line.split() for line in out.splitlines()][1]) == (0, ["pillar", "salon", "-", "-", "Pillar"])
        assert err == "The gateway does not run, so nobody knows when they were heard.\n"
        status, out, err = await store.run("beacons", "health")
        assert (status, out, "so nobody listens to the beacons" in err) == (1, "", True)

    async def test_a_running_gateway_knows(self, store: Store) -> None:
        """When and where each was heard, and its battery; the weakest first. One that was forgotten is not missed."""
        async with store.running():
            await eventually(lambda: self._battery(store, 2870))
            status, out, err = await store.run("beacons", "list")
            assert (status, err) == (0, "")
            assert re.search(r"^pillar +salon +\d seconds? ago in salon +2\.87 V +Pillar$", out, re.MULTILINE)
            await store.run("beacons", "register", "door-1", FAR_TEXT, "--zone", "entrance")
            tlm = {FEAA: frames.eddystone_tlm(2310, 0x1500, 9, 100)}
            store.air.put(A_PILLAR, -60, manufacturer={0x0118: frames.altbeacon(PILLAR, -59)}, service=tlm)
            await eventually(lambda: self._battery(store, 2310))
            status, out, err = await store.run("beacons", "health", "--json")
            told = json.loads(out)["beacons"]
            assert status == 1
            assert [(each["touchpoint"], each["condition"]) for each in told] == [
                ("pillar", "low-battery"),
                ("door-1", "elsewhere"),
            ]
            status, out, err = await store.run("beacons", "health")
            assert re.search(r"^2\.31 V +pillar +its battery is low: change it +Pillar$", out, re.MULTILINE)
            assert "heard in salon, and belongs to entrance: put it back, or edit the touchpoint" in out
            for name in ("pillar", "door-1"):
                assert (await store.run("beacons", "forget", name, "--yes"))[0] == 0
            status, out, err = await store.run("beacons", "health")
            assert (status, out, "No beacon is registered" in err) == (0, "", True)
            store.air.bluez.power(on=False, number=0)
            await eventually(lambda: self._down(store))
            status, _out, err = await store.run("beacons", "health")
            assert (status, "reader ceiling is not working: hci0" in err) == (1, True)

    async def _battery(self, store: Store, millivolts: int) -> bool:
        told = await store.ask("beacons")
        return millivolts in {each["battery_mv"] for each in told["beacons"]}

    async def _down(self, store: Store) -> bool:
        return [each["name"] for each in (await store.ask("beacons"))["down"]] == ["ceiling"]
