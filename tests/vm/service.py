"""A service that nobody has to reboot: power, network, disk and clock are taken away, and it goes on by itself."""

import asyncio
import json
import random
import time
from functools import partial
from pathlib import Path
from typing import Any

from tests.simulators import frames
from tests.simulators.ntp import TimeServer
from tests.vm.shop import HEALED_SECONDS, UID, VITRINE, WATCH, Shop

RTC = "1970-01-01T00:00:10"
"""A Pi has no clock of its own."""
CUTS = 10
DAY_EVENTS = 120
HOUR_SECONDS = 3_600
SCANS = 6
TOUCHES = 20
GIVEN_UP = 3
"""At the first start, and twice by the timer."""
BREAK = """set -e
mkdir -p /run/systemd/system/touchpoint-again@.timer.d
printf '[Timer]\\nOnActiveSec=\\nOnActiveSec=20s\\n' > /run/systemd/system/touchpoint-again@.timer.d/soon.conf
systemctl daemon-reload
cp /etc/touchpoint/gateway.toml /root/gateway.toml
sed -i 's/^tenant = .*/tenant = 7/' /etc/touchpoint/gateway.toml
systemctl kill --signal=KILL touchpoint-capture touchpoint-uplink
"""
"""A quarter of an hour is not waited for, but the timer is the package's."""
MEND = "cat /root/gateway.toml > /etc/touchpoint/gateway.toml"
FILL = "dd if=/dev/zero of=/filler bs=1M; df /"
PATIENCE_SECONDS = 420.0
"""Of systemd-timesyncd, which asks a silent server again after six minutes at last."""
SEAL = """set -e
systemd-creds encrypt --name=touchpoint.keys /etc/touchpoint/keys.json /etc/credstore.encrypted/touchpoint.keys
shred -u /etc/touchpoint/keys.json
sed -i 's|^keys = .*|keys = "touchpoint.keys"|' /etc/touchpoint/gateway.toml
systemctl restart touchpoint.target
"""
EXPOSED = {"touchpoint-capture.service": 0.5, "touchpoint-uplink.service": 1.0}


async def play(shop: Shop) -> None:
    """Do everything, one after the other."""
    (package,) = shop.guest.packages
    server = TimeServer()
    if not await shop.step("installed and set up in 1970", "active", partial(install, shop, package)):
        return
    await shop.step("readers", "all three up", shop.readers_up)
    await shop.step("a scan before the time is known", "unsynced", partial(says, shop, "unsynced"))
    await shop.step("the time comes", "synced", partial(set_right, shop, server))
    await shop.step("the time client starts again", "synced", partial(time_client_again, shop))
    await shop.step("keys as an encrypted credential", "scan with a pseudonym", partial(sealed, shop))
    await shop.step("a day's traffic", f"{DAY_EVENTS} events", partial(bustle, shop, DAY_EVENTS))
    dice = random.Random(7)  # noqa: S311 -- for repeatable moments, not for secrets
    for number in range(1, CUTS + 1):
        await shop.step(f"power pulled, {number} of {CUTS}", "scan", partial(power_cut, shop, dice.uniform(0.2, 4)))
    heals = {"bluetooth": shop.hear, "touchpoint-capture": shop.scan, "touchpoint-uplink": shop.scan}
    for half, healed in heals.items():
        kill = f"systemctl kill --signal=KILL {half}"
        await shop.step(f"{half} killed", healed.__name__, partial(shop.after, kill, healed))
    await shop.step("a broken configuration, mended later", "scan", partial(misconfigured, shop))
    await shop.step("no network for an hour", "every scan of it", partial(alone, shop))
    await shop.step("disk filled, and emptied again", "what was accepted", partial(disk_full, shop))
    await shop.step("exposure", "0.5 and 1.0 at most", partial(exposure, shop))
    await shop.step("balance", "all in order", shop.balance)
    await shop.step("anything for a person to do", "nothing", partial(nothing_to_do, shop))
    await shop.keep_journal()
    server.stop()


async def install(shop: Shop, package: Path) -> str:
    """Install it with the clock that it has, which asks whether it is right."""
    said = await shop.install(package, clock="system")
    return f"{said}, {(await shop.run('date -u +%FT%TZ')).strip()}"


async def quality(shop: Shop) -> str:
    """Scan, and tell how much the event trusts its time."""
    await shop.scan()
    return str(shop.consumer.of("scan")[-1]["data"]["clock"])


async def says(shop: Shop, expected: str) -> str:
    """Scan, and see that the event trusts its time so much."""
    said = await quality(shop)
    assert said == expected, said
    return said


async def set_right(shop: Shop, server: TimeServer) -> str:
    """Let the guest's time client find a server, until events say so."""
    await server.start()
    begun = time.monotonic()
    while (said := await quality(shop)) != "synced":
        assert time.monotonic() - begun < PATIENCE_SECONDS, f"events still say {said}"
    return said


async def time_client_again(shop: Shop) -> str:
    """Start the time client again, as an update does, and look once the gateway has asked again."""
    await shop.run("systemctl restart systemd-timesyncd; sleep 15")
    return await says(shop, "synced")


async def sealed(shop: Shop) -> str:
    """Have systemd hold the key ring, as systemd/README.md says; then have a customer consent and scan."""
    await shop.run(SEAL, HEALED_SECONDS)
    return await shop.consent()


async def bustle(shop: Shop, events: int) -> str:
    """Let people scan and touch until so many events came."""
    wanted = shop.consumer.received + events
    begun = time.monotonic()
    while shop.consumer.received < wanted:
        assert time.monotonic() - begun < 10 * HEALED_SECONDS, f"{wanted - shop.consumer.received} events are missing"
        await touch(shop)
    return f"{events} events in {time.monotonic() - begun:.0f} s"


async def touch(shop: Shop) -> None:
    """Scan a code twice and lay a tag down."""
    await shop.guest.do("type", text=VITRINE)
    await shop.guest.do("place", uid=UID, message=frames.message(frames.uri(WATCH)).hex())
    await asyncio.sleep(1)
    await shop.guest.do("type", text=VITRINE)
    await shop.guest.do("remove")


async def power_cut(shop: Shop, seconds: float) -> str:
    """Pull the power while people touch things, switch it on again, and do nothing else."""
    traffic = asyncio.ensure_future(_forever(shop))
    await asyncio.sleep(seconds)
    traffic.cancel()
    await asyncio.wait([traffic])
    await shop.guest.cut()
    await shop.guest.boot()
    await shop.plugged()
    return await shop.scan()


async def _forever(shop: Shop) -> None:
    while True:
        await touch(shop)


async def alone(shop: Shop) -> str:
    """Let an hour of the guest's pass without a network, with scans in it; then all of them come."""
    await shop.run("sync")
    await shop.guest.cut()
    await shop.guest.boot(hurried=True)
    await shop.plugged()
    for _ in range(SCANS):
        await shop.guest.do("type", text=VITRINE)
        await shop.run(f"sleep {HOUR_SECONDS // SCANS}", seconds=2 * HOUR_SECONDS)
    uptime = float((await shop.run("cat /proc/uptime")).split()[0])
    said = json.loads(await shop.run("touchpoint outbox show --limit 1000 --json"))
    waited = {event["id"] for event in said["events"]}
    assert len(waited) == said["waiting"] >= SCANS
    assert uptime > HOUR_SECONDS, f"up for {uptime:.0f} s only"
    await shop.run("sync")
    await shop.guest.cut()
    await shop.guest.boot()
    await shop.plugged()
    begun = time.monotonic()
    while missing := waited - {event["id"] for event in shop.consumer.events}:
        assert time.monotonic() - begun < HEALED_SECONDS, f"{len(missing)} of {len(waited)} did not come"
        await asyncio.sleep(0.1)
    return f"{len(waited)} waited after {uptime:.0f} s, all came"


async def misconfigured(shop: Shop) -> str:
    """Break the configuration, until both halves have given up twice (status 78); mend it, and start nothing."""
    gave_up = "journalctl -b -u touchpoint-{half} -o cat | grep -c 'status=78' || true"
    try:
        await shop.run(BREAK)
        for half in ("capture", "uplink"):
            until = time.monotonic() + 3 * HEALED_SECONDS
            while int(await shop.run(gave_up.format(half=half))) < GIVEN_UP:
                assert time.monotonic() < until, await shop.run(f"systemctl status touchpoint-{half} || true")
                await asyncio.sleep(1)
    finally:
        await shop.run(MEND)
    return await shop.scan()


async def disk_full(shop: Shop) -> str:
    """Fill the disk to the last block, let people touch things, and let somebody else empty it again.

    As root fills what is reserved for root, the outbox's own reserve may be of no use: then the status has to say so.
    """
    await shop.run(FILL, 240)
    before = await outbox(shop)
    for _ in range(TOUCHES):
        await touch(shop)
    found = json.loads((await shop.guest.do("run", command="touchpoint doctor --json", seconds=120))["said"])[
        "findings"
    ]
    assert any(each["check"] == "disk" and each["verdict"] == "wrong" for each in found), str(found)
    after = await outbox(shop)
    await shop.run("rm /filler; sync")
    healed = await shop.scan()
    accepted = {(after["session"], number) for number in range(before["sequence"] + 1, after["sequence"] + 1)}
    assert len(accepted) >= TOUCHES or any("full" in each for each in after["problems"]), f"{before} {after}"
    missing = accepted - {(event["session"], int(event["sequence"])) for event in shop.consumer.events}
    assert not missing, f"{len(missing)} of {len(accepted)} did not come"
    return f"{healed}; {len(accepted)} events were accepted meanwhile, all came; the doctor said so"


async def outbox(shop: Shop) -> dict[str, Any]:
    """Return how far the outbox is; whatever else the status says."""
    said = await shop.guest.do("run", command="touchpoint status --json", seconds=60)
    return dict(json.loads(said["said"]))


async def exposure(shop: Shop) -> str:
    """Ask systemd how exposed the units are."""
    said = await shop.run("systemd-analyze security --no-pager", 120)
    found = {line.split()[0]: float(line.split()[1]) for line in said.splitlines() if line.startswith("touchpoint-")}
    assert all(found[unit] <= limit for unit, limit in EXPOSED.items()), str(found)
    return ", ".join(f"{unit.removesuffix('.service')} {found[unit]}" for unit in EXPOSED)


async def nothing_to_do(shop: Shop) -> str:
    """See that systemd has given up on nothing, that every component is well, and what the doctor says."""
    failed = (await shop.run("systemctl list-units --failed --no-legend --plain 'touchpoint*'")).strip()
    assert not failed, failed
    health = shop.consumer.states[-1]["health"]
    wrong = {name: each["reason"] for name, each in health.items() if not each["ok"]}
    assert not wrong, str(wrong)
    doctor = await shop.guest.do("run", command="LANG=C touchpoint doctor", seconds=120)
    assert doctor["status"] == 0, doctor["said"]
    return str(doctor["said"]).splitlines()[-1]
