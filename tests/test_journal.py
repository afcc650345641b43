"""Records on their way to journald: fields, fallback, and a limit for what repeats itself."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.journal import BURST, LONGEST, WINDOW_SECONDS, JournalHandler, Limited, RateLimit, _field, is_journal


@dataclass
class Journal:
    """What journald would receive, read as its protocol says."""

    path: Path
    socket: socket.socket

    def entry(self) -> dict[str, str]:
        """Return the next entry."""
        return parsed(self.socket.recv(1 << 20))


def parsed(rest: bytes) -> dict[str, str]:
    """Take an entry apart: systemd.io/JOURNAL_NATIVE_PROTOCOL."""
    fields = {}
    while rest:
        line, _, rest = rest.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            length = int.from_bytes(rest[:8], "little")
            value, rest = rest[8 : 8 + length], rest[8 + length + 1 :]
        fields[name.decode()] = value.decode()
    return fields


@pytest.fixture
def journal(directory: Path) -> Iterator[Journal]:
    path = directory / "journal"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as bound:
        bound.bind(str(path))
        bound.settimeout(30)
        yield Journal(path, bound)


def record(
    text: str, *args: object, level: int = logging.INFO, name: str = "touchpoint", **extra: str
) -> logging.LogRecord:
    made = logging.LogRecord(name, level, "file.py", 1, text, args, None)
    made.__dict__.update(extra)
    return made


def handler(journal: Journal) -> JournalHandler:
    made = JournalHandler(lambda record: record.name, str(journal.path))
    made.setFormatter(logging.Formatter("%(message)s"))
    return made


def test_fields(journal: Journal) -> None:
    """An entry has the message, its priority, who says it, its id and what it is about."""
    with closing(handler(journal)) as to:
        to.handle(record("reader %s: up", "counter", message_id="0123", component="reader:counter"))
        assert journal.entry() == {
            "MESSAGE": "reader counter: up",
            "PRIORITY": "6",
            "SYSLOG_IDENTIFIER": "touchpoint",
            "MESSAGE_ID": "0123",
            "COMPONENT": "reader:counter",
        }
        to.handle(record("no id"))
        assert set(journal.entry()) == {"MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER"}


@pytest.mark.parametrize(("level", "priority"), [(10, "7"), (20, "6"), (30, "4"), (40, "3"), (50, "2"), (35, "4")])
def test_priorities(journal: Journal, level: int, priority: str) -> None:
    """Levels are those of syslog(3)."""
    with closing(handler(journal)) as to:
        to.handle(record("x", level=level))
    assert journal.entry()["PRIORITY"] == priority


def test_several_lines(journal: Journal) -> None:
    """A message of several lines is one entry, and cannot forge a field."""
    with closing(handler(journal)) as to:
        to.handle(record("%s", "a\nPRIORITY=0\nb"))
    entry = journal.entry()
    assert (entry["MESSAGE"], entry["PRIORITY"]) == ("a\nPRIORITY=0\nb", "6")


def test_long_message_is_cut(journal: Journal) -> None:
    """What is longer than a datagram may be arrives all the same, cut."""
    with closing(handler(journal)) as to:
        to.handle(record("x" * 1_000_000))
    assert journal.entry()["MESSAGE"] == "x" * LONGEST


@given(value=st.text())
def test_any_value(value: str) -> None:
    """Whatever a value holds, it is read back as it was, and is one field; a lone surrogate is replaced."""
    assert parsed(_field("MESSAGE", value) + _field("OTHER", "1")) == {
        "MESSAGE": value.encode(errors="replace").decode(),
        "OTHER": "1",
    }


def test_without_journald(directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """While journald is away, standard error has the record."""
    with closing(JournalHandler(lambda _: "touchpoint", str(directory / "nobody"))) as to:
        to.setFormatter(logging.Formatter("%(message)s"))
        to.handle(record("lost?"))
    assert capfd.readouterr().err == "lost?\n"


def test_journal_stream(tmp_path: Path) -> None:
    """The stream is journald's only if systemd says so of this very one."""
    with (tmp_path / "stream").open("w") as stream:
        status = os.fstat(stream.fileno())
        ours = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert is_journal(ours, stream.fileno())
        assert not is_journal({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino + 1}"}, stream.fileno())
        assert not is_journal({}, stream.fileno())
        closed = stream.fileno()
    assert not is_journal(ours, closed)


@dataclass
class Kept(logging.Handler):
    """Keeps what it is given; a clock that stands still beside it."""

    texts: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        super().__init__()

    __hash__ = object.__hash__

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@pytest.fixture
def kept() -> Kept:
    return Kept()


def limited(kept: Kept) -> Limited:
    return Limited(kept, RateLimit("touchpoint"), lambda: kept.seconds)


def test_limit_of_one_message(kept: Kept) -> None:
    """So many of a message pass, then none until the time is over; the next one says first how many were left out."""
    to = limited(kept)
    for number in range(BURST + 7):
        to.handle(record("try %d", number))
    assert kept.texts == [f"try {number}" for number in range(BURST)]
    kept.seconds = WINDOW_SECONDS
    to.handle(record("something else"))
    assert kept.texts[BURST:] == ["7 more like this were left out in 60 s: try 0", "something else"]
    to.handle(record("try %d", 99))
    assert kept.texts[-1] == "try 99"


def test_nothing_left_out_is_not_told(kept: Kept) -> None:
    """A message that kept within its limit leaves no number behind."""
    to = limited(kept)
    to.handle(record("once"))
    kept.seconds = WINDOW_SECONDS
    to.handle(record("twice"))
    assert kept.texts == ["once", "twice"]


def test_one_reader_does_not_silence_another(kept: Kept) -> None:
    """The limit is each component's own."""
    to = limited(kept)
    for _ in range(BURST + 1):
        to.handle(record("reader %s: down", "a", component="reader:a"))
    to.handle(record("reader %s: down", "b", component="reader:b"))
    assert kept.texts[-1] == "reader b: down"


def test_library_has_one_limit(kept: Kept) -> None:
    """Texts of libraries are as many as they like to make: together they have one limit, and memory stays bounded."""
    limit = RateLimit("touchpoint")
    to = Limited(kept, limit, lambda: 0.0)
    for number in range(1000):
        to.handle(record(f"made up {number}", name="bleak.backends"))
    assert len(kept.texts) == BURST


def test_stop_tells_what_was_left_out(kept: Kept) -> None:
    """What nobody heard of is told at the end."""
    to = limited(kept)
    for _ in range(BURST + 2):
        to.handle(record("again"))
    to.close()
    assert kept.texts[BURST:] == ["2 more like this were left out in 60 s: again"]


def test_a_record_that_makes_no_sense(kept: Kept, capfd: pytest.CaptureFixture[str]) -> None:
    """Whoever logs nonsense is told so by Python, and goes on."""
    limited(kept).handle(record("%d", "no number"))
    assert "--- Logging error ---" in capfd.readouterr().err
