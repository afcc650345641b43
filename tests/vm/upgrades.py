"""Other versions of the package: an upgrade, one that fails, a way back that is refused, and the end of it all."""

from functools import partial
from pathlib import Path

from tests.package.built import version
from tests.vm.guest import PACKAGES
from tests.vm.shop import Shop

SECONDS = 600.0
READY_SECONDS = 120
"""Enough for a half to start in an emulated machine, and too little for one that hangs."""
RUNS = (
    "systemctl is-active touchpoint-capture touchpoint-uplink | sort -u | tr -d '\\n'; readlink /opt/touchpoint/current"
)
SCHEMA = (
    'python3 -c \'import sqlite3; print(sqlite3.connect("/var/lib/touchpoint/capture.db")'
    '.execute("PRAGMA user_version").fetchone()[0])\''
)
LEFT = (
    "find / -xdev -name '*touchpoint*' -not -path '/var/lib/dpkg/*' -not -path '/proc/*'"
    " -not -name 'systemd-private-*'"  # systemd's own, of the boot that the power cut has ended
)


async def play(shop: Shop) -> None:
    """Do everything, one after the other."""
    first, second, third, fourth, fifth = shop.guest.packages
    if not await shop.step("package installed and set up", "active", partial(shop.install, first)):
        return
    await shop.step("a scan", "scan", shop.scan)
    await shop.step("upgrade", "the new version", partial(upgraded, shop, second))
    await shop.step("an upgrade that fails", "the version before", partial(fails, shop, third, second))
    await shop.step("another one that fails", "the version before", partial(fails, shop, fourth, second))
    await shop.step("apt is called again", "nothing is tried", partial(called_again, shop, second))
    await shop.step("one that never says READY", "the version before", partial(fails, shop, fifth, second))
    await shop.step("a downgrade", "refused", partial(refused, shop, first, second))
    await shop.step("power pulled within an upgrade", "the version before", partial(cut, shop, third, second))
    await shop.step("balance", "all in order", shop.balance)
    await shop.keep_journal()
    await shop.step("purged", "nothing left", partial(purged, shop))


async def upgraded(shop: Shop, to: Path) -> str:
    """Upgrade: the halves run the new version, on the data that was there."""
    await shop.run(f"dpkg --install {PACKAGES}/{to.name} 2>&1", SECONDS)
    return await runs(shop, version(to))


async def fails(shop: Shop, to: Path, before: Path) -> str:
    """Try a version that migrates the outbox and does not get ready: the one before runs again, with all data."""
    schema = await shop.run(SCHEMA)
    said = await failed(shop, to)
    assert f"{version(before)} runs again" in said, said
    assert await shop.run(SCHEMA) == schema
    return await runs(shop, version(before))


async def called_again(shop: Shop, before: Path) -> str:
    """Have dpkg configure what is not: the version before runs on, and was not started again. Then do as it says."""
    since = "systemctl show -p ActiveEnterTimestampMonotonic --value touchpoint-capture touchpoint-uplink"
    started = await shop.run(since)
    answer = await shop.guest.do("run", command="dpkg --configure -a 2>&1", seconds=SECONDS)
    assert answer["status"] != 0 and "nothing was tried" in answer["said"], answer["said"]  # noqa: PT018
    assert await shop.run(since) == started
    again = "rm /opt/touchpoint/refused; dpkg --configure touchpoint-gateway"
    assert again in answer["said"], answer["said"]
    tried = await shop.guest.do(
        "run", command=f"export TOUCHPOINT_READY_SECONDS={READY_SECONDS}; {again} 2>&1", seconds=SECONDS
    )
    assert f"{version(before)} runs again" in tried["said"], tried["said"]
    return "nothing is tried"


async def refused(shop: Shop, to: Path, stays: Path) -> str:
    """Try to go back to an older version: nothing changes."""
    said = await failed(shop, to)
    assert "an older gateway cannot read" in said, said
    return await runs(shop, version(stays))


async def cut(shop: Shop, to: Path, before: Path) -> str:
    """Pull the power when dpkg has unpacked a version and removed the one before; nobody does anything after that."""
    await shop.run(f"dpkg --unpack {PACKAGES}/{to.name} 2>&1; sync", SECONDS)
    await shop.guest.cut()
    await shop.guest.boot()
    await shop.plugged()
    healed = await shop.scan()
    said = (await shop.run(RUNS)).strip()
    assert said == f"active{version(before)}", said
    return f"{version(before)} runs, {healed}"


async def failed(shop: Shop, to: Path) -> str:
    """Try to install a version, in vain; return what was said."""
    command = f"TOUCHPOINT_READY_SECONDS={READY_SECONDS} dpkg --install {PACKAGES}/{to.name} 2>&1"
    answer = await shop.guest.do("run", command=command, seconds=SECONDS)
    assert answer["status"] != 0, answer["said"]
    return str(answer["said"])


async def purged(shop: Shop) -> str:
    """Purge it: no file is left, nothing runs, and nobody."""
    await shop.run(
        "rm -r /etc/systemd/system/touchpoint-capture.service.d; dpkg --purge touchpoint-gateway 2>&1", SECONDS
    )
    left = (await shop.run(LEFT)).split()
    assert not left, ", ".join(left)
    assert await shop.run("getent passwd | grep touchpoint || true") == ""
    return "nothing left"


async def runs(shop: Shop, of: str) -> str:
    """See that this version runs, and that what is scanned comes."""
    said = (await shop.run(RUNS)).strip()
    assert said == f"active{of}", said
    return f"{of} runs, {await shop.scan()}"
