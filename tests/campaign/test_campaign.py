"""The campaign in short: a trial of each kind, a few strikes each, none without an accepted event at stake."""

from pathlib import Path

import pytest

from tests.campaign.faults import KINDS
from tests.campaign.installation import prepare
from tests.campaign.verdict import judge

STRIKES = 2


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("campaign") / "prepared"
    directory.mkdir()
    prepare(directory)
    return directory


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_accepted_is_lost_or_counts_twice(kind: str, prepared: Path) -> None:
    """Whatever fails: each event that was accepted arrives once, unchanged, in order; both sides' numbers agree."""
    verdict = judge(kind, 1, prepared, STRIKES)
    assert verdict.good, verdict
    assert verdict.hits == verdict.faults >= STRIKES, verdict
