"""The clock: how far it can be trusted, and that durations do not depend on it."""

import ctypes
import time
import uuid
from pathlib import Path

import pytest

from gateway.clock import Clock, boot_id, kernel_says_synced
from gateway.core.sighting import ClockQuality

SYNCED, HOLDOVER, UNSYNCED = ClockQuality.SYNCED, ClockQuality.HOLDOVER, ClockQuality.UNSYNCED
ASK_NS = 10_000_000_000


class World:
    """What the clock asks: the kernel, timesyncd's file, and CLOCK_BOOTTIME."""

    def __init__(self, directory: Path) -> None:
        self.kernel: bool | None = False
        self.asked = 0
        self.boot_ns = 1_000
        self.timesyncd = directory / "synchronized"

    def answer(self) -> bool | None:
        self.asked += 1
        return self.kernel

    def later(self) -> None:
        """Let so much time pass that the clock asks again."""
        self.boot_ns += ASK_NS


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world in which nothing is synced."""
    made = World(tmp_path)
    monkeypatch.setattr("gateway.clock.kernel_says_synced", made.answer)
    monkeypatch.setattr("gateway.clock._TIMESYNCD", made.timesyncd)
    monkeypatch.setattr("gateway.clock.time.clock_gettime_ns", lambda _: made.boot_ns)
    return made


def test_a_clock_is_unsynced_until_the_kernel_says_otherwise_and_holds_over_afterwards(world: World) -> None:
    """Never synced, synced, synced once: three different things to a consumer."""
    clock, seen = Clock(), []
    for world.kernel in (False, True, False, True):
        seen.append(clock.now().quality)
        world.later()
    assert seen == [UNSYNCED, SYNCED, HOLDOVER, SYNCED]


def test_a_clock_that_was_synced_before_the_gateway_started_holds_over(world: World) -> None:
    """The file of systemd-timesyncd remembers what this process did not see."""
    world.timesyncd.touch()
    assert Clock().now().quality is HOLDOVER


@pytest.mark.parametrize(("file", "quality"), [(False, UNSYNCED), (True, SYNCED)])
def test_where_the_kernel_cannot_be_asked_the_file_answers(world: World, file: bool, quality: ClockQuality) -> None:  # noqa: FBT001  # a parameter of the test
    """A sandbox may forbid adjtimex."""
    world.kernel = None
    if file:
        world.timesyncd.touch()
    assert Clock().now().quality is quality


def test_the_kernel_is_asked_now_and_then(world: World) -> None:
    """Not at every advertisement; and what it said lasts for ten seconds at most."""
    clock = Clock()
    for _ in range(1_000):
        clock.now()
    assert world.asked == 1
    world.boot_ns += ASK_NS - 1
    clock.now()
    assert world.asked == 1
    world.boot_ns += 1
    clock.now()
    assert world.asked == 2


def test_a_trusted_clock_is_synced_and_nobody_is_asked(world: World) -> None:
    """The operator has said so: a network without NTP, a real-time clock."""
    assert Clock("trusted").now().quality is SYNCED
    assert world.asked == 0


def test_the_boot_clock_only_goes_on_and_the_wall_clock_is_unix_time() -> None:
    """Durations come from one, time stamps from the other."""
    clock = Clock()
    before_ms = time.time_ns() // 1_000_000
    moments = [clock.now() for _ in range(100)]
    after_ms = time.time_ns() // 1_000_000
    assert [moment.boot_ns for moment in moments] == sorted(moment.boot_ns for moment in moments)
    assert before_ms <= moments[0].wall_ms <= moments[-1].wall_ms <= after_ms
    uptime_s = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    assert abs(uptime_s - clock.now().boot_ns / 1e9) < 5


def test_the_kernel_answers_what_its_own_tool_says() -> None:
    """STA_UNSYNC is read from where the C library's header has it, checked against a struct built field by field."""

    class Timex(ctypes.Structure):
        """The head of struct timex, adjtimex(2)."""

        _fields_ = (
            ("modes", ctypes.c_uint),
            *((name, ctypes.c_long) for name in ("offset", "freq", "maxerror", "esterror")),
            ("status", ctypes.c_int),
            ("rest", ctypes.c_char * 256),
        )

    timex = Timex()
    answer = ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
    assert kernel_says_synced() is (None if answer < 0 else not timex.status & 0x40)


def test_a_kernel_that_cannot_be_asked_has_no_opinion(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbidden, or a C library without the call."""

    class Forbidden:
        def adjtimex(self, timex: object) -> int:
            del timex
            return -1

    for library in (Forbidden(), object()):
        monkeypatch.setattr("gateway.clock.ctypes.CDLL", lambda *_, library=library, **__: library)
        assert kernel_says_synced() is None


def test_a_boot_has_one_id() -> None:
    """A UUID, and the same as long as the machine runs."""
    assert boot_id() == boot_id() == str(uuid.UUID(boot_id()))


def test_the_boot_may_be_told_by_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel says it, whether with or without hyphens."""
    told = boot_id()
    monkeypatch.setenv("TOUCHPOINT_BOOT_ID", told.replace("-", ""))
    assert boot_id() == told
