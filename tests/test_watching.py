"""Watching beacons: who is shown, and for how long strangers' are read."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.control import RequestError
from gateway.core.decode.namespace import ANY
from gateway.core.sighting import Advertisement, Scan, Sighting
from gateway.desk import Desk
from tests.simulators import frames
from tests.test_beacons import READER
from tests.test_desk import CONFIGURATION, act, desk_in

TOKENS = """
[[bearer]]
kind = "eddystone-uid"
prefix = "cccccccccccccccccccc/"
low_entropy = true
[[badge]]
kind = "eddystone-uid"
prefix = "bbbbbbbbbbbbbbbbbbbb/"
"""
MACS = [f"C4:5A:3C:77:91:{last:02X}" for last in range(5)]


@pytest.fixture
async def desk(directory: Path) -> AsyncIterator[Desk]:
    """The desk of a store with a BLE reader in the salon."""
    async with desk_in(directory, CONFIGURATION + READER + TOKENS) as counter:
        yield counter


def say(desk: Desk, address: str, **sent: Any) -> None:  # noqa: ANN401
    """Have the reader hear somebody, as its source would say it."""
    desk.capture._show(Sighting("ceiling", Advertisement(address, -50, **sent)))  # noqa: SLF001


async def test_nobody_is_shown_whom_it_does_not_concern(desk: Desk) -> None:
    """No customer's beacon, no badge, no phone, nobody who changes their identifier; no scan; never an address."""
    pictures: list[dict[str, Any]] = []

    async def tell(picture: dict[str, Any]) -> None:
        pictures.append(picture)
        for address, namespace in zip(MACS, (b"\xaa", b"\xbb", b"\xcc"), strict=False):
            for _ in range(3):
                say(desk, address, service={"feaa": frames.eddystone_uid(namespace * 10, bytes(6), -20)})
            say(desk, address, service={"feaa": frames.eddystone_tlm(2900, 0x1500, 9, 100)})
        say(desk, MACS[3], service={"feaa": frames.eddystone_eid(b"\xe1" * 8, -20)})
        say(desk, MACS[3], service={"feaa": b"\x20\x01" + bytes(16)})
        say(desk, MACS[4], manufacturer={0x004C: bytes.fromhex("10061a1e16ec7f61")})
        desk.capture._show(Sighting("scanner", Scan("https://other.example/x")))  # noqa: SLF001

    told = await desk.handlers()["beacons-watch"]({"seconds": 1.2}, tell)
    assert [each["identifier"] for each in told["beacons"]] == [f"eddystone-uid:{'aa' * 10}/{'00' * 6}"]
    assert told["beacons"][0]["battery_mv"] == 2900
    assert told["held"] == told["beacons"][0]["identifier"]
    assert told["readers"] == [
        {"name": "ceiling", "zone": "salon", "up": False, "reason": "it is not opened yet"},
    ]
    assert len(pictures) <= 3
    assert not any(address in repr([told, *pictures]) for address in MACS)


async def test_strangers_are_read_only_while_somebody_watches(desk: Desk) -> None:
    """Until the last who watches has left, however they leave."""
    half = desk.capture
    before = half.wanted()
    assert before != ANY
    long = asyncio.ensure_future(act(desk, "beacons-watch", seconds=60))
    await asyncio.sleep(0)
    assert half.wanted() == ANY
    await act(desk, "beacons-watch", seconds=0.01)
    assert half.wanted() == ANY
    long.cancel()
    with suppress(asyncio.CancelledError):
        await long
    assert half.wanted() == before


@pytest.mark.parametrize("seconds", [0, -1, 3601, float("nan")])
async def test_a_watch_has_an_end(desk: Desk, seconds: float) -> None:
    """An hour at most: a terminal that was forgotten reads no strangers for ever."""
    with pytest.raises(RequestError, match="beacons are watched for up to 3600 seconds"):
        await act(desk, "beacons-watch", seconds=seconds)
