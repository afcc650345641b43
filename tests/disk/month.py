"""A month without a network, compressed: python -m tests.disk.month DIRECTORY prints, day by day, what is resident.

Every day strangers pass with things that nobody knows, and customers make events that nobody fetches. It is a process
of its own, so that what is resident is the capture half and nothing else.
"""

import asyncio
import os
import resource
import sys
from pathlib import Path

from gateway.core.sighting import Moment, Scan, Sighting
from tests.disk.conftest import capture_on, configured, drafted

DAYS = 30
EVENTS = 2_000
STRANGERS = 2_000
TOGETHER = 50
DAY_S = 86_400


async def main(directory: Path) -> None:
    """Live through the month."""
    settings = configured(directory, directory / "s")
    async with capture_on(settings) as half:
        for day in range(DAYS):
            for number in range(STRANGERS):
                at = Moment((day * DAY_S + number) * 1_000_000_000, (day * DAY_S + number) * 1_000)
                half.count(half.path.see(Sighting("counter", Scan(f"stranger {day} {number}")), at))
            for _ in range(EVENTS // TOGETHER):
                await half.append([drafted() for _ in range(TOGETHER)])
            sys.stdout.write(f"{resident()}\n")


def resident() -> int:
    """Return the octets of this process that are in memory."""
    pages = Path(f"/proc/{os.getpid()}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * resource.getpagesize()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
