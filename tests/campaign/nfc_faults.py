"""Every fault of an NFC reader, again and again: how long the reader takes to read again, and what it leaves.

    python -m tests.campaign.nfc_faults --rounds 50

The real nfcpy on the simulated chip of `tests/simulators`, behind a pseudo-terminal. Each fault has a process of its
own. It lasts a random while, so that the reader comes back at any moment of the source's patience. The time counts from
when it is back until a tag comes out. The exit status is 1 if a fault took more than five seconds, if a tag came out
that was not there, or if a thread, a descriptor or a task is left.
"""

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from fcntl import LOCK_EX, LOCK_UN, flock
from itertools import count
from pathlib import Path
from statistics import median

from gateway.core import decode
from gateway.core.sighting import Sighting, Tag
from gateway.sources.nfc import NfcSource
from gateway.sources.source import SourceStatus
from tests.campaign.ble_faults import held
from tests.simulators.nfc_field import Ntag21x
from tests.simulators.pn532 import Pn532

LIMIT = 5.0
GIVE_UP = 30.0
EVERY = 0.005
PACE = 0.25
"""Seconds for which a tag is held to the reader; another one follows at once."""
LONGEST_FAULT = 9.0
LINK = "https://id.acme.example/t/"


@dataclass
class Bench:
    """A reader, its chip, and somebody who holds one tag after the other to it."""

    chip: Pn532
    chance: random.Random
    read_at: float = 0.0
    strange: int = 0
    """Tags that came out and were not there."""
    shown: int = 0
    statuses: list[SourceStatus] = field(default_factory=list)
    stolen: int | None = None

    async def show(self) -> None:
        for number in count(1):
            content = b"\x04" + f"{LINK}{number:06x}".removeprefix("https://").encode()
            message = bytes([0xD1, 1, len(content), ord("U")]) + content
            self.shown = number
            self.chip.place(Ntag21x(213, b"\x04" + number.to_bytes(6, "big"), message))
            await asyncio.sleep(PACE)

    async def listen(self, source: NfcSource) -> None:
        async for sighting in source:
            self.take(sighting)

    def take(self, sighting: Sighting) -> None:
        """Take a tag that was there a moment ago, and count one that was not."""
        assert isinstance(sighting.payload, Tag)
        uid, (link, *_) = sighting.payload.uid, decode.tag(sighting.payload)
        number = int.from_bytes(uid[1:], "big")
        if link.value == f"{LINK}{number:06x}" and self.shown - 50 < number <= self.shown:
            self.read_at = asyncio.get_running_loop().time()
        else:
            self.strange += 1

    def unplug(self) -> None:
        self.chip.unplug()

    def plug(self) -> None:
        self.chip.plug()

    def plug_elsewhere(self) -> None:
        """Another number behind the same path: what holds the last one keeps the kernel from giving it again."""
        spare = os.openpty()
        self.chip.plug()
        for descriptor in spare:
            os.close(descriptor)

    def hang(self) -> None:
        self.chip.mute = True

    def wake(self) -> None:
        self.chip.mute = False

    def tear(self) -> None:
        """Each answer breaks off somewhere."""
        self.chip.spoil = lambda reply: reply[: self.chance.randrange(len(reply))]

    def garble(self) -> None:
        """Each answer is something else, of any length."""
        self.chip.spoil = lambda _: self.chance.randbytes(self.chance.randrange(40))

    def flip(self) -> None:
        """Now and then a bit of an answer is wrong."""
        self.chip.spoil = self._flipped

    def _flipped(self, reply: bytes) -> bytes:
        at = self.chance.randrange(8 * len(reply))
        return bytes(octet ^ (1 << at % 8 if number == at // 8 else 0) for number, octet in enumerate(reply))

    def be_sound(self) -> None:
        self.chip.spoil = bytes

    def flicker(self) -> None:
        """A loose contact: gone and back, several times."""
        for _ in range(5):
            self.chip.unplug()
            self.chip.plug()

    def vanish(self) -> None:
        """The path leads nowhere, as while udev is at work; then the reader is gone."""
        self.chip.unplug()
        self.chip.path.symlink_to("/dev/null/nowhere")

    def appear(self) -> None:
        self.chip.path.unlink()
        self.chip.plug()

    def seize(self) -> None:
        """Another program takes the port as soon as it is plugged in again."""
        self.chip.unplug()
        self.chip.plug()
        self.stolen = os.open(self.chip.path, os.O_RDWR | os.O_NOCTTY)
        flock(self.stolen, LOCK_EX)

    def let_go(self) -> None:
        if self.stolen is not None:
            flock(self.stolen, LOCK_UN)
            os.close(self.stolen)
            self.stolen = None

    def nothing(self) -> None:
        """The source itself has to see to it."""


Deed = Callable[[Bench], None]
FAULTS: dict[str, tuple[Deed, Deed]] = {
    "unplugged, plugged in": (Bench.unplug, Bench.plug),
    "unplugged, another number": (Bench.unplug, Bench.plug_elsewhere),
    "loose contact": (Bench.flicker, Bench.nothing),
    "path without a device": (Bench.vanish, Bench.appear),
    "in use by another program": (Bench.seize, Bench.let_go),
    "chip hangs": (Bench.hang, Bench.wake),
    "torn frames": (Bench.tear, Bench.be_sound),
    "rubbish": (Bench.garble, Bench.be_sound),
    "flipped bits": (Bench.flip, Bench.be_sound),
}


async def heal(bench: Bench, fault: str, lasting: float) -> float:
    """Bring the fault about, end it, and return how long it took from then until a tag was read, seconds."""
    loop = asyncio.get_running_loop()
    begin, end = FAULTS[fault]
    begin(bench)
    if end is not Bench.nothing:
        await asyncio.sleep(lasting)
    end(bench)
    back = loop.time()
    while bench.read_at <= back:
        if loop.time() - back > GIVE_UP:
            return GIVE_UP
        await asyncio.sleep(EVERY)
    return bench.read_at - back


async def trial(fault: str, rounds: int, seed: int, longest: float = LONGEST_FAULT) -> bool:
    """Have one fault happen so many times; print a line, and tell whether all is well."""
    chance = random.Random(seed)  # noqa: S311 -- a trial is to be repeatable
    with tempfile.TemporaryDirectory(prefix="tp-") as directory:
        before = held()
        with Pn532(Path(directory) / "ttyPN532") as chip:
            bench = Bench(chip, chance)
            times, first, last = await _rounds(bench, fault, rounds, longest)
        after = held()
    left = [late - early for early, late in zip(before, after, strict=True)]
    grown = [late - early for early, late in zip(first, last, strict=True)]
    well = max(times) <= LIMIT and not any(left) and max(grown) <= 0 and not bench.strange
    print(  # noqa: T201 -- what the command is for
        f"{fault:27} {len(times):3} times  median {median(times):5.2f} s  longest {max(times):5.2f} s"
        f"  strange {bench.strange}  left (threads, descriptors, tasks) {left}  growth while running {grown}"
        f"  {'ok' if well else 'FAILED'}",
        flush=True,
    )
    return well


async def _rounds(
    bench: Bench, fault: str, rounds: int, longest: float
) -> tuple[list[float], tuple[int, int, int], tuple[int, int, int]]:
    async with NfcSource("counter", bench.chip.device, status=bench.statuses.append, dropped=lambda _: None) as source:
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


def main() -> int:
    """Run all faults side by side, or one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=FAULTS, help="one fault, in this process")
    options = parser.parse_args()
    if options.only:
        return 0 if asyncio.run(trial(options.only, options.rounds, options.seed)) else 1
    command = [sys.executable, "-m", "tests.campaign.nfc_faults"]
    command += [f"--rounds={options.rounds}", f"--seed={options.seed}"]
    children = [subprocess.Popen([*command, "--only", fault]) for fault in FAULTS]
    return max(child.wait() for child in children)


if __name__ == "__main__":
    raise SystemExit(main())
