"""From a tag that nfcpy finds to its event on the disk, beside nfcpy alone; and what a reader costs that nobody uses.

    python -m tests.benchmarks nfc

The real nfcpy over the simulated field of `tests/simulators`, the capture half in this process, and tags that are all
different customers' tokens. A tag is found when nfcpy's look into the field first meets it, and a look comes every
0.15 s; nfcpy alone looks as often, and has read the message when its time ends. A simulated field takes no time on
the air: a real NTAG213 is read within about 0.1 s at 115200 baud.
"""

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import perf_counter

from gateway.sources.nfc import POLL_SECONDS, NfcSource
from gateway.sources.nfc_frontend import TECHNOLOGY, hush
from gateway.sources.nfc_library import nfc
from tests.benchmarks.row import Pairs, Row, Target, alone, rotated
from tests.core import salon
from tests.shop import Shop, until
from tests.simulators.nfc_field import SENS_REQ, NfcField, Ntag21x
from tests.simulators.pn532 import Pn532
from tests.sources.watch import Watch

TAPS = 30
ROUNDS = 5
WARM_UP = 3
PAGE = bytes(4096)
IDLE_SECONDS = 10.0
TARGET = Target(0.010, unit="s")
IDLE = Target(0.5, unit="%")
ON_TOP = "tag found → committed, on top of nfcpy alone"


@dataclass
class Taps:
    """How long each tap took, seconds: from when the tag was placed, and from when it was found."""

    placed: list[float] = field(default_factory=list)
    found: list[float] = field(default_factory=list)
    synced: list[float] = field(default_factory=list)
    """How long an fsync beside each took."""

    def note(self, placed_at: float, tag: "Timed") -> None:
        now = perf_counter()
        self.placed.append(now - placed_at)
        self.found.append(now - tag.found_at)


class Timed(Ntag21x):
    """A customer's card that notes when it is found."""

    found_at = 0.0

    def __init__(self, number: int) -> None:
        content = b"\x04" + f"{salon.MEMBERS}{number:022x}".removeprefix("https://").encode()
        message = bytes([0xD1, 1, len(content), ord("U")]) + content  # NFC Forum RTD URI 1.0, 3.2
        super().__init__(213, b"\x04" + number.to_bytes(6, "big"), message)

    def frame(self, data: bytes) -> bytes | None:
        if data == SENS_REQ and not self.found_at:
            self.found_at = perf_counter()
        return super().frame(data)


class _Accepting(NfcSource):
    """Notes when it hears that its event is committed."""

    def __init__(self, device: str, shop: Shop) -> None:
        show, drop = shop.capture.show, shop.capture.dropped
        super().__init__("nfc", device, moved=self._gone, status=show, dropped=drop)
        self.durable, self.gone = asyncio.Event(), asyncio.Event()

    def accepted(self) -> None:
        self.durable.set()

    def _gone(self, there: bool) -> None:  # noqa: FBT001 -- what a source says
        if not there:
            self.gone.set()


def rows() -> Iterator[Row]:
    """Measure taps, ours and nfcpy's in turn; then readers at rest."""
    rounds = rotated([_run_ours, _bare], ROUNDS)
    ours, bare = zip(*rounds, strict=True)
    for name, of in (("p50", median), ("p95", _p95)):
        pairs = Pairs(tuple(of(each.found) for each in ours), tuple(of(each.found) for each in bare))
        yield pairs.row(f"tag found → committed, {name}", "nfcpy alone, until the message is read", "s")
    differences = [_p95(mine.found) - _p95(its.found) for mine, its in rounds]
    yield alone(f"{ON_TOP}, p95", "s", differences, TARGET)
    synced = Pairs(tuple(_p95(each.found) for each in ours), tuple(_p95(each.synced) for each in ours))
    yield synced.row("tag found → committed, p95", "write and fsync of 4 KiB", "s")
    placed = Pairs(tuple(_p95(each.placed) for each in ours), tuple(_p95(each.placed) for each in bare))
    yield placed.row("tag placed → committed, p95", "nfcpy alone, until the message is read", "s")
    for what, occupied in (("nothing", False), ("a tag", True)):
        used = [asyncio.run(_idle(occupied=occupied)) for _ in range(3)]
        yield alone(f"PN532 with {what} on it: processor time of its thread", "%", used, IDLE)


def _p95(seconds: list[float]) -> float:
    return quantiles(seconds, n=20, method="inclusive")[18]


def _run_ours() -> Taps:
    with TemporaryDirectory() as directory, NfcField() as air:
        return asyncio.run(_ours(Path(directory), air))


async def _ours(directory: Path, air: NfcField) -> Taps:
    shop, taps = Shop(directory), Taps()
    async with shop.open() as half:
        source = _Accepting(air.device, shop)
        running = asyncio.ensure_future(half.run([source]))
        await until(lambda: "nfc" in half.readers and half.readers["nfc"].up)
        for number in range(TAPS + WARM_UP):
            source.durable.clear()
            source.gone.clear()
            tag, placed_at = Timed(number + 1), perf_counter()
            air.place(tag)
            await source.durable.wait()
            taps.note(placed_at, tag)
            air.remove()
            await source.gone.wait()
            taps.synced.append(await asyncio.to_thread(_sync, directory / "page"))
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    return Taps(taps.placed[WARM_UP:], taps.found[WARM_UP:], taps.synced[WARM_UP:])


def _sync(path: Path) -> float:
    with path.open("wb", buffering=0) as page:
        began = perf_counter()
        page.write(PAGE)
        os.fsync(page.fileno())
        return perf_counter() - began


def _bare() -> Taps:
    """Read tags with nfcpy and nothing else."""
    hush()
    taps = Taps()
    with NfcField() as air:
        reader = nfc.ContactlessFrontend(air.device)
        stop = threading.Event()
        looking = {"targets": [TECHNOLOGY], "iterations": 1, "on-connect": lambda _: False}
        for number in range(TAPS + WARM_UP):
            tag, placed_at = Timed(number + 1), perf_counter()
            air.place(tag)
            read = reader.connect(rdwr=looking, terminate=lambda: stop.wait(POLL_SECONDS)).ndef
            assert read is not None
            assert read.octets
            taps.note(placed_at, tag)
            air.remove()
        reader.close()
    return Taps(taps.placed[WARM_UP:], taps.found[WARM_UP:])


async def _idle(*, occupied: bool) -> float:
    """Return what the reader's thread takes of a core, percent; measured anew if nfcpy lost its reader meanwhile."""
    while True:
        watch = Watch()
        with TemporaryDirectory() as directory, Pn532(Path(directory) / "ttyPN532") as chip:
            async with NfcSource("idle", chip.device, status=watch.status, dropped=watch.drop) as source:
                await watch.until_up()
                if occupied:
                    chip.place(Timed(1))
                    await anext(source)
                used = await _processor_time("nfc idle")
        if [status.up for status in watch.statuses] == [True] and used is not None:
            return used


async def _processor_time(name: str) -> float | None:
    """Return the percentage of a core that a thread takes; None if it ends meanwhile."""
    for thread in threading.enumerate():
        if thread.name == name and thread.ident is not None:
            clock, began = time.pthread_getcpuclockid(thread.ident), perf_counter()
            before = time.clock_gettime(clock)
            await asyncio.sleep(IDLE_SECONDS)
            if thread.is_alive():
                return 100 * (time.clock_gettime(clock) - before) / (perf_counter() - began)
    return None
