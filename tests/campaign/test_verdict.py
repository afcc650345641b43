"""The judge itself: a loss, a double, a swap or a change that it did not see would make every campaign a good one."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.campaign.centre import Stored
from tests.campaign.installation import POINTS
from tests.campaign.table import lines
from tests.campaign.verdict import Verdict, balances, changed, lost, reordered, twice, upper_bound
from tests.campaign.witness import Witness


def stored(sequence: int, scan: int, *, through: int | None = None, changes: int = 0) -> Stored:
    text = json.dumps({"data": {"reader": "scanner-0", "touchpoint": {"id": f"p-{scan % POINTS}"}}})
    return Stored(sequence, through or sequence, text, changes, changes)


def verdict(**numbers: Any) -> dict[str, Any]:  # noqa: ANN401  # fields of a Verdict
    fields = dict.fromkeys(
        ("faults", "hits", "exposed", "in_hand", "accepted", "lost", "twice", "reordered", "changed", "copies"), 0
    )
    return Verdict(kind="both", seed=0, delivery="receipt", seconds=1.0, **{**fields, **numbers}).as_json()


def test_what_did_not_arrive_is_lost_unless_a_gap_explains_it() -> None:
    """At the start, in the middle and at the end; a gap stands for all that it names."""
    assert lost(5, [stored(2, 0), stored(4, 1)]) == 3
    assert lost(5, [stored(1, 0), stored(2, 1, through=4), stored(5, 2)]) == 0


def test_scans_go_up_at_each_reader() -> None:
    """A number left out was never accepted; the same again, or an earlier one, is a scan that counted twice."""
    assert twice([stored(1, 0), stored(2, 500), stored(3, 1300), stored(4, POINTS), stored(5, POINTS + 1)]) == 0
    assert twice([stored(1, 0), stored(2, POINTS - 1)]) == 1
    assert twice([stored(1, 3), stored(2, 3)]) == 1
    assert twice([stored(1, 3), stored(2, 4), stored(3, 3)]) == 1


def test_arrival_is_in_order() -> None:
    """An event that comes after a later one is out of order."""
    assert reordered([1, 2, 3, 7]) == 0
    assert reordered([1, 3, 2, 4]) == 1


def test_bytes_stay_the_same() -> None:
    """From the outbox to the centre, and from copy to copy; a row trimmed before it was seen is not compared."""
    witness = Witness(Path(), texts={1: stored(1, 1).text, 2: "other"})
    assert changed(witness, [stored(1, 1), stored(3, 3)]) == 0
    assert changed(witness, [stored(2, 2), stored(3, 3, changes=1)]) == 2


def test_the_gateway_must_agree_with_the_witness() -> None:
    """Its own check must pass, and appended and delivered be what was accepted."""
    verified = {"ok": True, "problems": [], "appended": 7, "delivered": 7}
    assert balances(verified, 7) == []
    assert balances(verified, 8)
    assert balances({**verified, "ok": False, "problems": ["a hole"]}, 7) == ["a hole"]


@pytest.mark.parametrize("wrong", [{"lost": 1}, {"twice": 1}, {"reordered": 1}, {"changed": 1}, {"problems": ["x"]}])
def test_anything_wrong_makes_a_trial_bad(wrong: dict[str, Any]) -> None:
    """Each single number, and each problem; the table counts the trial as bad."""
    assert verdict()["good"]
    assert not verdict(**wrong)["good"]
    assert lines([verdict(), verdict(**wrong)])[1].split()[-1] == "1"


def test_the_table_claims_no_more_than_it_saw() -> None:
    """Nothing seen is no proof of nothing: three divided by the trials (rule of three); a loss is said first."""
    assert upper_bound(300) == 0.01
    assert "fewer than 1.00%" in lines([verdict(faults=300, hits=300, accepted=3000)])[-1]
    assert lines([verdict(lost=2, accepted=10)])[-1] == "2 of 10 accepted events were lost."
