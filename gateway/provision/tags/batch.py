"""A batch of tags: its list, what has become of each, and the way through, which can be left and taken up again.

The list is a CSV with the columns `touchpoint` and, for feedback points, `answer`. What became of each tag is added to
another CSV, on the disk before the next tag is asked for; a line that a power cut has torn off counts as not written.
"""

import csv
import io
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gateway.core.event import rfc3339
from gateway.language import _
from gateway.provision.tags.bench import Bench
from gateway.provision.tags.fault import AGAIN, Fault, TagError
from gateway.provision.tags.inventory import USED, Entry
from gateway.provision.tags.writer import Job, Writer

COLUMNS: Final = ("touchpoint", "answer", "link", "chip", "state", "fault", "message", "at")
MOST_PROBLEMS: Final = 10


class BatchError(Exception):
    """A batch that cannot be begun; the text says why, and what to do next."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a tag; `fault` is None if it is finished."""

    job: Job
    chip: str
    state: str
    fault: Fault | None
    message: str
    at_ms: int

    def row(self) -> dict[str, str]:
        """Return it as a row of the CSV."""
        words = (self.job.touchpoint, self.job.answer or "", self.job.link, self.chip, self.state)
        return dict(zip(COLUMNS, (*words, self.fault or "", self.message, rfc3339(self.at_ms)), strict=True))


def jobs(text: str, known: Iterable[Job]) -> list[Job]:
    """Read a list of touchpoints, each with a tag to write. Raises BatchError naming every line that is wrong."""
    try:
        rows = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), delimiter=_delimiter(text), strict=True)
        read = [(rows.line_num, row) for row in rows]
    except csv.Error as error:
        raise BatchError(_("The list is no CSV: {wrong}.").format(wrong=error)) from None
    if "touchpoint" not in (rows.fieldnames or ()):
        wrong = _("The list has no column touchpoint: its first line names the columns, touchpoint and answer.")
        raise BatchError(wrong)
    found, problems = _matched(read, list(known))
    if problems:
        raise BatchError("\n".join(problems[:MOST_PROBLEMS]))
    if not found:
        raise BatchError(_("The list is empty: write a line for each tag, with its touchpoint."))
    return found


def _delimiter(text: str) -> str:
    first = text.partition("\n")[0]
    return ";" if ";" in first else ","


def _matched(read: "list[tuple[int, dict[str, Any]]]", known: Sequence[Job]) -> tuple[list[Job], list[str]]:
    """Return the jobs of rows, and what is wrong with other rows."""
    found: dict[Job, int] = {}
    problems = []
    for line, row in read:
        touchpoint, answer = (row.get("touchpoint") or "").strip(), (row.get("answer") or "").strip() or None
        fitting = [each for each in known if each.touchpoint == touchpoint and answer in {None, each.answer}]
        wrong = _wrong(row, touchpoint, fitting, found)
        if wrong is None:
            found[fitting[0]] = line
        else:
            problems.append(_("line {line}: {wrong}").format(line=line, wrong=wrong))
    return list(found), problems


def _wrong(row: dict[str, Any], touchpoint: str, fitting: list[Job], found: dict[Job, int]) -> str | None:
    if None in row or None in row.values():
        return _("it has more or fewer fields than the first line")
    if not fitting:
        return _("{id} is no touchpoint, is retired, or has no link: touchpoint touchpoints list").format(
            id=touchpoint or "?"
        )
    if len(fitting) > 1:
        answers = ", ".join(each.answer or "" for each in fitting)
        return _("{id} has several links: say which answer, {answers}").format(id=touchpoint, answers=answers)
    if fitting[0] in found:
        return _("{id} stands in line {line} already").format(id=fitting[0].title, line=found[fitting[0]])
    return None


class Results:
    """The CSV of what became of each tag. Raises OSError, BatchError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        whole = path.read_bytes() if path.exists() else b""
        self.finished = _finished(whole[: whole.rfind(b"\n") + 1], path)
        self._file = path.open("ab")
        self._file.truncate(whole.rfind(b"\n") + 1)
        if not self._file.tell():
            self._append(COLUMNS)

    def add(self, result: Result) -> None:
        """Add what became of a tag; on the disk when this returns."""
        self._append(result.row().values())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, fields: Iterable[str]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(fields)
        self._file.write(line.getvalue().encode())
        self._file.flush()
        os.fsync(self._file.fileno())


def _finished(content: bytes, path: Path) -> set[tuple[str, str]]:
    """Return touchpoints and answers that have their tag. Raises BatchError when this is no such file."""
    try:
        names, *rows = list(csv.reader(io.StringIO(content.decode()), strict=True)) or [list(COLUMNS)]
        results = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    except (csv.Error, ValueError):
        names, results = [], []
    if tuple(names) != COLUMNS:
        wrong = _("{file} holds no results of a batch: choose another file with --out.")
        raise BatchError(wrong.format(file=path))
    return {(each["touchpoint"], each["answer"]) for each in results if not each["fault"] and each["state"] in USED}


@dataclass(slots=True)
class Batch:
    """The way through a batch. `told` hears of each tag what became of it, `asked` of which one is wanted next."""

    bench: Bench
    writer: Writer
    add: Callable[[Result], None]
    asked: Callable[[Job, int], None]
    told: Callable[[Result], None]
    _torn: tuple[str, Job] | None = field(default=None)
    """The tag that should be put back, and what it was to carry."""

    def run(self, wanted: Sequence[Job]) -> None:
        """Write a tag for each. Raises StoppedError, sqlite3.Error, OSError of the results."""
        for number, job in enumerate(wanted, 1):
            while True:
                self.asked(job, number)
                finished = self.one(job)
                self.bench.wait_until_gone()
                if finished is not None:
                    break

    def one(self, job: Job) -> Entry | None:
        """Write the next tag that comes, and return what is known of it then; None if that failed."""
        try:
            entry = self.bench.meet(lambda tag: self._write(tag, job))
        except TagError as error:
            if error.fault in AGAIN and self.writer.met is not None:
                self._torn = (self.writer.met, job)
            self._say(Result(job, "", "failed", error.fault, str(error), self.writer.now_ms()))
            return None
        self._torn = None
        self._say(Result(job, entry.chip, entry.state, None, "", entry.at_ms))
        return entry

    def _write(self, tag: Any, job: Job) -> Entry:  # noqa: ANN401 -- nfcpy has no types
        torn, name = self._torn, self.writer.secret.name(bytes(tag.identifier))
        if torn is not None and torn[0] != name:
            self._torn = None
            self._give_up(*torn)
        return self.writer.write(tag, job)

    def _give_up(self, tag: str, job: Job) -> None:
        """Name a tag that was taken away half done, since another one came instead."""
        entry = self.writer.lost(tag)
        if entry is not None:
            text = _(
                "The tag that was taken away half done has not come back: it counts as lost, and can be written anew."
            )
            self._say(Result(job, entry.chip, entry.state, Fault.MOVED, text, entry.at_ms))

    def _say(self, result: Result) -> None:
        self.add(result)
        self.told(result)
