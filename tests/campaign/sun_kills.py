"""Kills while tags that sign are read: `python -m tests.campaign.sun_kills 100`.

A process reads one message after the other, each with the next counter, and says which were accepted. It is killed at a
random instant and started again on the same files, and shows the last message that was accepted once more. At the end
the outbox must hold as many genuine events as the counter says, none of what was accepted may be missing, and each
message that was shown twice must have been told as replayed, or have been lost with the process before it was accepted.
"""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from random import Random

from gateway.core.authenticity import Authenticator
from gateway.core.decode.sun import TagKeys
from gateway.core.event import Interaction
from gateway.core.path import Fate
from gateway.core.registry import Touchpoint, build
from gateway.store.sun_counters import load
from tests.core.salon import scan
from tests.shop import Shop
from tests.simulators import sun_links
from tests.simulators.sun_links import FILE_KEY, META_KEY, UID

WATCH = Touchpoint("watch", "product", "Watch", identifiers=(f"sun:{UID.hex()}",))
LONGEST_SECONDS = 0.15


@dataclass
class Result:
    """What the kills have come to."""

    kills: int = 0
    accepted: int = 0
    genuine: int = 0
    replayed: int = 0
    counter: int = 0

    @property
    def good(self) -> bool:
        """No message was believed twice, and none that was accepted is missing."""
        return self.genuine == self.counter >= self.accepted


async def read(directory: Path) -> None:
    """Read messages until killed: the last that was accepted, then the ones after it."""
    shop = Shop(directory)
    async with shop.open() as half:
        half.path.registry = build(1, (WATCH,))
        counters = await half.writer.commit(lambda outbox: load(outbox.connection))
        half.path.authenticator = Authenticator(TagKeys({UID: FILE_KEY}, META_KEY), counters=counters)
        number = max(counters.values(), default=1)
        print("ready", flush=True)  # noqa: T201  # said to whoever kills
        while True:
            half.path.debounce.forget("scanner")
            outcome = await half.commit(half.path.see(scan(sun_links.encrypted(number)), half.clock.now()))
            if outcome.fate is Fate.ACTED_ON and outcome.verdict == "genuine-unreconciled":
                print(number, flush=True)  # noqa: T201  # as above
            number += 1


def campaign(kills: int, seed: int = 1) -> Result:
    """Kill the reading process so often, and look at what is there."""
    random, result = Random(seed), Result()  # noqa: S311  # instants, not keys
    with tempfile.TemporaryDirectory() as name:
        for _ in range(kills):
            command = [sys.executable, "-m", "tests.campaign.sun_kills", "read", name]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
                try:
                    process.wait(random.uniform(0, LONGEST_SECONDS))
                except subprocess.TimeoutExpired:
                    os.kill(process.pid, signal.SIGKILL)
                    result.kills += 1
                said = process.stdout.read().split("\n")
            result.accepted = max([result.accepted, *(int(each) for each in said[:-1])])
        asyncio.run(_look(Path(name), result))
    return result


async def _look(directory: Path, result: Result) -> None:
    shop = Shop(directory)
    async with shop.open() as half:
        result.counter = max((await half.writer.commit(lambda outbox: load(outbox.connection))).values(), default=0)
    told = [event.data.authenticity for event in shop.events() if isinstance(event.data, Interaction)]
    result.genuine, result.replayed = told.count("genuine-unreconciled"), told.count("replayed")


if __name__ == "__main__":
    if sys.argv[1] == "read":
        asyncio.run(read(Path(sys.argv[2])))
    else:
        found = campaign(int(sys.argv[1]))
        print(found, "good" if found.good else "BROKEN")  # noqa: T201  # the result
        sys.exit(not found.good)
