"""Every fault of a scanner, again and again: how long the reader takes to scan again, and what it leaves.

    python -m tests.campaign.scanner_faults --rounds 50

The real drivers on the simulated devices of `tests/simulators`: pyserial on a pseudo-terminal, and the keyboard's own
descriptors with evdev's ioctls answered beside them. Each fault has a process of its own. It lasts a random while, so
that the device comes back at any moment of the reader's patience. The time counts from when it is back until a scan
comes out. The exit status is 1 if a fault took more than five seconds, if a scan came out that nobody made, or if a
thread, a descriptor or a task is left.
"""

import argparse
import asyncio
import errno
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from fcntl import LOCK_EX, LOCK_UN, flock
from pathlib import Path
from statistics import median

from gateway.core import decode
from gateway.core.sighting import Scan, Sighting
from gateway.sources.scanner import ScannerSource
from gateway.sources.source import Source, SourceStatus
from gateway.sources.wedge import WedgeSource
from tests.campaign.ble_faults import held
from tests.simulators.scanner import ScannerSimulator
from tests.simulators.wedge import WedgeSimulator

LIMIT = 5.0
GIVE_UP = 30.0
EVERY = 0.005
PACE = 0.1
LONGEST_FAULT = 6.0
ENDINGS = ("\r", "\n", "\t")
LINK = "https://id.acme.example/01/09506000134352/21/"


@dataclass
class Bench:
    """A reader, its device, and a customer who shows a code whenever there is something to show it to."""

    device: ScannerSimulator | WedgeSimulator
    chance: random.Random
    scanned_at: float = 0.0
    strange: int = 0
    """Scans that nobody made."""
    shown: int = 0
    statuses: list[SourceStatus] = field(default_factory=list)
    away: Path | None = None
    stolen: int | None = None

    async def show(self) -> None:
        """Show a code every now and then, while somebody reads."""
        while True:
            await asyncio.sleep(PACE)
            if self.statuses and self.statuses[-1].up:
                self.shown += 1
                with suppress(OSError, IndexError):  # it is gone
                    self.device.scan(f"{LINK}{self.shown:06x}", ending=self.chance.choice(ENDINGS))

    async def listen(self, source: Source) -> None:
        async for sighting in source:
            self.hear(sighting)

    def hear(self, sighting: Sighting) -> None:
        """Take a code that was shown, and count one that was not: noise may be a text, but none that is a link."""
        assert isinstance(sighting.payload, Scan)
        codes = [each.value for each in decode.scan(sighting.payload) if each.kind == "link"]
        if codes and codes[0] in {f"{LINK}{number:06x}" for number in range(max(self.shown - 50, 0), self.shown + 1)}:
            self.scanned_at = asyncio.get_running_loop().time()
        else:
            self.strange += bool(codes)

    def half_a_code(self) -> None:
        """Begin a code, so that it is torn."""
        with suppress(OSError, IndexError):
            self.device.scan(f"{LINK}000000"[: self.chance.randint(1, len(LINK) + 5)], ending="")

    def unplug(self) -> None:
        self.half_a_code()
        self.device.unplug()

    def plug(self) -> None:
        """Another number behind the same path: what holds the last one keeps the kernel from giving it again."""
        spare = os.openpty()
        self.device.plug()
        for descriptor in spare:
            os.close(descriptor)

    def vanish(self) -> None:
        """Take away the path while the device stays, as udev does when it renames; then the device too."""
        self.device.path.unlink()
        self.device.path.symlink_to("/dev/null/nowhere")
        self._hang_up()

    def _hang_up(self) -> None:
        for descriptor in self.device._descriptors:  # noqa: SLF001 -- a cable that is cut asks nobody
            os.close(descriptor)
        self.device._descriptors = ()  # noqa: SLF001

    def appear(self) -> None:
        self.device.path.unlink()
        self.device.plug()

    def flicker(self) -> None:
        """A loose contact: gone and back, several times, at any moment."""
        for _ in range(5):
            self.device.unplug()
            self.device.plug()
            self.half_a_code()

    def seize(self) -> None:
        """Another program takes the device as soon as it is plugged in again."""
        self.device.unplug()
        self.device.plug()
        self.stolen = os.open(self.device.path, os.O_RDWR | os.O_NOCTTY)
        flock(self.stolen, LOCK_EX)

    def let_go(self) -> None:
        if self.stolen is not None:
            flock(self.stolen, LOCK_UN)
            os.close(self.stolen)
            self.stolen = None

    def forbid(self) -> None:
        """The path leads to something that cannot be opened as a device."""
        self.device.unplug()
        self.device.path.mkdir()

    def allow(self) -> None:
        self.device.path.rmdir()
        self.device.plug()

    def refuse(self) -> None:
        """The kernel answers the grab with an error."""
        assert isinstance(self.device, WedgeSimulator)
        self.device.unplug()
        self.device.refused = errno.EIO
        self.device.plug()

    def accept(self) -> None:
        assert isinstance(self.device, WedgeSimulator)
        self.device.refused = None

    def noise(self) -> None:
        """Octets that are no code: another baud rate, a code page, a keyboard that a child plays on."""
        for _ in range(20):
            with suppress(OSError, IndexError):
                self._write(self.chance.randbytes(480))

    def overrun(self) -> None:
        """The kernel's buffer runs over in the middle of a code."""
        assert isinstance(self.device, WedgeSimulator)
        self.half_a_code()
        self.device.overrun()

    def endless(self) -> None:
        """A code without an end, many times longer than a line may be."""
        with suppress(OSError, IndexError):
            self.device.scan("x" * 6000, ending="")

    def nothing(self) -> None:
        """The reader itself has to see to it."""

    def _write(self, data: bytes) -> None:
        if isinstance(self.device, WedgeSimulator):
            self.device.events(data)
        else:
            self.device.write(data)


Deed = Callable[[Bench], None]
BOTH: dict[str, tuple[Deed, Deed]] = {
    "unplugged, plugged in": (Bench.unplug, Bench.plug),
    "path without a device": (Bench.vanish, Bench.appear),
    "loose contact": (Bench.flicker, Bench.nothing),
    "in use by another program": (Bench.seize, Bench.let_go),
    "path that is no device": (Bench.forbid, Bench.allow),
    "noise": (Bench.noise, Bench.nothing),
    "code without an end": (Bench.endless, Bench.nothing),
}
WEDGE: dict[str, tuple[Deed, Deed]] = {
    "grab refused": (Bench.refuse, Bench.accept),
    "kernel's buffer run over": (Bench.overrun, Bench.nothing),
}
FAULTS: dict[str, tuple[Deed, Deed]] = {
    **{f"serial: {name}": deeds for name, deeds in BOTH.items()},
    **{f"keyboard: {name}": deeds for name, deeds in (BOTH | WEDGE).items()},
}


async def heal(bench: Bench, fault: str, lasting: float) -> float:
    """Bring the fault about, end it, and return how long it took from then until something was scanned, seconds."""
    loop = asyncio.get_running_loop()
    begin, end = FAULTS[fault]
    begin(bench)
    if end is not Bench.nothing:
        await asyncio.sleep(lasting)
    end(bench)
    back = loop.time()
    while bench.scanned_at <= back:
        if loop.time() - back > GIVE_UP:
            return GIVE_UP
        await asyncio.sleep(EVERY)
    return bench.scanned_at - back


async def trial(fault: str, rounds: int, seed: int, longest: float = LONGEST_FAULT) -> bool:
    """Have one fault happen so many times; print a line, and tell whether all is well."""
    chance = random.Random(seed)  # noqa: S311 -- a trial is to be repeatable
    kind = WedgeSimulator if fault.startswith("keyboard") else ScannerSimulator
    with tempfile.TemporaryDirectory(prefix="tp-") as directory:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))  # else it grows as it likes
        await asyncio.to_thread(int)
        before = held()
        with kind(Path(directory) / "by-id" / "usb-Acme_Scanner", timeout=1.0) as device:
            bench = Bench(device, chance)
            times, first, last = await _rounds(bench, fault, rounds, longest)
        after = held()
    left = [late - early for early, late in zip(before, after, strict=True)]
    grown = [late - early for early, late in zip(first, last, strict=True)]
    well = max(times) <= LIMIT and not any(left) and max(grown) <= 0 and not bench.strange
    print(  # noqa: T201 -- what the command is for
        f"{fault:36} {len(times):3} times  median {median(times):5.2f} s  longest {max(times):5.2f} s"
        f"  strange {bench.strange}  left (threads, descriptors, tasks) {left}  growth while running {grown}"
        f"  {'ok' if well else 'FAILED'}",
        flush=True,
    )
    return well


async def _rounds(
    bench: Bench, fault: str, rounds: int, longest: float
) -> tuple[list[float], tuple[int, int, int], tuple[int, int, int]]:
    async with _source(bench) as source:
        tasks = [asyncio.ensure_future(bench.show()), asyncio.ensure_future(bench.listen(source))]
        times = [await heal(bench, fault, bench.chance.uniform(0.1, longest))]
        first = held()
        times += [await heal(bench, fault, bench.chance.uniform(0.1, longest)) for _ in range(rounds - 1)]
        last = held()
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    return times, first, last


def _source(bench: Bench) -> Source:
    path, status = bench.device.path, bench.statuses.append
    if isinstance(bench.device, WedgeSimulator):
        return WedgeSource("counter", str(path), status=status, dropped=lambda _: None)
    return ScannerSource("counter", path, status=status, dropped=lambda _: None)


def main() -> int:
    """Run all faults side by side, or one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=FAULTS, help="one fault, in this process")
    options = parser.parse_args()
    if options.only:
        return 0 if asyncio.run(trial(options.only, options.rounds, options.seed)) else 1
    command = [sys.executable, "-m", "tests.campaign.scanner_faults"]
    command += [f"--rounds={options.rounds}", f"--seed={options.seed}"]
    children = [subprocess.Popen([*command, "--only", fault]) for fault in FAULTS]
    return max(child.wait() for child in children)


if __name__ == "__main__":
    raise SystemExit(main())
