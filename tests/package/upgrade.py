"""The package under systemd in a simulated Pi: installed, upgraded, a failed upgrade, a downgrade, purged."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.package.built import variant, version
from tests.vm import guest
from tests.vm.guest import Guest

PACKAGES = Path("packages")
CONFIGURATION = """[gateway]
tenant = "acme"
site = "zrh-1"
id = "gw-1"
state = "/var/lib/touchpoint"
runtime = "/run/touchpoint"
private = "/var/lib/touchpoint-capture"
group = "touchpoint"
[mqtt]
host = "10.0.2.2"
port = 1
[clock]
source = "trusted"
[[reader]]
name = "door"
kind = "simulated"
plays = "scanner"
device = "/var/lib/touchpoint/scanner"
touchpoint = "counter"
"""
REGISTRY = """id,kind,name,zone,phase,gtin,reference,serial,campaign,valid_from,valid_until,identifiers
counter,counter,Counter,salon,during,,,,,,,
vitrine,display,Display case,salon,before,,,,,,,link:https://id.acme.example/t/vitrine
"""
CONFIGURE = f"""set -e
cat > /etc/touchpoint/gateway.toml <<'END'
{CONFIGURATION}
END
cat > /root/registry.csv <<'END'
{REGISTRY}
END
mkfifo -m 0660 /var/lib/touchpoint/scanner
chown touchpoint-capture /var/lib/touchpoint/scanner
systemctl start touchpoint-uplink touchpoint-capture
touchpoint touchpoints import /root/registry.csv
"""
SCAN = """{"at": 0, "reader": "door", "scan": {"text": "https://id.acme.example/t/vitrine"}}"""
SCHEMA = (
    'python3 -c \'import sqlite3; print(sqlite3.connect("/var/lib/touchpoint/capture.db")'
    '.execute("PRAGMA user_version").fetchone()[0])\''
)
RUNS = (
    "systemctl is-active touchpoint-capture touchpoint-uplink | sort -u | tr -d '\\n'; readlink /opt/touchpoint/current"
)
LEFT = "find / -xdev -name '*touchpoint*' -not -path '/var/lib/dpkg/*' -not -path '/opt/touchpoint.image*'"
SECONDS = 600.0


async def installed(machine: Guest, of: str) -> str:
    """Install the first version, configure it, and have somebody scan."""
    said = await machine.run(f"mv /opt/touchpoint /opt/touchpoint.image; dpkg -i {package(of)} 2>&1", SECONDS)
    assert "Next: copy" in said, said
    await machine.run(CONFIGURE, SECONDS)
    return await runs(machine, of, 1)


async def upgraded(machine: Guest, to: str) -> str:
    """Upgrade, and find the data where it was."""
    await machine.run(f"dpkg -i {package(to)} 2>&1", SECONDS)
    return await runs(machine, to, 2)


async def fails(machine: Guest, to: str, back_to: str) -> str:
    """Try a version that migrates the outbox and does not get ready: the one before runs again, with all data."""
    before = await machine.run(SCHEMA)
    answer = await machine.do("run", command=f"dpkg -i {package(to)} 2>&1", seconds=SECONDS)
    assert answer["status"] != 0, answer["said"]
    assert f"{back_to} runs again" in answer["said"], answer["said"]
    assert await machine.run(SCHEMA) == before
    return await runs(machine, back_to, 3)


async def refused(machine: Guest, to: str, stays: str) -> str:
    """Try to go back to an older version: nothing changes."""
    answer = await machine.do("run", command=f"dpkg -i {package(to)} 2>&1", seconds=SECONDS)
    assert answer["status"] != 0, answer["said"]
    assert "an older gateway cannot read" in answer["said"], answer["said"]
    return await runs(machine, stays, 4)


async def purged(machine: Guest) -> str:
    """Purge it: no file is left, nothing runs, and nobody."""
    await machine.run("dpkg --purge --force-all touchpoint-gateway 2>&1", SECONDS)
    left = (await machine.run(LEFT)).split()
    assert not left, ", ".join(left)
    assert await machine.run("getent passwd | grep touchpoint || true") == ""
    return "nothing left"


async def runs(machine: Guest, of: str, waiting: int) -> str:
    """See that this version runs, that what was accepted is there, and that it accepts what is scanned now."""
    said = (await machine.run(RUNS)).strip()
    assert said == f"active{of}", said
    show = (
        f"echo '{SCAN}' > /var/lib/touchpoint/scanner; sleep 5; touchpoint outbox verify; touchpoint outbox show --json"
    )
    shown = await machine.run(show, SECONDS)
    assert f'"waiting": {waiting}' in shown, shown
    return f"{of} runs, {waiting} events wait"


def package(of: str) -> str:
    """Return where a version's package lies in the guest."""
    return f"/mnt/share/packages/touchpoint-gateway_{of}.deb"


async def play(
    built: Path, directory: Path, step: Callable[[str, Callable[[], Awaitable[str]]], Awaitable[bool]]
) -> None:
    """Do everything, one after the other."""
    first, second, third = version(built), "99.1.0-1", "99.2.0-1"
    packages = directory / "share" / PACKAGES
    packages.mkdir(parents=True)
    variant(built, packages, first)
    variant(built, packages, second)
    variant(built, packages, third, broken="capture", migrates=True)
    guest.SHARE_SIZE = "512M"
    async with Guest(directory) as machine:
        if not await step("installed and configured", lambda: installed(machine, first)):
            return
        await step("upgraded", lambda: upgraded(machine, second))
        await step("an upgrade that fails goes back", lambda: fails(machine, third, second))
        await step("a downgrade is refused", lambda: refused(machine, first, second))
        await step("purged", lambda: purged(machine))
