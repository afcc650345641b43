"""The boutique around the gateway's processes: radio, tags, codes, a broker, and somebody who takes notes."""

import asyncio
import os
import sys
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

from gateway.core.sighting import Advertisement, Scan, Tag
from gateway.demo.boutique import COUNTER, WINDOW
from gateway.sources.recording import Recorded
from gateway.sources.recording import format as recorded
from gateway.store.backlog import Backlog
from gateway.store.verify import verify
from tests.benchmarks.broker import mosquitto
from tests.benchmarks.installation import running, wait_for
from tests.benchmarks.process import cpu_seconds
from tests.boutique.day import Day
from tests.boutique.store import install
from tests.simulators.bluez import Bluez, PrivateBus
from tests.simulators.consumer import Consumer
from tests.simulators.nfc_field import Ntag21x
from tests.simulators.pn532 import Pn532
from tests.simulators.scanner import ScannerSimulator
from tests.soak.samples import Sample, of_files, of_process

LOOK_SECONDS = 30.0
DAY_SECONDS, PEOPLE = 1_800.0, 24
ADAPTERS = {"salon": 0, "atelier": 1}
FORGOTTEN_SECONDS = 30.0
"""bluetoothd forgets a device that it has not heard for so long (main.conf, TemporaryTimeout)."""
HELD_SECONDS = 0.4
DRAIN_SECONDS = 120.0
HALVES = ("capture", "uplink")


@dataclass
class Store:
    """The devices, and what they are given to read."""

    bluez: Bluez
    scanner: ScannerSimulator
    reader: Pn532
    window: Any
    heard: dict[tuple[str, int], float] = field(default_factory=dict)

    def play(self, line: Recorded) -> None:
        """Have a device read what a line of the recording says."""
        name, payload = line.sighting.reader, line.sighting.payload
        match payload:
            case Advertisement():
                service = {f"0000{uuid}-0000-1000-8000-00805f9b34fb": data for uuid, data in payload.service.items()}
                parts: dict[str, Any] = {"manufacturer": payload.manufacturer, "service": service}
                kept = {part: value for part, value in parts.items() if value}
                self.bluez.advertise(payload.address, payload.rssi, number=ADAPTERS[name], **kept)
                self.heard[payload.address, ADAPTERS[name]] = monotonic()
            case Scan():
                self.scanner.scan(payload.text, payload.symbology or "")
            case Tag() if name == COUNTER:
                self.reader.place(Ntag21x(215, payload.uid, payload.ndef))
                asyncio.get_running_loop().call_later(HELD_SECONDS, self.reader.remove)
            case _:
                self.window.write(f"{recorded(line)}\n".encode())

    def forget(self) -> None:
        """Forget the devices that were not heard for a while, as bluetoothd does."""
        before = monotonic() - FORGOTTEN_SECONDS
        for device in [device for device, at in self.heard.items() if at < before]:
            del self.heard[device]
            self.bluez.forget(*device)


async def soak(directory: Path, seconds: float, pace: float) -> tuple[list[Sample], list[str]]:
    """Run the gateway so long; return what was noted, and what was wrong with its events."""
    dice = Random(1)  # noqa: S311  # for repeatable days, not for secrets
    first = Day(dice.randrange(1 << 30), DAY_SECONDS, PEOPLE)
    with ExitStack() as stack:
        bus = stack.enter_context(PrivateBus(directory))
        broker = stack.enter_context(mosquitto(directory))
        scanner = stack.enter_context(ScannerSimulator(directory / "scanner"))
        reader = stack.enter_context(Pn532(directory / "pn532"))
        _install(directory, first, broker.port, reader.device)
        consumer = stack.enter_context(Consumer(broker.port))
        async with Bluez(bus.address, adapters=2) as bluez:
            environment = os.environ | {"DBUS_SYSTEM_BUS_ADDRESS": bus.address}
            configuration = str(directory / "gateway.toml")
            commands = [[sys.executable, "-m", "gateway", half, "--config", configuration] for half in HALVES]
            pids = [each.pid for each in stack.enter_context(running(*commands, environment=environment))]
            for half in HALVES:
                await asyncio.to_thread(wait_for, directory / "state" / f"{half}.bell")
            window = stack.enter_context((directory / "window").open("wb", buffering=0))
            store = Store(bluez, scanner, reader, window)
            walk = asyncio.ensure_future(_days(store, first, dice, pace))
            try:
                samples = await _notes(directory / "state", pids, seconds, walk)
            finally:
                walk.cancel()
            wrong = await _balance(directory / "state", consumer)
        return samples, wrong


def _install(directory: Path, day: Day, port: int, reader: str) -> None:
    """Install the gateway as a day of the boutique wants it, with its devices here."""
    install(directory, day.own, [agreed for who in day.visitors if (agreed := who.agreed) is not None])
    os.mkfifo(directory / "window")
    file = directory / "gateway.toml"
    text = file.read_text(encoding="utf-8")
    text = text.replace('host = "127.0.0.1"', f'host = "127.0.0.1"\nport = {port}')
    text = text.replace('device = "/none"', f'device = "{directory / "scanner"}"')
    text = text.replace(f'name = "{COUNTER}"\nkind = "nfc"', f'name = "{COUNTER}"\nkind = "nfc"\ndevice = "{reader}"')
    played = f'name = "{WINDOW}"\nkind = "simulated"\nplays = "nfc"\ndevice = "{directory / "window"}"'
    file.write_text(text.replace(f'name = "{WINDOW}"\nkind = "nfc"', played), encoding="utf-8")


async def _days(store: Store, day: Day, dice: Random, pace: float) -> None:
    """Let day follow upon day; a day that the store is late with is played as fast as it is taken."""
    while True:
        began = monotonic()
        for number, line in enumerate(day.lines()):
            if isinstance(line, Recorded):
                await asyncio.sleep(max(0.0, began + line.at / pace - monotonic()) if number % 10 == 0 else 0)
                store.play(line)
                if number % 1_000 == 0:
                    store.forget()
        day = Day(dice.randrange(1 << 30), DAY_SECONDS, PEOPLE)


async def _notes(state: Path, pids: list[int], seconds: float, walk: "asyncio.Task[None]") -> list[Sample]:
    """Take notes until the time is over. Raises what ended the walk."""
    samples: list[Sample] = []
    began = last = monotonic()
    before = [0.0] * len(pids)
    while monotonic() - began < seconds:
        now = monotonic()
        for number, (half, pid) in enumerate(zip(HALVES, pids, strict=True)):
            samples += of_process((now - began) / 3600, half, pid, before[number], now - last)
            before[number] = cpu_seconds(pid)
        samples += of_files((now - began) / 3600, state)
        last = now
        await asyncio.wait([walk], timeout=min(LOOK_SECONDS, max(0.1, began + seconds - now)))
        if walk.done():
            walk.result()
    return samples


async def _balance(state: Path, consumer: Consumer) -> list[str]:
    """Wait until everything is sent, and compare the numbers of both sides."""
    deadline = monotonic() + DRAIN_SECONDS
    with closing(Backlog(state)) as backlog:
        while backlog.waiting() and monotonic() < deadline:  # noqa: ASYNC110  # another process sends
            await asyncio.sleep(0.5)
        report = verify(backlog)
    numbers = ", ".join(f"{name} {number}" for name, number in report.numbers.items())
    print(f"{numbers}; {consumer.received} events at the broker", flush=True)  # noqa: T201  # the report
    holes = [f"{len(consumer.holes)} holes"] if consumer.holes else []
    return report.problems + holes + ([f"{report.numbers['waiting']} wait"] if report.numbers["waiting"] else [])
