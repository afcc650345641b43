"""The reader that plays a recording, from a file and from a FIFO."""

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from gateway.core.sighting import Scan, Sighting
from gateway.sources import recording
from gateway.sources.recording import ClockStep, Condition, Recorded
from gateway.sources.simulated import LINE_LIMIT, SimulatedSource
from tests.sources.watch import Watch, take

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "day.jsonl"


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "live"
    os.mkfifo(path)
    return path


def scan(text: str, *, at: float = 0.0, reader: str = "counter") -> str:
    return recording.format(Recorded(at, Sighting(reader, Scan(text)))) + "\n"


def record(path: Path, *lines: str | bytes) -> None:
    path.write_bytes(b"".join(line.encode() if isinstance(line, str) else line for line in lines))


def source(path: Path, watch: Watch, name: str = "counter") -> SimulatedSource:
    return SimulatedSource(name, path, status=watch.status, dropped=watch.drop)


def texts(sightings: Iterable[Sighting]) -> list[str]:
    return [sighting.payload.text for sighting in sightings if isinstance(sighting.payload, Scan)]


async def quiet(reader: SimulatedSource) -> bool:
    """Tell whether nothing comes for a moment."""
    try:
        await asyncio.wait_for(anext(reader), 0.05)
    except TimeoutError:
        return True
    return False


async def test_a_recording_is_played_in_real_time(path: Path, watch: Watch) -> None:
    """Sightings come at their `at` from the start, and never before it."""
    record(path, scan("first", at=0.0), scan("second", at=0.3))
    clock = asyncio.get_running_loop().time
    began = clock()
    async with source(path, watch) as reader:
        assert texts(await take(reader, 1)) == ["first"]
        assert texts(await take(reader, 1)) == ["second"]
        assert clock() - began >= 0.3


async def test_what_is_late_comes_at_once_and_whole(path: Path, watch: Watch) -> None:
    """More sightings than the queue holds, all due, are all delivered, in order."""
    numbers = [str(number) for number in range(2000)]
    record(path, *map(scan, numbers))
    async with source(path, watch) as reader:
        assert texts(await take(reader, len(numbers))) == numbers
    assert watch.dropped == {}


async def test_a_reader_that_was_down_is_down(path: Path, watch: Watch) -> None:
    """As recorded, of this reader alone; a clock that was set is the clock of then."""
    down, up = Condition(0, "counter", up=False), Condition(0, "counter", up=True)
    lines = [recording.format(each) + "\n" for each in (down, Condition(0, "salon", up=False), ClockStep(0, 60), up)]
    record(path, lines[0], scan("meanwhile"), *lines[1:], scan("again"))
    async with source(path, watch) as reader:
        assert texts(await take(reader, 2)) == ["meanwhile", "again"]
    assert [status.up for status in watch.statuses] == [True, False, True]
    assert watch.dropped == {}


async def test_the_end_of_the_recording_is_not_the_end_of_the_reader(path: Path, watch: Watch) -> None:
    """Played to its end, without a line end too, the reader stays up and waits."""
    record(path, scan("only").rstrip())
    async with source(path, watch) as reader:
        assert texts(await take(reader, 1)) == ["only"]
        assert await quiet(reader)
        assert [status.up for status in watch.statuses] == [True]


async def test_readers_share_a_recording(path: Path, watch: Watch) -> None:
    """Each reader plays the lines that name it."""
    record(path, *(scan(text, reader=text[0]) for text in ("a1", "b1", "c1", "a2")))
    async with source(path, watch, "a") as a, source(path, watch, "b") as b:
        assert texts(await take(a, 2)) == ["a1", "a2"]
        assert texts(await take(b, 1)) == ["b1"]
        assert await quiet(b)


async def test_bad_lines_are_dropped_and_the_rest_is_played(path: Path, watch: Watch) -> None:
    """A malformed line, one of no text and an oversized one count one each; an empty one does not."""
    oversized = b"x" * (2 * LINE_LIMIT) + b"\n"
    record(path, b"{nonsense\n\r\n\xff\xfe\n", oversized, scan("good"))
    async with source(path, watch) as reader:
        assert texts(await take(reader, 1)) == ["good"]
    assert watch.dropped == {"malformed": 3}


async def test_a_missing_recording_is_played_when_it_comes(path: Path, watch: Watch) -> None:
    """A file that is not there is a reason, and is read once it is."""
    async with source(path, watch) as reader:
        await watch.until_down()
        assert watch.reason == f"{path} cannot be read: No such file or directory"
        record(path, scan("late"))
        assert texts(await take(reader, 1)) == ["late"]
        assert watch.up


async def test_a_directory_is_no_recording(tmp_path: Path, watch: Watch) -> None:
    """What is neither a file nor a FIFO is refused with a reason, and never up."""
    async with source(tmp_path, watch):
        await watch.until_down()
    assert watch.reason == f"{tmp_path} cannot be read: neither a file nor a FIFO"
    assert [status.up for status in watch.statuses] == [False]


async def test_a_fifo_is_played_as_it_comes(fifo: Path, watch: Watch) -> None:
    """A FIFO without a writer is up; its lines come at once, whatever their `at`, and in whatever pieces."""
    async with source(fifo, watch) as reader:
        await watch.until_up()
        assert await quiet(reader)
        with fifo.open("w", buffering=1) as writer:
            writer.write(scan("now", at=3600))
            assert texts(await take(reader, 1)) == ["now"]
            line = scan("pieces", at=7200)
            writer.write(line[:20])
            writer.flush()
            assert await quiet(reader)
            writer.write(line[20:])
            assert texts(await take(reader, 1)) == ["pieces"]


async def test_a_fifo_hears_one_writer_after_the_other(fifo: Path, watch: Watch) -> None:
    """Writers come and go, and no line is lost between two of them."""
    numbers = [str(number) for number in range(50)]

    def write_one_after_the_other() -> None:
        for number in numbers:
            record(fifo, scan(number))

    async with source(fifo, watch) as reader:
        await watch.until_up()
        _, sightings = await asyncio.gather(asyncio.to_thread(write_one_after_the_other), take(reader, len(numbers)))
        assert texts(sightings) == numbers
    assert watch.dropped == {}
    assert [status.up for status in watch.statuses] == [True]


async def test_a_line_that_a_writer_left_without_an_end_is_played(fifo: Path, watch: Watch) -> None:
    """The last line of the last writer may lack its end; it does not spill into what the next one writes."""
    async with source(fifo, watch) as reader:
        await watch.until_up()
        record(fifo, scan("one").rstrip())
        assert texts(await take(reader, 1)) == ["one"]
        record(fifo, scan("two"))
        assert texts(await take(reader, 1)) == ["two"]


async def test_a_fifo_that_is_replaced_is_found_again(fifo: Path, watch: Watch) -> None:
    """When a FIFO is gone as its writer leaves, the reader is down until there is another."""
    async with source(fifo, watch) as reader:
        await watch.until_up()
        with fifo.open("w") as writer:
            os.unlink(fifo)  # noqa: PTH108 -- Path.unlink is for threads, as ruff has it (ASYNC240)
            writer.write(scan("last"))
        assert texts(await take(reader, 1)) == ["last"]
        await watch.until_down()
        os.mkfifo(fifo)
        await watch.until_up()
        record(fifo, scan("first"))
        assert texts(await take(reader, 1)) == ["first"]


async def test_a_bad_line_in_a_fifo_is_dropped(fifo: Path, watch: Watch) -> None:
    """A malformed line from a FIFO counts, and the next is played."""
    async with source(fifo, watch) as reader:
        await watch.until_up()
        record(fifo, "nonsense\n", scan("good"))
        assert texts(await take(reader, 1)) == ["good"]
    assert watch.dropped == {"malformed": 1}
