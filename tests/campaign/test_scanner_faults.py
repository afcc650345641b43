"""The campaign of scanner faults in short: each fault once, healed within five seconds, with nothing left behind."""

import pytest

from tests.campaign.scanner_faults import FAULTS, trial


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_scanner_heals_by_itself(fault: str) -> None:
    """After a fault the reader scans again, and no code comes out that was not shown."""
    assert await trial(fault, rounds=1, seed=1, longest=0.3)
