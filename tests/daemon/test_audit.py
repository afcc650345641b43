"""What the running capture half writes into its audit log by itself."""

import asyncio
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from gateway.daemon.capture import DAY_MS, audited
from gateway.log import Message, security
from gateway.store import audit, usage
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


async def test_old_numbers_of_the_use_of_touchpoints_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After 400 days, and not before."""
    monkeypatch.setattr("gateway.daemon.capture.PRUNE_SECONDS", 0.01)
    shop = Shop(tmp_path)

    def kept() -> int:
        with closing(sqlite3.connect(tmp_path / CAPTURE.file)) as store:
            return usage.load(store).total()

    async with shop.open() as half:
        today = usage.day_of(shop.clock.now().wall_ms, half.time_zone)
        used = Counter({usage.Use("vitrine-3", today, "tap"): 2})
        await half.writer.commit(lambda outbox: usage.count(outbox.connection, used))
        shop.clock.ahead_s = 399 * 86_400
        async with audited(half, 1_000 * DAY_MS):
            await asyncio.sleep(0)
            assert kept() == 2
            shop.clock.ahead_s = 402 * 86_400
            await until(lambda: kept() == 0)


async def test_a_chain_that_was_changed_is_reported_at_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An entry that was changed while the half was stopped is in the security log; the half works all the same."""
    shop = Shop(tmp_path)
    async with shop.open() as half, audited(half, 400 * DAY_MS):
        pass
    assert not caplog.records
    with closing(sqlite3.connect(tmp_path / CAPTURE.file)) as store, store:
        store.execute("UPDATE audit SET who = 'nobody' WHERE number = 1")
    async with shop.open() as half, audited(half, 400 * DAY_MS):
        (record,) = [each for each in caplog.records if each.name == security.name]
        assert record.getMessage() == "audit log: entry 1 is not what was written, or not after what stands before it"
        assert record.message_id == Message.AUDIT_BROKEN  # type: ignore[attr-defined]  # given as a field
