"""The boutique's devices, read by the gateway's own sources."""

import asyncio
from pathlib import Path

from gateway.core.sighting import Scan, Sighting, Tag
from gateway.demo.boutique import COUNTER, SCANNER
from gateway.demo.devices import devices, reading
from gateway.sources.scanner import ScannerSource
from gateway.sources.simulated import SimulatedSource
from gateway.sources.source import SourceStatus


def ignore(_: SourceStatus | str) -> None:
    """Take no notice."""


async def test_a_scan_goes_through_the_real_scanner_driver(tmp_path: Path) -> None:
    """What the scanner sends comes out of the serial source as it went in, symbology and all."""
    scan = Sighting(SCANNER, Scan("https://id.acme.example/c/spring-12", "]Q1"))
    up = asyncio.Event()
    with devices(tmp_path) as plugged:
        async with (
            asyncio.timeout(5),
            ScannerSource(SCANNER, plugged[SCANNER].path, status=lambda _: up.set(), dropped=ignore) as source,
        ):
            await up.wait()
            await plugged[SCANNER].send(reading(scan, 0))
            assert await anext(aiter(source)) == scan


async def test_a_tap_waits_for_the_reader(tmp_path: Path) -> None:
    """What was sent before the gateway opened the reader is read when it does."""
    tap = Sighting(COUNTER, Tag(b"\x04abcdef", b"\xd1\x01"))
    with devices(tmp_path) as plugged:
        await plugged[COUNTER].send(reading(tap, 1.5))
        async with (
            asyncio.timeout(5),
            SimulatedSource(COUNTER, plugged[COUNTER].path, status=ignore, dropped=ignore) as source,
        ):
            assert await anext(aiter(source)) == tap


async def test_a_device_that_is_full_is_waited_for(tmp_path: Path) -> None:
    """More than a FIFO holds arrives complete, since the sender waits for the reader."""
    taps = [Sighting(COUNTER, Tag(b"\x04abcdef", bytes(4000))) for _ in range(20)]
    with devices(tmp_path) as plugged:
        async with (
            asyncio.timeout(5),
            SimulatedSource(COUNTER, plugged[COUNTER].path, status=ignore, dropped=ignore) as source,
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(plugged[COUNTER].send(b"".join(reading(tap, 0) for tap in taps)))
            assert [await anext(aiter(source)) for _ in taps] == taps
