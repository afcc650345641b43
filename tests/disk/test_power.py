"""Power cuts, short form; the long one is `make powercuts N=100`."""

from pathlib import Path

import pytest

from tests.campaign.installation import prepare
from tests.disk.power import judge

CUTS = 5


@pytest.mark.timeout(240)
def test_nothing_accepted_is_lost_in_a_power_cut(tmp_path: Path) -> None:
    """Real halves, a real broker, hundreds of scans a second; all that was accepted arrives, once, in order."""
    prepare(tmp_path)
    verdict = judge(1, tmp_path, CUTS)
    assert verdict.good, verdict.problems
    assert verdict.faults == CUTS
    assert verdict.hits > 0, "no cut struck while anything was at stake"
