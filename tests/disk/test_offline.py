"""A month offline: memory stays where it is, the outbox within its limit, and every event that went has its gap."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.disk.conftest import verified
from tests.disk.month import DAYS, EVENTS

MIB = 1 << 20
SETTLED = 12
"""By this day the outbox is full, and everything that is remembered has been."""
GROWTH = MIB


@pytest.mark.timeout(180)
def test_a_month_offline_takes_no_more_memory_than_a_few_days(directory: Path) -> None:
    """Sixty thousand events and as many strangers: no slope, and the configured limit of 16 MB holds on the disk."""
    root = Path(__file__).parent.parent.parent
    ran = subprocess.run(
        [sys.executable, "-m", "tests.disk.month", str(directory)], capture_output=True, text=True, check=True, cwd=root
    )
    resident = [int(line) for line in ran.stdout.split()]
    assert len(resident) == DAYS
    assert max(resident[SETTLED:]) - resident[SETTLED] < GROWTH
    assert (directory / "s" / "capture.db").stat().st_size < 16 * MIB * 1.1
    numbers = verified(directory / "s").numbers
    assert numbers["appended"] == DAYS * EVENTS == numbers["evicted"] + numbers["waiting"]
    assert numbers["evicted"] > 0
