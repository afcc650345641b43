"""What a thousand advertisements a second cost, and what a million strangers leave behind.

    python -m tests.benchmarks.ble cpu          # the capture half beside bleak with an empty callback
    python -m tests.benchmarks.ble memory       # while a million random addresses go by
    python -m tests.benchmarks.ble scans        # how long a scan waits for its commit, alone and in a flood

Three processes: the BlueZ of `tests/simulators` on a private dbus-daemon, which sends; the capture half (source, path,
outbox), or bleak alone with the same filter; and this one, which reads the kernel's figures of it. Nine in ten
advertisements are strangers' phones and headsets; the others are customers' beacons, near enough to be present.
"""

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import linear_regression, quantiles
from time import sleep

from bleak import BleakScanner

from gateway.core.sighting import Identifier
from gateway.sources.ble import FILTERS, BleSource
from tests.benchmarks.process import cpu_seconds, resident
from tests.benchmarks.row import HEADER, Row, Target, in_turn, line
from tests.core.salon import CLARA_UUID, MEMBERS, present
from tests.shop import Shop, Voice
from tests.simulators import frames
from tests.simulators.bluez import Bluez, PrivateBus

RATE, FLOOD = 1000, 5000
"""Advertisements a second: of a busy street, and too many."""
OURS = 10
"""Every so many is of a namespace of ours."""
PHONES = 300
"""Strangers in range; each changes its address about every 15 minutes, and so does the air, one after the other."""
BEACONS = 10
TOGETHER = (1, 20)
"""So many are sent at a time. One by one, as a controller reports them, each wakes the receiver; what comes together
shares that cost, so that the ratio shows more of ours."""
SECONDS = 10.0
PAIRS = 3
SCANS = 100
ADDRESSES = 1_000_000
IN_RANGE = 2000
"""Addresses that BlueZ knows at a time, while they go by."""
WARM = 0.2
"""The part of the addresses that goes by before memory counts: caches and the allocator fill."""


class Air:
    """Whoever sends."""

    def __init__(self, bluez: Bluez) -> None:
        self._bluez = bluez
        self._chance = random.Random(7)  # noqa: S311 -- the same air each time
        self._phones = deque(self._address() for _ in range(PHONES))
        self._beacons = [self._address() for _ in range(BEACONS)]
        self._passing = deque[str]()

    def _address(self) -> str:
        octets = self._chance.randbytes(6)
        return ":".join(f"{octet:02X}" for octet in octets)

    async def stand(self, together: int, rate: int) -> None:
        """Send for ever at this rate (a second), so many together, from addresses that hardly change."""
        loop = asyncio.get_running_loop()
        due, sent = loop.time(), 0
        while True:
            for _ in range(together):
                sent += 1
                self._send(sent)
            await self._bluez.settle()
            due += together / rate
            await asyncio.sleep(max(0.0, due - loop.time()))

    def _send(self, number: int) -> None:
        if number % OURS == 0:
            beacon = number // OURS % BEACONS
            frame = {0x004C: frames.ibeacon(CLARA_UUID, 7, beacon, -59)}
            self._bluez.advertise(self._beacons[beacon], self._chance.randint(-64, -54), manufacturer=frame)
            return
        if number % (15 * 60 * RATE // PHONES) == 0:
            self._bluez.forget(self._phones.popleft())
            self._phones.append(self._address())
        self._bluez.advertise(
            self._phones[number % PHONES], self._chance.randint(-95, -55), manufacturer=self._chatter()
        )

    def _chatter(self) -> dict[int, bytes]:
        """Return what phones send: Apple's continuity messages, Microsoft's beacons."""
        apple = self._chance.random() < 0.7
        return {0x004C: b"\x10\x05" + self._chance.randbytes(5)} if apple else {0x0006: self._chance.randbytes(27)}

    async def pass_by(self, addresses: int, rate: int) -> None:
        """Send once from each of so many random addresses; one in ten claims to be a beacon of ours."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        for number in range(1, addresses + 1):
            address = self._address()
            minor = self._chance.randrange(65536)
            ours = {0x004C: frames.ibeacon(CLARA_UUID, minor, minor, -59)}
            self._bluez.advertise(address, -80, manufacturer=ours if number % OURS == 0 else self._chatter())
            self._passing.append(address)
            if len(self._passing) > IN_RANGE:
                self._bluez.forget(self._passing.popleft())
            if number % 50 == 0:
                await self._bluez.settle()
                due += 50 / rate
                await asyncio.sleep(max(0.0, due - loop.time()))


async def send(addresses: int, rate: int, together: int) -> None:
    """Be bluetoothd and the air; with addresses, say on standard output how many have gone by."""
    async with Bluez(os.environ["DBUS_SYSTEM_BUS_ADDRESS"]) as bluez:
        print(flush=True)  # noqa: T201 -- ready
        air = Air(bluez)
        while not bluez.scanning():  # noqa: ASYNC110 -- the simulator tells nobody
            await asyncio.sleep(0.05)
        if not addresses:
            await air.stand(together, rate)
        step = addresses // 50
        for done in range(step, addresses + 1, step):
            await air.pass_by(step, rate)
            print(done, flush=True)  # noqa: T201 -- read by the parent


async def bare() -> None:
    """Receive with bleak and do nothing."""
    scanner = BleakScanner(lambda _, __: None, bluez={"filters": FILTERS})  # type: ignore[typeddict-item]
    await scanner.start()
    await asyncio.get_running_loop().create_future()


async def ours() -> None:
    """Receive as the capture half does."""
    with tempfile.TemporaryDirectory(prefix="tp-") as directory:
        async with Shop(Path(directory)).open() as half:
            source = BleSource(
                "salon",
                wanted=half.path.wanted,
                status=half.show,
                dropped=half.dropped,
            )
            await half.run([source])


class Counter(Voice):
    """A scanner that tells when what it read is committed."""

    def accepted(self) -> None:
        """Take note of it."""
        self.committed.set()

    async def time(self, number: int) -> float:
        """Read another customer's token, and return how long its commit took, seconds."""
        self.committed = asyncio.Event()
        clock = asyncio.get_running_loop().time
        began = clock()
        self.say(present(Identifier("link", f"{MEMBERS}{number:016x}")))
        await self.committed.wait()
        return clock() - began


async def scans() -> None:
    """Receive as the capture half does, scan ten times a second, and say what that took."""
    with tempfile.TemporaryDirectory(prefix="tp-") as directory:
        async with Shop(Path(directory)).open() as half:
            source = BleSource("salon", wanted=half.path.wanted, status=half.show, dropped=half.dropped)
            counter = Counter(half, "scanner")
            working = asyncio.ensure_future(half.run([source, counter]))
            await asyncio.sleep(2)
            before, took = half.counts["sightings"], []
            for number in range(SCANS):
                took.append(await counter.time(number))
                await asyncio.sleep(0.1)
            heard = half.counts["sightings"] - before - SCANS
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
    milliseconds = [round(1000 * each, 1) for each in quantiles(took, n=20)]
    print(  # noqa: T201 -- what the command is for
        f"{SCANS} scans, all committed, {heard:,} advertisements meanwhile:"
        f" median {milliseconds[9]} ms, 95 % {milliseconds[18]} ms, longest {1000 * max(took):.1f} ms",
        flush=True,
    )


def wait_for_scans() -> bool:
    """Have scans timed in a quiet street and in a flood."""
    for rate in (1, FLOOD):
        with (
            bluetooth("--together=20" if rate == FLOOD else "--together=1", f"--rate={rate}"),
            child("scans-timed") as timed,
        ):
            assert timed.stdout is not None
            print(f"{rate:>5,} advertisements/s: {timed.stdout.readline().strip()}", flush=True)  # noqa: T201
    return True


@contextmanager
def child(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run this module as another process, and end it."""
    command = [sys.executable, "-m", "tests.benchmarks.ble", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def bluetooth(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a message bus and a BlueZ that sends as told once somebody scans."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tp-")))
        os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = stack.enter_context(PrivateBus(directory)).address
        sending = stack.enter_context(child("send", *arguments))
        assert sending.stdout is not None
        sending.stdout.readline()
        yield sending


def cpu_of(role: str, together: int) -> float:
    """Return the processor time that a second of advertisements costs this receiver, seconds."""
    with bluetooth(f"--together={together}", f"--rate={RATE}"), child(role) as process:
        sleep(4)  # started, and every device is known
        before = cpu_seconds(process.pid)
        sleep(SECONDS)
        return (cpu_seconds(process.pid) - before) / SECONDS


def rows() -> Iterator[Row]:
    """Compare the processor time."""
    yield from (_cpu(together) for together in TOGETHER)


def cpu() -> bool:
    """Print the rows, and tell whether all targets are met."""
    measured = list(rows())
    print(HEADER, *(line(row) for row in measured), sep="\n")  # noqa: T201
    return all(row.met for row in measured)


def _cpu(together: int) -> Row:
    pairs = in_turn(partial(cpu_of, "ours", together), partial(cpu_of, "bare", together), PAIRS)
    what = f"{RATE} advertisements/s, {together} together, {100 - 100 // OURS} % unknown: processor time of a second"
    return pairs.row(what, "bleak, empty callback", "s", Target(1.5))


def memory(addresses: int, rate: int) -> bool:
    """Watch the memory while strangers go by."""
    seen = []
    with bluetooth(f"--addresses={addresses}", f"--rate={rate}") as sending, child("ours") as process:
        assert sending.stdout is not None
        for text in sending.stdout:
            seen.append((int(text), resident(process.pid)))
            print(f"{seen[-1][0]:>9,} addresses  {seen[-1][1]:6.1f} MiB", flush=True)  # noqa: T201
    warm = [(done, held) for done, held in seen if done >= WARM * addresses]
    slope = linear_regression(*zip(*warm, strict=True)).slope * 1e6
    growth = warm[-1][1] - warm[0][1]
    print(f"slope {slope:.2f} MiB a million addresses, growth after the first fifth {growth:.2f} MiB")  # noqa: T201
    return slope < 1.0


def main() -> int:
    """Measure, or be one of the processes that are measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["cpu", "memory", "scans", "send", "bare", "ours", "scans-timed"])
    parser.add_argument("--addresses", type=int, default=0)
    parser.add_argument("--rate", type=int, default=4000)
    parser.add_argument("--together", type=int, default=1)
    options = parser.parse_args()
    measured: dict[str, Callable[[], bool]] = {
        "cpu": cpu,
        "memory": partial(memory, options.addresses or ADDRESSES, options.rate),
        "scans": wait_for_scans,
    }
    if options.what in measured:
        return 0 if measured[options.what]() else 1
    sending = partial(send, options.addresses, options.rate, options.together)
    asyncio.run({"bare": bare, "ours": ours, "scans-timed": scans}.get(options.what, sending)())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
