"""A small day of `make privacy`: who comes, and what is found of them in the files and on the line."""

from pathlib import Path
from random import Random

import pytest

from gateway.bytesearch import Needles, spellings
from tests.privacy.day import People, live, prove, search, written

TRACE = """12 openat(AT_FDCWD</tmp/x>, "a", O_RDONLY|O_CLOEXEC) = 3</tmp/x/a>
12 openat(AT_FDCWD</tmp/x>, "b", O_RDWR|O_CREAT, 0644) = 4</tmp/x/b>
13 openat(AT_FDCWD</tmp/x>, "resumed", O_WRONLY <unfinished ...>
15 openat(AT_FDCWD</tmp/x>, "read", O_RDONLY <unfinished ...>
13 <... openat resumed>) = 5</tmp/x/resumed>
15 <... openat resumed>) = 5</tmp/x/read>
13 openat(AT_FDCWD</tmp/x>, "c", O_WRONLY) = -1 EACCES (Permission denied)
13 creat("/tmp/x/d", 0644) = 5</tmp/x/d>
14 rename("/tmp/x/e.new", "/tmp/x/e") = 0
14 openat(AT_FDCWD</tmp/x>, "/dev/null", O_RDWR) = 6</dev/null>
14 openat(AT_FDCWD</tmp/x>, "f", O_RDWR) = 6</tmp/x/f (deleted)>
"""


def test_every_file_opened_for_writing_is_found_in_a_trace(tmp_path: Path) -> None:
    """Opened, made, renamed or deleted since: all but devices, also by a call that was interrupted."""
    (tmp_path / "trace").write_text(TRACE, encoding="utf-8")
    names = {"b", "d", "e", "e.new", "f", "resumed"}
    assert written(tmp_path / "trace") == {f"/tmp/x/{name}" for name in names}  # noqa: S108  # in a text


def test_a_secret_of_each_kind_is_found_in_each_spelling() -> None:
    """Raw, hex, colon hex, reversed, base64, base64url, UTF-16, percent-encoding: the search can find them all."""
    secrets = People.of(7, 2, 12).secrets()
    assert prove(Needles(secrets), secrets)
    label, raw = secrets[0]
    assert {"raw", "reversed raw", "lower hex", "upper colon hex", "UTF-16 LE", "percent"} <= spellings(raw).keys()
    data = Random(1).randbytes(5_000)  # noqa: S311  # noise
    assert search(data, Needles(secrets), "noise") == set()
    found = search(data + spellings(raw)["base64 at 1"] + data, Needles(secrets), "noise")
    assert f"{label} in noise, as base64 at 1" in found


@pytest.mark.timeout(170)
def test_nobody_of_a_day_is_in_any_file_or_on_the_line() -> None:
    """Twenty customers, two hundred passers-by, crashes and outages: everything that any process wrote is searched."""
    verdict = live(seed=1, customers=20, passersby=200, seconds=10)
    assert verdict.found == []
    assert verdict.proven
    written_files = {Path(name).name for name in verdict.files}
    expected = {"capture.db", "capture.db-wal", "uplink.db", "mosquitto.db.new", "centre.db-wal", "capture.log", "line"}
    assert expected <= written_files
    unfinished = {"mosquitto.db.new", "capture.db-journal", "uplink.db-journal", "centre.db-journal", "device.new"}
    assert {Path(name).name for name in verdict.gone} <= unfinished
    assert verdict.done["faults"] == 6
    assert verdict.done["with a subject"] > 0
    assert verdict.done["granted"] > 0
    assert verdict.done["withdrawn"] > 0
