"""Every fault of a Bluetooth adapter, again and again: how long the reader takes to hear again, and what it leaves.

    python -m tests.campaign.ble_faults --rounds 50

Real bleak on the BlueZ of `tests/simulators`, which each fault has to itself, in a process of its own. A fault lasts a
random while, so that the device comes back at any moment of the reader's patience. The time counts from when it is
back until a sighting comes out. The exit status is 1 if a fault took more than five seconds (a silent stall: than the
watchdog's interval and five), or if a thread, a descriptor or a task is left.
"""

import argparse
import asyncio
import gc
import os
import random
import subprocess
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median

from gateway.core.sighting import Sighting
from gateway.sources.ble import BleSource
from gateway.sources.source import SourceStatus
from tests.simulators.bluez import Adapter, Bluez, PrivateBus
from tests.sources.watch import descriptors

LIMIT = 5.0
SILENCE = 2.0
GIVE_UP = 60.0
EVERY = 0.02
BEACON = {0x004C: bytes.fromhex("0215f7826da64fa24e988024bc5b71e0893e00070001c5")}


@dataclass
class Bench:
    """A reader, its BlueZ, and a beacon that sends whenever somebody listens."""

    bus: PrivateBus
    bluez: Bluez
    heard_at: float = 0.0
    unplugged: Adapter | None = None
    numbers: "count[int]" = field(default_factory=lambda: count(1))
    statuses: list[SourceStatus] = field(default_factory=list)

    async def send(self) -> None:
        for number in count():
            await asyncio.sleep(EVERY)
            for adapter in self.bluez.adapters:
                self.bluez.advertise("C4:00:00:00:00:01", -60 - number % 5, manufacturer=BEACON, number=adapter)

    async def listen(self, source: BleSource) -> None:
        async for sighting in source:
            self.hear(sighting)

    def hear(self, _: Sighting) -> None:
        self.heard_at = asyncio.get_running_loop().time()

    async def power_off(self) -> None:
        self.bluez.power(on=False)

    async def power_on(self) -> None:
        self.bluez.power(on=True)

    async def crash(self) -> None:
        await self.bluez.crash()

    async def start(self) -> None:
        await self.bluez.start()

    async def exit(self) -> None:
        await self.bluez.exit()

    async def hang(self) -> None:
        self.bluez.hang()

    async def wake(self) -> None:
        self.bluez.wake()

    async def unplug(self) -> None:
        (number,) = self.bluez.adapters
        self.unplugged = self.bluez.unplug(number)

    async def plug(self) -> None:
        if self.unplugged is not None:
            self.bluez.plug(self.unplugged, next(self.numbers) % 10)

    async def refuse(self) -> None:
        self.bluez.refuse("StartDiscovery")
        self.bluez.power(on=False)
        self.bluez.power(on=True)

    async def ignore(self) -> None:
        self.bluez.refuse("StartDiscovery", None)
        self.bluez.power(on=False)
        self.bluez.power(on=True)

    async def accept(self) -> None:
        self.bluez.accept("StartDiscovery")

    async def stop_bus(self) -> None:
        self.bus.stop()
        await self.bluez.crash()

    async def start_bus(self) -> None:
        self.bus.start()
        await self.bluez.start()

    async def stall(self) -> None:
        self.bluez.stall(cure="StartDiscovery")

    async def nothing(self) -> None:
        """Nobody does anything: the reader itself has to."""


Deed = Callable[[Bench], Awaitable[None]]
FAULTS: dict[str, tuple[Deed, Deed]] = {
    "adapter off, on": (Bench.power_off, Bench.power_on),
    "bluetoothd killed": (Bench.crash, Bench.start),
    "bluetoothd restarted": (Bench.exit, Bench.start),
    "bluetoothd hangs": (Bench.hang, Bench.wake),
    "StartDiscovery unanswered": (Bench.ignore, Bench.accept),
    "adapter unplugged, another number": (Bench.unplug, Bench.plug),
    "InProgress": (Bench.refuse, Bench.accept),
    "D-Bus gone": (Bench.stop_bus, Bench.start_bus),
    "silent stall": (Bench.stall, Bench.nothing),
}


def held() -> tuple[int, int, int]:
    """Return how many threads, descriptors and tasks there are."""
    gc.collect()
    return threading.active_count(), len(descriptors()), len(asyncio.all_tasks())


async def heal(bench: Bench, fault: str, lasting: float) -> float:
    """Bring the fault about, end it, and return how long it took from then until something was heard, seconds."""
    loop = asyncio.get_running_loop()
    begin, end = FAULTS[fault]
    await begin(bench)
    if fault != "silent stall":
        await asyncio.sleep(lasting)
    await end(bench)
    back = loop.time()
    while bench.heard_at <= back:
        if loop.time() - back > GIVE_UP:
            return GIVE_UP
        await asyncio.sleep(EVERY / 4)
    return bench.heard_at - back


async def trial(fault: str, rounds: int, seed: int) -> bool:
    """Have one fault happen so many times; print a line, and tell whether all is well."""
    chance = random.Random(seed)  # noqa: S311 -- a trial is to be repeatable
    with tempfile.TemporaryDirectory(prefix="tp-") as directory, PrivateBus(Path(directory)) as bus:
        os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = bus.address
        async with Bluez(bus.address) as bluez:
            bench = Bench(bus, bluez)
            before = held()
            times, after_first, after_last = await _rounds(bench, fault, rounds, chance)
            after = held()
    limit = LIMIT + (SILENCE if fault == "silent stall" else 0.0)
    left = [late - early for early, late in zip(before, after, strict=True)]
    grown = [late - early for early, late in zip(after_first, after_last, strict=True)]
    well = max(times) <= limit and not any(left) and max(grown) <= 0
    print(  # noqa: T201 -- what the command is for
        f"{fault:34} {len(times):3} times  median {median(times):5.2f} s  longest {max(times):5.2f} s"
        f"  left (threads, descriptors, tasks) {left}  growth while running {grown}  {'ok' if well else 'FAILED'}",
        flush=True,
    )
    return well


async def _rounds(
    bench: Bench, fault: str, rounds: int, chance: random.Random
) -> tuple[list[float], tuple[int, int, int], tuple[int, int, int]]:
    reader = BleSource("ceiling", silence=SILENCE, tries=1000, status=bench.statuses.append, dropped=lambda _: None)
    async with reader as source:
        tasks = [asyncio.ensure_future(bench.send()), asyncio.ensure_future(bench.listen(source))]
        times = [await heal(bench, fault, chance.uniform(0.1, 9.0)) for _ in range(1)]
        first = held()
        times += [await heal(bench, fault, chance.uniform(0.1, 9.0)) for _ in range(rounds - 1)]
        last = held()
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    return times, first, last


def main() -> int:
    """Run all faults side by side, or one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=FAULTS, help="one fault, in this process")
    options = parser.parse_args()
    if options.only:
        return 0 if asyncio.run(trial(options.only, options.rounds, options.seed)) else 1
    command = [
        sys.executable,
        "-m",
        "tests.campaign.ble_faults",
        f"--rounds={options.rounds}",
        f"--seed={options.seed}",
    ]
    children = [subprocess.Popen([*command, "--only", fault]) for fault in FAULTS]
    return max(child.wait() for child in children)


if __name__ == "__main__":
    raise SystemExit(main())
