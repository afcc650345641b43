"""Some minutes of a day on the air: bleak, BlueZ's D-Bus API and a serial scanner see what the recording says."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway.capture import Capture
from gateway.clock import Clock
from gateway.config import load
from gateway.core.event import Appeared, BeaconHealth, Disappeared, Event, Interaction, Response
from gateway.core.sighting import Advertisement, Moment, Scan
from gateway.daemon.capture import open_capture, source
from gateway.replay import Replay, at_once
from gateway.sources.recording import Recorded
from gateway.sources.recording import format as recorded
from tests.boutique.day import Day
from tests.boutique.store import START_MS, install
from tests.boutique.verdict import events
from tests.shop import Voice
from tests.simulators.bluez import Bluez, PrivateBus
from tests.simulators.scanner import ScannerSimulator

DAY = Day(seed=4, seconds=1_800, people=24)
ADAPTERS = {"salon": 0, "atelier": 1}
DEADLINE = 20.0


class StillClock(Clock):
    """A clock that stands where the recording is."""

    def __init__(self) -> None:
        super().__init__("trusted")
        self.at = 0.0

    def now(self) -> Moment:
        """Return the instant of the line that is on the air."""
        return moment(self.at)


def moment(at: float) -> Moment:
    """Return an instant as `touchpoint replay` counts it."""
    boot_ns = int(at * 1e9)
    return Moment(boot_ns, START_MS + boot_ns // 1_000_000)


@dataclass
class Air:
    """The devices of a capture half, and what they are given to read."""

    half: Capture
    clock: StillClock
    bluez: Bluez
    scanner: ScannerSimulator
    voices: dict[str, Voice]
    commits: list[asyncio.Future[None]] = field(default_factory=list)

    async def play(self, line: Recorded) -> None:
        """Let the time up to a line pass, have its device read it, and wait until it has ended as a number."""
        while (deadline := self.half.path.next_deadline()) is not None and deadline <= line.at * 1e9:
            self.clock.at = deadline / 1e9
            self.commits.append(asyncio.ensure_future(self.half.append(self.half.path.expire(moment(self.clock.at)))))
        self.clock.at = line.at
        ended = self.half.counts["sightings"] + 1
        self._send(line)
        async with asyncio.timeout(DEADLINE):
            while self.half.counts["sightings"] < ended:  # noqa: ASYNC110  # as below
                await asyncio.sleep(0)  # thousands of lines: no longer poll is short enough

    def _send(self, line: Recorded) -> None:
        reader, payload = line.sighting.reader, line.sighting.payload
        match payload:
            case Advertisement():
                service = {f"0000{uuid}-0000-1000-8000-00805f9b34fb": data for uuid, data in payload.service.items()}
                parts: dict[str, Any] = {"manufacturer": payload.manufacturer, "service": service}
                kept = {name: part for name, part in parts.items() if part}
                assert self.bluez.advertise(payload.address, payload.rssi, number=ADAPTERS[reader], **kept)
            case Scan():
                self.scanner.scan(payload.text, payload.symbology or "")
            case _:
                self.voices[reader].say(line.sighting)


@asynccontextmanager
async def on_the_air(directory: Path, bus: PrivateBus) -> AsyncIterator[Air]:
    """Run a capture half as configured, with all its drivers but NFC."""
    settings = load(directory / "gateway.toml")
    with ScannerSimulator(directory / "scanner") as scanner:
        async with Bluez(bus.address, adapters=2) as bluez, open_capture(settings) as half:
            half.clock = clock = StillClock()
            voices = {each.name: Voice(half, each.name) for each in settings.readers if each.kind == "nfc"}
            driven = [source(each, half) for each in settings.readers if each.kind != "nfc"]
            running = asyncio.ensure_future(half.run([*driven, *voices.values()]))
            try:
                await _until(lambda: len(half.readers) == 5 and all(status.up for status in half.readers.values()))
                yield Air(half, clock, bluez, scanner, voices)
            finally:
                running.cancel()
                with suppress(asyncio.CancelledError):
                    await running


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110  # conditions are of all kinds; no event stands for them
            await asyncio.sleep(0.005)


def minutes(day: Day) -> list[Recorded]:
    """Cut the shortest stay of a consenting customer out of a day, with half a minute before it and after it."""
    stay = min((stay for stay in day.truth.stays if not stay.brief), key=lambda stay: stay.seconds)
    lines = [line for line in day.lines() if stay.begins - 30 <= line.at <= stay.ends + 30]
    return [line for line in lines if isinstance(line, Recorded)]


def replayed(directory: Path, lines: Sequence[Recorded]) -> list[Event]:
    """Replay the same lines."""
    path, into = directory / "minutes.jsonl", directory / "replayed"
    path.write_text("".join(f"{recorded(line)}\n" for line in lines), encoding="utf-8")
    into.mkdir()
    Replay(load(directory / "gateway.toml"), path, into, START_MS, at_once).run()
    return list(events(into))


def acts_and_stays(found: Sequence[Event]) -> list[tuple[str, str]]:
    """Return what events say of people, whoever numbered them."""
    kinds = Interaction, Appeared, Disappeared
    return sorted((event.time, event.data.model_dump_json()) for event in found if isinstance(event.data, kinds))


def health(found: Sequence[Event]) -> set[tuple[str, str]]:
    """Return what events say of beacons; a driver that has not heard a beacon's name yet leaves its telemetry out."""
    return {(data.touchpoint.id, data.status) for event in found if isinstance(data := event.data, BeaconHealth)}


@pytest.mark.timeout(120)
async def test_what_is_on_the_air_becomes_what_the_recording_becomes(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through bleak from two adapters, and a scanner on a serial line: the same events, to the millisecond."""
    bus = PrivateBus(directory)
    monkeypatch.setattr("gateway.sources.ble_queue.LINGER_SECONDS", 0)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.address)
    install(directory, DAY.own, [agreed for who in DAY.visitors if (agreed := who.agreed) is not None])
    file = directory / "gateway.toml"
    file.write_text(file.read_text().replace('device = "/none"', f'device = "{directory / "scanner"}"'))
    lines = minutes(DAY)
    expected = replayed(directory, lines)
    with bus:
        async with on_the_air(directory, bus) as air:
            for line in lines:
                await air.play(line)
            await asyncio.gather(*air.commits)
    found = list(events(directory / "state"))
    assert acts_and_stays(found) == acts_and_stays(expected)
    assert health(found) == health(expected)
    kinds = {type(event.data) for event in found if getattr(event.data, "subject", None) is not None}
    assert kinds >= {Interaction, Response, Appeared, Disappeared}
