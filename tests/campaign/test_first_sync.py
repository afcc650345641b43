"""A first fetch in small: the whole chain of `python -m tests.campaign.first_sync`, with 2,000 records."""

from pathlib import Path

import pytest

from tests.campaign.first_sync import measure

RECORDS = 2_000
SECONDS = 60
MIB = 1024


@pytest.mark.timeout(180)
def test_a_first_fetch_is_quick_and_small_and_keeps_nobody_waiting(directory: Path) -> None:
    """The set is confirmed within the minute, memory hardly grows, and scans are committed meanwhile."""
    sync = measure(directory, RECORDS)
    assert sync.seconds < SECONDS
    assert sync.rss_after_kib - sync.rss_before_kib < 32 * MIB
    assert sync.scan_ms
    assert max(sync.scan_ms) < 5_000, "every scan was committed"
