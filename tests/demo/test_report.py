"""The report: every number that does not agree is a problem, said in words."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.demo.report import Arrived, Numbers, Report, numbers

GOOD = Report(
    seed=3,
    seconds=20,
    broker="a broker",
    shown=100,
    numbers=Numbers(100, 20, 10, {"unknown": 69, "oversized": 1}, 12, 9, 2, 1, 0),
    arrived=Arrived(received=9, subjects=4, gaps={"withdrawn": 2, "evicted": 1}, types={"touchpoint.tap.v1": 9}),
    search_proven=True,
)


def test_a_good_day_has_no_problems() -> None:
    """When all agrees, nothing is said."""
    assert GOOD.problems() == []


@pytest.mark.parametrize(
    ("part", "change", "problem"),
    [
        (None, {"shown": 101}, "the devices made 101 readings, the gateway counted 100"),
        ("numbers", {"absorbed": 19}, "of 100 sightings 99 are accounted for"),
        ("numbers", {"appended": 13}, "of 13 events 12 are accounted for"),
        ("numbers", {"appended": 13, "waiting": 1}, "1 events still wait"),
        ("arrived", {"received": 8}, "9 events were delivered, 8 arrived"),
        ("arrived", {"received": 10}, "9 events were delivered, 10 arrived"),
        ("arrived", {"gaps": {"withdrawn": 2}}, "3 events were withdrawn or evicted, gaps explain 2"),
        ("arrived", {"subjects": 0}, "no event names a subject"),
        ("arrived", {"holes": 2}, "2 events are missing and nothing explains it"),
        ("arrived", {"duplicates": 1}, "1 events arrived more than once"),
        ("arrived", {"malformed": 1}, "1 messages could not be parsed"),
        (None, {"search_proven": False}, "the search did not find the identifier that was planted for it"),
        (None, {"found": ["Anna's token in x"]}, "a raw identifier was found: Anna's token in x"),
    ],
)
def test_says_what_does_not_agree(part: str | None, change: dict[str, Any], problem: str) -> None:
    """One number that is off is one problem."""
    report = replace(GOOD, **({part: replace(getattr(GOOD, part), **change)} if part else change))
    assert report.problems() == [problem]
    assert report.as_json()["ok"] is False


def test_a_withdrawal_that_withdrew_nothing_is_a_problem() -> None:
    """The day has a withdrawal with events waiting; if none was withdrawn, it did not work."""
    report = replace(
        GOOD,
        numbers=replace(GOOD.numbers, withdrawn=0, delivered=11),
        arrived=replace(GOOD.arrived, received=11, gaps={"evicted": 1}),
    )
    assert report.problems() == ["the withdrawal withdrew no waiting event"]


def test_the_json_has_the_promised_keys() -> None:
    """Scripts find every number under its name."""
    shown = GOOD.as_json()
    promised = [
        "sightings",
        "absorbed",
        "acted_on",
        "dropped",
        "appended",
        "delivered",
        "withdrawn",
        "evicted",
        "waiting",
    ]
    promised += ["received", "holes", "duplicates", "raw_identifiers_found"]
    assert [shown[key] for key in promised] == [
        100,
        20,
        10,
        {"unknown": 69, "oversized": 1},
        12,
        9,
        2,
        1,
        0,
        9,
        0,
        0,
        0,
    ]


def test_what_is_delivered_no_longer_waits() -> None:
    """Rows that are delivered and not yet trimmed count as delivered."""
    counted = numbers(
        {"appended": 5, "delivered": 2, "dropped:unknown": 7, "denied:unknown": 1}, trimmable=2, waiting=3
    )
    assert counted == Numbers(appended=5, delivered=4, waiting=1, dropped={"unknown": 7})
