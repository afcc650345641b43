"""What people read: each kind of event in plain words, on a screen and as lines."""

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from gateway.core.sighting import Scan, Sighting
from gateway.demo.boutique import REGISTRY, SALON
from gateway.demo.day import Act, Step
from gateway.demo.report import Arrived, Numbers, Report
from gateway.demo.show import NAMES, Lines, Screen, Silent, named, screen, summary, verdict, words

SUBJECT = {"pseudonym": "tp1.2026Q4.abcdefghijklmnopqrstuv", "attribution": "direct"}
REPORT = Report(
    seed=3,
    seconds=20,
    broker="a broker",
    shown=100,
    numbers=Numbers(100, 20, 10, {"unknown": 70}, 11, 9, 2, 0, 0),
    arrived=Arrived(received=9, subjects=4, gaps={"withdrawn": 2}),
    search_proven=True,
)


def event(kind: str, **data: object) -> dict[str, Any]:
    return {"type": f"touchpoint.{kind}.v1", "data": data}


TAP = event("tap", touchpoint={"id": "diver"}, subject=SUBJECT)


def console(width: int = 120) -> Console:
    return Console(file=io.StringIO(), width=width, height=40, force_terminal=True, color_system=None)


def printed(shown: Console) -> str:
    assert isinstance(shown.file, io.StringIO)
    return shown.file.getvalue()


@pytest.mark.parametrize(
    ("arrived", "said"),
    [
        (TAP, "tap of the Diver 200, by tp1.2026Q4.abcde..."),
        (event("scan", touchpoint={"id": "elsewhere"}, subject=None), "scan of elsewhere, by somebody"),
        (
            event("response", touchpoint={"id": "farewell"}, value="smile", subject=None),
            "answer at the feedback point at the door: smile, by somebody",
        ),
        (event("beacon-health", touchpoint={"id": "door-beacon"}), "health of the beacon at the door"),
        (event("appeared", zone="salon", subject=SUBJECT), "someone came to the salon, by tp1.2026Q4.abcde..."),
        (
            event("disappeared", zone="salon", dwell=5.8, subject=SUBJECT),
            "someone left the salon after 6 s, by tp1.2026Q4.abcde...",
        ),
        (event("gap", reason="withdrawn", through=None), "withdrawn: an event of which only the number is left"),
    ],
)
def test_every_event_has_words(arrived: dict[str, Any], said: str) -> None:
    """Who looks on learns what the brand learns, and no more."""
    assert words(arrived) == said


def test_every_place_of_the_boutique_has_a_name() -> None:
    """The registry's names are shown, in words that can be translated."""
    registered = {row.split(",")[0]: row.split(",")[2] for row in REGISTRY.splitlines()[1:]}
    assert {SALON: "the salon", **registered} == NAMES


def test_knows_who_is_named() -> None:
    """An event with a subject names a customer."""
    assert named(TAP)
    assert not named(event("tap", touchpoint={"id": "diver"}, subject=None))


def act(show: Lines | Screen | Silent) -> None:
    """Show a bit of everything."""
    show.opened("a broker", 20, 3)
    show.happened(Step(1, "Somebody pulls the plug.", act=Act.UNPLUG))
    show.happened(Step(2, "A visitor [scans].", Sighting("counter-scanner", Scan("secret"))))
    show.counted(Numbers(sightings=100, dropped={"unknown": 70}, appended=11, waiting=3))
    show.arrived(Arrived(received=1, subjects=1), [TAP])


def test_lines_say_one_thing_after_the_other() -> None:
    """Without a terminal there is a line for everything that happens, in order, and nothing of what was scanned."""
    shown = console()
    act(Lines(shown))
    assert printed(shown).splitlines() == [
        "A boutique, its gateway and a real broker: a broker; 20 seconds, seed 3.",
        "store   Somebody pulls the plug.",
        "store   A visitor [scans].",
        "centre  tap of the Diver 200, by tp1.2026Q4.abcde...",
    ]


@pytest.mark.parametrize("width", [120, 80])
def test_the_screen_shows_store_centre_line_and_numbers(width: int) -> None:
    """Both panels, the state of the line and the counters are on the screen, on a narrow terminal too."""
    shown = console(width)
    with Screen(shown) as show:
        act(show)
    text = printed(shown)
    for part in (
        "In the store",
        "What arrives at the centre",
        "A visitor [scans].",
        "tap of the Diver 200",
        "UNPLUGGED, 3 events wait on disk",
        "100 readings, 70 forgotten at once",
    ):
        assert part in text
    assert "secret" not in text


def test_the_screen_says_that_the_line_is_back() -> None:
    """Plugged in again, it says so."""
    shown = console()
    with Screen(shown) as show:
        act(show)
        show.happened(Step(3, "The plug is back.", act=Act.PLUG))
    assert "line: plugged in" in printed(shown)


def test_silence_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    """For scripts nothing is shown but the result."""
    act(Silent())
    assert capsys.readouterr() == ("", "")


def test_without_a_terminal_there_are_lines() -> None:
    """Standard output that is no terminal gets lines."""
    with screen() as show:
        assert isinstance(show, Lines)


def test_the_summary_holds_both_balances() -> None:
    """The numbers stand in sentences that add up."""
    shown = console()
    shown.print(summary(REPORT))
    assert "= 20 repetitions + 10 of use + 70 forgotten at once (70 unknown)" in printed(shown)
    assert "= 9 delivered + 2 withdrawn + 0 evicted + 0 waiting" in printed(shown)


def test_the_last_word_is_clear() -> None:
    """All well, or each thing that is not."""
    assert verdict(REPORT).plain == "All of it adds up."
    bad = replace(REPORT, arrived=replace(REPORT.arrived, duplicates=1))
    assert verdict(bad).plain == "This does not add up:\n  1 events arrived more than once"
