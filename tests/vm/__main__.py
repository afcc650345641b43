"""The gateway in a simulated Pi: installed as on a real one, real systemd and BlueZ, simulated devices.

    make vm-test            # or: python -m tests.vm [devices] [service] [upgrades] [--json] [--keep]

`devices` takes readers and processes away, six minutes; `service` the power, the network, the disk and the clock, half
an hour; `upgrades` brings versions that work and that fail, a quarter of an hour. Each step is done in the guest and
seen from the host, at a subscriber of the broker there. The exit status is 1 if any step did not come to what is
expected; the guest's console and journal are then kept, and named.
"""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.package.built import built, variant
from tests.vm import devices, service, upgrades
from tests.vm.shop import Shop, Step, opened

PLAYS: dict[str, Callable[[Shop], Awaitable[None]]] = {
    "devices": devices.play,
    "service": service.play,
    "upgrades": upgrades.play,
}
VERSIONS: dict[str, Callable[[Path, Path], list[Path]]] = {
    "devices": lambda package, _: [package],
    "service": lambda package, _: [package],
    "upgrades": lambda package, directory: [
        package,
        variant(package, directory, "99.1.0-1"),
        variant(package, directory, "99.2.0-1", broken="capture", migrates=True),
        variant(package, directory, "99.3.0-1", broken="uplink"),
        variant(package, directory, "99.4.0-1", broken="uplink", how="exec sleep infinity"),
    ],
}
"""The packages that a play needs, made of the one that was built."""
RTC = {"service": service.RTC}


async def main(name: str, directory: Path) -> tuple[list[Step], list[Any]]:
    """Play it in a directory; return how each step went, and every event that came."""
    begun = time.monotonic()
    packages = await asyncio.to_thread(VERSIONS[name], built(), directory)
    async with opened(directory, packages, RTC.get(name)) as shop:
        shop.steps.append(Step("boot", "hands", "ready", time.monotonic() - begun, good=True))
        try:
            await PLAYS[name](shop)
        finally:
            events = shop.consumer.events
    return shop.steps, events


def _report(steps: list[Step], kept: Path | None) -> None:
    for step in steps:
        print(f"{'ok ' if step.good else 'BAD'} {step.seconds:6.1f} s  {step.what:<38} {step.expected:<24} {step.seen}")  # noqa: T201 -- the report
    good = sum(step.good for step in steps)
    print(f"{good} of {len(steps)} as expected, in {sum(step.seconds for step in steps):.0f} s.")  # noqa: T201 -- the report
    if kept is not None:
        print(f"Console, journal and events: {kept}")  # noqa: T201 -- the report


def _played(name: str, *, keep: bool, as_json: bool) -> bool:
    """Play it and report; tell whether all was well."""
    place = Path(tempfile.mkdtemp(prefix="touchpoint-vm-"))
    steps, came = asyncio.run(main(name, place))
    good = all(step.good for step in steps)
    if keep or not good:
        (place / "events.json").write_text(json.dumps(came, indent=2), encoding="utf-8")
        shutil.rmtree(place / "share", ignore_errors=True)
    else:
        shutil.rmtree(place)
    if as_json:
        print(json.dumps([asdict(step) for step in steps], indent=2))  # noqa: T201 -- the report
    else:
        _report(steps, None if good and not keep else place)
    return good


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.vm", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("plays", nargs="*", metavar="PLAY", help=f"only these, of {', '.join(PLAYS)}")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--keep", action="store_true", help="keep console, journal and events also when all is well")
    asked = parser.parse_args()
    if unknown := set(asked.plays) - set(PLAYS):
        parser.error(f"no such play: {', '.join(sorted(unknown))}")
    went = [_played(name, keep=asked.keep, as_json=asked.json) for name in asked.plays or PLAYS]
    sys.exit(not all(went))
