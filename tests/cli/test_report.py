"""`touchpoint touchpoints report`: which touchpoints are used, drawn on a terminal, in numbers elsewhere."""

import csv
import io
import json
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.report import BARS, NONE, bar, periods
from gateway.store.usage import KEPT_DAYS
from tests.cli.test_touchpoints import done, home, refused, used

__all__ = ["home"]

MONDAY = date(2026, 11, 23)
days = st.dates(date(2000, 1, 1), date(2100, 1, 1))


def test_twelve_weeks_unless_asked_otherwise() -> None:
    """From a Monday on; the last week is the one that is under way."""
    wednesday = MONDAY + timedelta(days=2)
    shown = periods(wednesday, None, None)
    assert len(shown) == 12
    assert (shown[-1].first, shown[-1].last) == (MONDAY, MONDAY + timedelta(days=6))
    assert len(periods(wednesday, None, "day")) == 80
    assert len(periods(wednesday, wednesday - timedelta(days=30), None)) == 31
    assert len(periods(wednesday, wednesday - timedelta(days=31), None)) == 6
    assert len(periods(wednesday, wednesday + timedelta(days=9), None)) == 1


@given(days, days | st.none(), st.sampled_from(["day", "week", None]))
def test_periods_cover_every_day_once(today: date, since: date | None, by: str | None) -> None:
    """From the first day asked for, as far as numbers are kept, until today."""
    shown = periods(today, since, by)  # type: ignore[arg-type]  # of the literals
    assert all(before.last + timedelta(days=1) == after.first for before, after in pairwise(shown))
    assert shown[-1].first <= today <= shown[-1].last
    if since is not None and today - timedelta(days=KEPT_DAYS) <= since <= today:
        assert shown[0].first <= since <= shown[0].last


@given(st.integers(1, 10_000), st.integers(0, 10_000))
def test_bars_grow_with_their_numbers(highest: int, number: int) -> None:
    """The highest is full, what was touched at all is seen, and nothing is a dot."""
    number = min(number, highest)
    assert bar(highest, highest) == BARS[-1]
    assert (bar(number, highest) == NONE) == (number == 0)
    assert number == 0 or BARS.index(bar(number, highest)) <= BARS.index(bar(highest, highest))


def test_the_report_has_every_touchpoint(home: Path) -> None:
    """Those that nobody touches above all, and what is in the registry no more; not what is only heard."""
    done("add", "pillar", "--kind", "beacon", "--name", "Pillar", "--identifier", "beacon:pillar")
    for name in "ab":
        done("add", name, "--kind", "display", "--name", name.upper())
    used(home, 0, "a", 4)
    used(home, 1, "a", 2)
    used(home, 1, "gone", 1)
    told = json.loads(done("report", "--by", "day", "--json"))
    assert [(each["id"], each["name"], each["touches"]) for each in told] == [
        ("a", "A", 6),
        ("b", "B", 0),
        ("gone", None, 1),
    ]
    assert [each["tap"] for each in told[0]["periods"][-2:]] == [2, 4]
    rows = list(csv.DictReader(io.StringIO(done("report", "a", "--by", "day", "--csv"))))
    assert sum(int(row["tap"]) for row in rows) == 6
    assert rows[-1]["to"] == told[0]["periods"][-1]["to"]
    since = told[0]["periods"][-1]["from"]
    lines = done("report", "--since", since).splitlines()
    assert lines[0] == f"Touches a day from {since} to {since}."
    assert lines[1].split() == ["a", "4", "4", "A"]
    assert lines[2].split() == ["b", "0", "0", "B"]


def test_bars_on_a_terminal(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One a period, all to the same scale."""
    monkeypatch.setattr("gateway.cli.report._draws", lambda: True)
    for name in "ab":
        done("add", name, "--kind", "display", "--name", name.upper())
    used(home, 0, "a", 8)
    used(home, 0, "b", 1)
    said = done("report").splitlines()
    assert said[1].split() == ["a", "·" * 11 + "█", "8", "A"]
    assert said[2].split() == ["b", "·" * 11 + "▁", "1", "B"]
    assert said[3] == "The highest bar stands for 8."


@pytest.mark.usefixtures("home")
def test_what_cannot_be_reported() -> None:
    """Is said, with what would be right."""
    assert "touchpoints import" in refused("report", code=0)
    assert json.loads(done("report", "--json")) == []
    assert "--since takes a date" in refused("report", "--since", "yesterday", code=2)
    assert "one of --csv and --json" in refused("report", "--csv", "--json", code=2)
    assert "No touchpoint is called x" in refused("report", "x")
