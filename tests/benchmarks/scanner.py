"""From a scan to its event on the disk, for a scanner that sends and one that types, beside one fsync there.

    python -m tests.benchmarks scanner

The real drivers on the simulated devices of `tests/simulators`, the capture half in this process, and codes that are
all different customers' tokens. The time counts from before the code is written into the device, all at once, until the
source hears that its event is committed. How long a scanner itself takes to send or type a code is not in it.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import perf_counter

from gateway.sources.scanner import ScannerSource
from gateway.sources.wedge import WedgeSource
from tests.benchmarks.row import Pairs, Row, Target, alone, rotated
from tests.core import salon
from tests.shop import Shop, until
from tests.simulators.scanner import ScannerSimulator
from tests.simulators.wedge import WedgeSimulator

SCANS = 100
ROUNDS = 5
PAUSE = 0.01
TARGET = Target(0.010, unit="s")
PAGE = bytes(4096)

Latencies = list[float]


class _Accepting:
    """Notes when the source hears that its event is committed."""

    def __init__(self) -> None:
        self.durable = asyncio.Event()

    def accepted(self) -> None:
        self.durable.set()


class _Serial(_Accepting, ScannerSource):
    def __init__(self, device: Path, shop: Shop) -> None:
        _Accepting.__init__(self)
        ScannerSource.__init__(self, "scanner", device, status=shop.capture.show, dropped=shop.capture.dropped)


class _Typing(_Accepting, WedgeSource):
    def __init__(self, device: Path, shop: Shop) -> None:
        _Accepting.__init__(self)
        WedgeSource.__init__(self, "scanner", str(device), status=shop.capture.show, dropped=shop.capture.dropped)


Simulator = type[ScannerSimulator | WedgeSimulator]
KINDS: dict[str, tuple[Simulator, type[_Serial | _Typing]]] = {
    "serial": (ScannerSimulator, _Serial),
    "keyboard": (WedgeSimulator, _Typing),
}


def rows() -> Iterator[Row]:
    """Measure both kinds of scanner, and fsync beside each scan."""
    rounds = rotated([partial(_measured, kind) for kind in KINDS], ROUNDS)
    for kind, measured in zip(KINDS, zip(*rounds, strict=True), strict=True):
        ours, synced = zip(*measured, strict=True)
        pairs = Pairs(tuple(map(median, ours)), tuple(map(median, synced)))
        yield pairs.row(f"scan → committed, {kind}, p50", "write and fsync of 4 KiB", "s")
        pairs = Pairs(tuple(map(_p95, ours)), tuple(map(_p95, synced)))
        yield pairs.row(f"scan → committed, {kind}, p95", "write and fsync of 4 KiB", "s")
        yield alone(f"scan → committed, {kind}, p95", "s", pairs.ours, TARGET)


def _p95(latencies: Latencies) -> float:
    return quantiles(latencies, n=20, method="inclusive")[18]


def _measured(kind: str) -> tuple[Latencies, Latencies]:
    with TemporaryDirectory() as directory:
        return asyncio.run(_scan(kind, Path(directory)))


async def _scan(kind: str, directory: Path) -> tuple[Latencies, Latencies]:
    simulator, driver = KINDS[kind]
    shop, took, synced = Shop(directory), Latencies(), Latencies()
    page = os.open(directory / "page", os.O_WRONLY | os.O_CREAT)
    with simulator(directory / "device") as device:
        async with shop.open() as half:
            source = driver(device.path, shop)
            running = asyncio.ensure_future(half.run([source]))
            await until(lambda: "scanner" in half.readers and half.readers["scanner"].up)
            for number in range(-5, SCANS):
                source.durable.clear()
                began = perf_counter()
                device.scan(f"{salon.MEMBERS}{number + 5:022x}")
                await source.durable.wait()
                took.append(perf_counter() - began)
                synced.append(await asyncio.to_thread(_sync, page))
                await asyncio.sleep(PAUSE)
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
    os.close(page)
    return took[5:], synced[5:]


def _sync(page: int) -> float:
    began = perf_counter()
    os.pwrite(page, PAGE, 0)
    os.fsync(page)
    return perf_counter() - began
