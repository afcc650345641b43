"""How the store's beacons are, as its desk says it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.beacons import WELL, Beacons, canonical
from gateway.core.health import SILENT_NS
from gateway.core.sighting import Telemetry
from gateway.desk import Desk
from gateway.registering import Registering
from tests.test_desk import CONFIGURATION, act, desk_in, silent

READER = """
[[reader]]
name = "ceiling"
kind = "ble"
zone = "salon"
"""
MAC = "02:00:00:00:00:01"
LOW = Telemetry(2400, 21.5, 1, 1.0)


@pytest.fixture
async def desk(directory: Path) -> AsyncIterator[Desk]:
    """The desk of a store with a BLE reader in the salon, and a beacon there."""
    async with desk_in(directory, CONFIGURATION + READER) as counter:
        await act(counter, "beacon-register", touchpoint="pillar", identifier=f"altbeacon:{'0b' * 20}", zone="salon")
        yield counter


async def condition(desk: Desk) -> str:
    """Return how the only beacon is."""
    (found,) = (await act(desk, "beacons"))["beacons"]
    return str(found["condition"])


def hear(desk: Desk, zone: str = "salon", ago_ns: int = 0) -> int:
    """Hear the beacon so long ago; return when that was."""
    now_ns = desk.capture.clock.now().boot_ns - ago_ns
    desk.capture.path.beacons.observe("pillar", MAC, "ceiling", zone, -60, now_ns)
    return now_ns


async def test_one_that_is_heard_is_well(desk: Desk) -> None:
    """In its own zone, with a battery that is not low, or of which nothing is known."""
    hear(desk)
    assert await condition(desk) == "ok"


async def test_one_that_was_never_heard_is_missed_after_a_while(desk: Desk) -> None:
    """A quarter of an hour after the scanners began to listen; while one is down nobody can tell."""
    assert await condition(desk) == "not-heard-yet"
    beacons = desk.capture.path.beacons
    beacons.pause()
    assert await condition(desk) == "not-heard-yet"
    beacons.resume(desk.capture.clock.now().boot_ns - SILENT_NS)
    asked = Beacons(desk.capture, Registering(desk.capture, desk.settings, desk.registry_of))
    asked.began_ns -= SILENT_NS
    told = await asked.beacons({}, silent)
    assert [each["condition"] for each in told["beacons"]] == ["never-heard"]


async def test_a_low_battery_and_silence_are_seen(desk: Desk) -> None:
    """Silence goes before the battery: it may be why."""
    hear(desk, ago_ns=2 * SILENT_NS)
    desk.capture.path.beacons.telemetry(MAC, LOW, desk.capture.clock.now().boot_ns - 2 * SILENT_NS)
    assert await condition(desk) == "low-battery"
    desk.capture.path.beacons.expire(desk.capture.clock.now().boot_ns)
    assert await condition(desk) == "silent"


async def test_one_in_another_zone_is_elsewhere(desk: Desk) -> None:
    """If its touchpoint belongs to a zone in which a reader listens; another zone says nothing about it."""
    hear(desk, "entrance")
    assert await condition(desk) == "elsewhere"
    await act(desk, "touchpoint-edit", id="pillar", cells={"zone": "cellar"})
    assert await condition(desk) == "ok"


async def test_one_of_a_retired_touchpoint_needs_nobody(desk: Desk) -> None:
    """However it is."""
    hear(desk, "entrance")
    await act(desk, "touchpoint-retire", id="pillar")
    assert await condition(desk) == "retired"
    assert "retired" in WELL


async def test_one_that_was_forgotten_is_not_missed(desk: Desk) -> None:
    """Its touchpoint stays, and no silence is reported of it; one with another beacon still has its health."""
    other = f"altbeacon:{'0c' * 20}"
    await act(desk, "beacon-register", touchpoint="pillar", identifier=other)
    hear(desk)
    await act(desk, "beacon-forget", touchpoint="pillar", identifiers=[other])
    assert await condition(desk) == "ok"
    await act(desk, "beacon-forget", touchpoint="pillar", identifiers=[f"altbeacon:{'0b' * 20}"])
    assert (await act(desk, "beacons"))["beacons"] == []
    assert "pillar" in desk.capture.path.registry.touchpoints
    assert desk.capture.path.beacons.expire(1 << 62) == []


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("iBeacon:A495BB10-C5B1-4B44-B512-1370F02D74DE/7/9", "ibeacon:a495bb10-c5b1-4b44-b512-1370f02d74de/7/9"),
        (" altbeacon:0B ", "altbeacon:0b"),
        ("beacon:Vitrine-3", "beacon:Vitrine-3"),
        ("link:https://acme.example/Spring", "link:https://acme.example/Spring"),
    ],
)
def test_capitals_matter_only_where_they_mean_something(typed: str, meant: str) -> None:
    """Makers print hexadecimal digits in capitals, too; names and links are as they are."""
    assert canonical(typed) == meant
