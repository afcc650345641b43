"""What the running capture half writes into its audit log by itself."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.daemon.capture import DAY_MS, audited
from gateway.store import audit
from gateway.store.database import snapshot
from gateway.store.schema import CAPTURE
from tests.shop import Shop, until


def deeds(directory: Path) -> list[str]:
    with closing(sqlite3.connect(directory / CAPTURE.file)) as store, snapshot(store):
        assert list(audit.problems(store)) == []
        return [entry.what for entry in audit.entries(store)]


async def test_start_and_stop_are_noted_and_old_entries_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it runs, and not only when it starts."""
    monkeypatch.setattr("gateway.daemon.capture.PRUNE_SECONDS", 0.01)
    shop = Shop(tmp_path)
    async with shop.open() as half, audited(half, 400 * DAY_MS):
        await asyncio.sleep(0)
        assert deeds(tmp_path) == ["start"]
        shop.clock.ahead_s = 401 * 86_400
        await until(lambda: deeds(tmp_path) == ["audit-pruned"])
        shop.clock.ahead_s = 0
    assert deeds(tmp_path) == ["audit-pruned", "stop"]
