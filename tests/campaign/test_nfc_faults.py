"""The campaign of NFC faults in short: each fault once, healed within five seconds, with nothing left behind."""

import pytest

from tests.campaign.nfc_faults import FAULTS, trial


@pytest.mark.parametrize("fault", FAULTS)
async def test_an_nfc_reader_heals_by_itself(fault: str) -> None:
    """After a fault the reader reads again, and no tag comes out that was not there."""
    assert await trial(fault, rounds=1, seed=1, longest=0.3)
