"""A full disk, the outbox's own limit, and a disk that becomes read-only: what goes, what stays, and that it passes."""

import asyncio
import json
import subprocess
from contextlib import closing
from pathlib import Path

from typer.testing import CliRunner

from gateway.capture import NEARLY_FULL
from gateway.cli.app import app
from gateway.control import ask
from gateway.core.contract import Topics
from gateway.core.event import Event, EventType, Gap
from gateway.store.backlog import Backlog
from tests.disk.conftest import accept, capture_on, configured, drafted, publish, refused_starts, running, verified
from tests.disk.mounts import PoweredDisk, small_disk
from tests.shop import until
from tests.simulators.broker import FakeBroker
from tests.simulators.forgetful_disk import READ_ONLY

MIB = 1 << 20
HEALTH, PRESENCE, TAP, CONSENT = (
    EventType.BEACON_HEALTH, EventType.APPEARED, EventType.TAP, EventType.CONSENT_WITHDRAWN,
)  # fmt: skip


def fill(disk: Path, leave: int) -> Path:
    """Have somebody else take all the space of a disk but this many octets."""
    status = subprocess.run(["df", "--output=avail", "-B1", str(disk)], capture_output=True, text=True, check=True)
    taken = disk / "somebody-elses"
    subprocess.run(["fallocate", "-l", str(int(status.stdout.split()[1]) - leave), str(taken)], check=True)
    return taken


def kinds(state: Path) -> dict[str, int]:
    """Count what waits by type; a gap counts for each sequence that it stands for."""
    counted: dict[str, int] = {}
    with closing(Backlog(state)) as backlog:
        for row in backlog.rows(0, 1_000_000, 1 << 30):
            kind = json.loads(row.event)["type"].split(".")[1]
            counted[kind] = counted.get(kind, 0) + row.through - row.sequence + 1
    return counted


async def test_on_a_full_disk_the_least_worthy_goes_and_the_newest_are_accepted(directory: Path) -> None:
    """Health, then presence, then taps make room; consent and what was published stay; every loss has its gap."""
    with small_disk(directory / "s", 48 * MIB) as disk:
        async with capture_on(configured(directory, disk)) as half:
            assert await half.take_up_ballast()
            await half.append([drafted(TAP) for _ in range(100)])
            publish(disk, 100)
            for kind in (CONSENT, HEALTH, PRESENCE):
                await half.append([drafted(kind) for _ in range(200)])
            fill(disk, 0)
            states = [kinds(disk)]
            for _ in range(40):
                assert all([await accept(half) for _ in range(250)])
                states.append(kinds(disk))
        assert not half.ballast.path.exists()
        assert went_in_order(states)
        left, numbers = states[-1], verified(disk).numbers
        assert left["consent-withdrawn"] == 200
        assert published_are_whole(disk, 100)
        assert numbers["evicted"] == left["gap"] > 400
        assert numbers["appended"] == 100 + 600 + 10_000


def went_in_order(states: list[dict[str, int]]) -> bool:
    """Tell whether presence went only when there was no health left, and taps only when there was no presence."""
    order = [(state.get("beacon-health", 0), state.get("appeared", 0), state.get("gap", 0)) for state in states]
    return all(
        (presence == 200 or health == 0) and (gaps <= 400 or presence == 0) for health, presence, gaps in order
    ) and order[-1][:2] == (0, 0)


def published_are_whole(state: Path, through: int) -> bool:
    """Tell whether every row that may have been sent is what it was."""
    with closing(Backlog(state)) as backlog:
        events = [Event.model_validate_json(row.event) for row in backlog.rows(0, through, 1 << 30)]
    return [event.kind for event in events] == [TAP] * through


async def test_space_that_returns_is_used_without_a_person(directory: Path) -> None:
    """The ballast is given up when there is no room, and taken up again when there is plenty."""
    with small_disk(directory / "s", 64 * MIB) as disk:
        async with capture_on(configured(directory, disk)) as half:
            assert await half.take_up_ballast()
            assert await accept(half)
            taken = fill(disk, 0)
            while half.ballast.path.exists():
                assert await accept(half)
            assert not await half.take_up_ballast()
            taken.unlink()
            assert await half.take_up_ballast()
            assert all([await accept(half) for _ in range(500)])
        assert verified(disk).numbers["evicted"] == 0


async def test_a_full_disk_is_told_to_staff_and_to_the_centre(directory: Path) -> None:
    """While the gateway runs, in `touchpoint status` with what to do and in the retained state; and when it is over."""
    with small_disk(directory / "s", 64 * MIB) as disk:
        async with FakeBroker() as centre, running(configured(directory, disk, centre.port)) as half:
            await until(lambda: half.ballast.held)
            taken = fill(disk, 0)
            while half.ballast.held:
                assert await accept(half)
            await until(lambda: told(disk) == NEARLY_FULL)
            option = ("--config", str(directory / "gateway.toml"))
            status = await asyncio.to_thread(CliRunner().invoke, app, ["status", *option])
            assert f"! store: {NEARLY_FULL}" in status.stdout
            assert "free some space on it" in status.stdout
            assert status.exit_code == 1
            centre.drop()  # the state is said at each connect, and every five minutes
            await until(lambda: stores(centre)[-1:] == [False])
            taken.unlink()
            assert await half.take_up_ballast()
            await until(lambda: told(disk) is None)
            centre.drop()
            await until(lambda: stores(centre)[-1:] == [True])


async def test_a_disk_that_takes_no_word_is_told_of_all_the_same(directory: Path) -> None:
    """Nothing can be written, so the running gateway says it itself when it is asked."""
    with PoweredDisk(directory, directory / "s") as disk:
        async with running(configured(directory, disk.path)) as half:
            (disk.faults / READ_ONLY).touch()
            assert not await accept(half)
            answer = await ask(directory, {"ask": "status"})
            assert str(answer["health"]["store"]).endswith(": events are not accepted")
            option = ("--config", str(directory / "gateway.toml"))
            status = await asyncio.to_thread(CliRunner().invoke, app, ["status", *option])
            assert f"! store: {answer['health']['store']}" in status.stdout
            (disk.faults / READ_ONLY).unlink()
            assert await accept(half)
            assert (await ask(directory, {"ask": "status"}))["health"]["store"] is None


def told(state: Path) -> str | None:
    """Return what capture has left about the store for the other half to tell."""
    with closing(Backlog(state)) as backlog:
        return backlog.condition().get("store")


def stores(centre: FakeBroker) -> list[bool]:
    """Return whether all was well with the store, by each retained state that says so."""
    states = [json.loads(text) for text in centre.on(Topics("acme", "zrh-1", "gw-1").state)]
    return [state["health"]["store"]["ok"] for state in states if state["online"] and "store" in state["health"]]


async def test_a_full_disk_at_the_start_is_said_and_passes(directory: Path) -> None:
    """The message says what to do; as soon as there is room the half starts, with everything it had."""
    with small_disk(directory / "s", 4 * MIB) as disk:
        settings = configured(directory, disk)
        async with capture_on(settings) as half:
            assert await accept(half)
        taken = fill(disk, 0)
        assert all("Free some space" in each for each in await refused_starts(settings, 3))
        taken.unlink()
        async with capture_on(settings) as half:
            assert await accept(half)
        assert verified(disk).numbers["waiting"] == 2
        assert not list(disk.glob("*.damaged-*"))


async def test_the_outbox_keeps_to_its_limit_for_ever(directory: Path) -> None:
    """Ten times what fits: the file stays at the limit, gaps fold into few rows, the newest events are there."""
    settings = configured(directory, directory / "s")
    async with capture_on(settings) as half:
        half.writer.outbox.limit_pages = 400
        for _ in range(200):
            await half.append([drafted(TAP) for _ in range(100)])
        pages = await half.writer.commit(lambda outbox: outbox.connection.execute("PRAGMA page_count").fetchone()[0])
    state = settings.gateway.state
    assert pages <= 400 * 1.1
    numbers, left = verified(state).numbers, kinds(state)
    assert numbers["appended"] == 20_000
    assert numbers["evicted"] == left["gap"]
    assert last_kind(state) is TAP
    assert gap_rows(state) == 1


def last_kind(state: Path) -> EventType:
    """Return the type of the newest event."""
    with closing(Backlog(state)) as backlog:
        return Event.model_validate_json(backlog.rows(backlog.last() - 1, 1, 1 << 30)[0].event).kind


def gap_rows(state: Path) -> int:
    """Count the rows that are gaps, and check that each is worded as one."""
    with closing(Backlog(state)) as backlog:
        events = [Event.model_validate_json(row.event) for row in backlog.rows(0, 1_000_000, 1 << 30)]
    return sum(isinstance(event.data, Gap) and event.data.reason == "evicted" for event in events)


async def test_a_disk_that_becomes_read_only_is_written_again_when_it_can_be(directory: Path) -> None:
    """Refused while it lasts, also at a start; afterwards the same process accepts again, and no number is missing."""
    with PoweredDisk(directory, directory / "s") as disk:
        settings = configured(directory, disk.path)
        async with capture_on(settings) as half:
            assert await accept(half)
            (disk.faults / READ_ONLY).touch()
            assert [await accept(half) for _ in range(3)] == [False] * 3
            (disk.faults / READ_ONLY).unlink()
            assert await accept(half)
            (disk.faults / READ_ONLY).touch()
        assert all("mounted read-write" in each for each in await refused_starts(settings, 3))
        (disk.faults / READ_ONLY).unlink()
        async with capture_on(settings) as half:
            assert await accept(half)
        assert verified(disk.path).numbers["waiting"] == 3
        assert not list(disk.path.glob("*.damaged-*"))
