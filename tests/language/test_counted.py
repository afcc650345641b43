"""Reasons and verdicts have a name for people; counters keep theirs."""

from typing import get_args

from gateway.core import path
from gateway.core.event import Authenticity
from gateway.language import spoken_to
from gateway.language.counted import DROPPED, VERDICTS, called
from gateway.sources.framing import Discarded


def test_every_reason_has_a_name() -> None:
    """Whatever the path or a scanner drops is called something in German, not its counter's name."""
    outcomes = {each.reason for each in vars(path).values() if isinstance(each, path.Outcome) and each.reason}
    assert outcomes | set(Discarded) <= set(DROPPED)
    with spoken_to("de"):
        assert [name for name in (*DROPPED, *VERDICTS) if called(name) == name] == []


def test_every_verdict_has_a_name() -> None:
    """What is believed of a tag."""
    assert set(VERDICTS) == set(get_args(Authenticity))


def test_other_names_stay() -> None:
    """A name that is not known here is shown as it is, and English is the counter's own."""
    with spoken_to("de"):
        assert called("command:expired") == "command:expired"
    assert called("unknown") == "unknown"
