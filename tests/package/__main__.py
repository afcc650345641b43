"""The Debian package where it has to work: lintian, and a clean Debian without a network.

    make package-test       # builds the package first; needs root; some minutes

The exit status is 1 if any step did not come to what is expected. `make vm-test` tries it under systemd, with upgrades
that fail.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.package import chroot
from tests.package.built import built, variant

BAD: list[str] = []
"""What did not come to what is expected."""


async def step(what: str, work: Callable[[], Awaitable[str]]) -> bool:
    """Do a step and report; True if it came to what is expected."""
    begun = time.monotonic()
    try:
        said, good = await work(), True
    except Exception as error:  # noqa: BLE001 -- whatever it is, the others go on and the report says it
        said, good = f"{type(error).__name__}: {error}", False
    if not good:
        BAD.append(what)
    print(f"{'ok ' if good else 'BAD'} {time.monotonic() - begun:6.1f} s  {what:<44} {said}", flush=True)  # noqa: T201 -- the report
    return good


async def main() -> None:
    """Do every step."""
    package = built()
    with tempfile.TemporaryDirectory(prefix="touchpoint-package-") as name:
        directory = Path(name)
        await step("lintian", lambda: asyncio.to_thread(chroot.lintian, package))
        root = directory / "chroot"
        await step(
            "installed in a clean Debian, no network", lambda: asyncio.to_thread(chroot.installed, package, root)
        )
        newer = variant(package, directory, "99.1.0-1")
        await step("upgraded there", lambda: asyncio.to_thread(chroot.upgraded, package, newer, root))
        await step("purged there", lambda: asyncio.to_thread(chroot.purged, root))


if __name__ == "__main__":
    asyncio.run(main())
    sys.exit(bool(BAD))
