"""Cues as they are read: by the clock, and by whoever signed them. What is never shown: tests/cli/test_cues.py."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.core.downlink import Cue
from gateway.core.jws import Use
from gateway.core.sighting import ClockQuality, Moment
from gateway.store.cues import AHEAD_MS, Cues
from gateway.store.database import open_writer
from gateway.store.schema import UPLINK
from tests.simulators.centre_keys import CENTRE

NOW = Moment(0, 1_795_400_000_000, ClockQuality.SYNCED)


def later(ms: int) -> Moment:
    """Return an instant after now."""
    return replace(NOW, wall_ms=NOW.wall_ms + ms)


def keep(directory: Path, number: int, *, issued_ms: int = 0, expires_ms: int = 60_000) -> None:
    """Keep a cue for the vitrine, as the uplink half does."""
    issued, expires = (datetime.fromtimestamp((NOW.wall_ms + ms) / 1000, UTC) for ms in (issued_ms, expires_ms))
    cue = Cue(id=f"c{number}", touchpoint="vitrine", issued=issued, expires=expires, title="t", body="b")
    with closing(open_writer(directory, UPLINK)) as database:
        row = ("vitrine", cue.id, NOW.wall_ms + expires_ms, CENTRE.sign(cue.model_dump_json().encode()))
        database.execute("INSERT OR REPLACE INTO cue (touchpoint, id, expires_ms, jws) VALUES (?, ?, ?, ?)", row)


@pytest.fixture
def cues(tmp_path: Path) -> Iterator[Cues]:
    """A reader that believes the centre."""
    with closing(Cues(tmp_path, issuers=CENTRE.believed(Use.CUE))) as reader:
        yield reader


def test_before_there_is_a_file(cues: Cues) -> None:
    """Nothing, and no error."""
    assert cues.new(NOW) == []


def test_a_cue_is_told_once(cues: Cues, tmp_path: Path) -> None:
    """However often one looks; and not again when it comes again after it was gone."""
    keep(tmp_path, 1)
    assert [cue.id for cue in cues.new(NOW)] == ["c1"]
    assert cues.new(NOW) == []
    with closing(open_writer(tmp_path, UPLINK)) as database:
        database.execute("DELETE FROM cue")
    assert cues.new(NOW) == []
    keep(tmp_path, 1)
    assert cues.new(NOW) == []


def test_it_expires(cues: Cues, tmp_path: Path) -> None:
    """At the very millisecond."""
    keep(tmp_path, 1)
    assert cues.new(later(60_000)) == []
    keep(tmp_path, 2)
    assert [cue.id for cue in cues.new(later(59_999))] == ["c2"]


def test_without_a_clock_nothing_is_told(cues: Cues, tmp_path: Path) -> None:
    """Nobody knows what has expired; once it is synced, what is in force is told."""
    keep(tmp_path, 1)
    assert cues.new(replace(NOW, quality=ClockQuality.UNSYNCED)) == []
    assert [cue.id for cue in cues.new(replace(NOW, quality=ClockQuality.HOLDOVER))] == ["c1"]


def test_its_time_may_come(cues: Cues, tmp_path: Path) -> None:
    """What was issued more than five minutes from now waits."""
    keep(tmp_path, 1, issued_ms=AHEAD_MS + 1, expires_ms=AHEAD_MS + 2)
    assert cues.new(NOW) == []
    assert [cue.id for cue in cues.new(later(1))] == ["c1"]
    assert not cues.refused


def test_an_older_one_does_not_come_back(cues: Cues, tmp_path: Path) -> None:
    """Whoever can write the file can put back what was replaced; a display does not go back."""
    keep(tmp_path, 2)
    assert [cue.id for cue in cues.new(NOW)] == ["c2"]
    keep(tmp_path, 1, issued_ms=-1)
    assert cues.new(NOW) == []
    keep(tmp_path, 3)
    assert [cue.id for cue in cues.new(NOW)] == ["c3"]


def test_another_use_is_no_cue(tmp_path: Path) -> None:
    """Somebody who may only sign consents tells displays nothing; each message counts once."""
    keep(tmp_path, 1)
    with closing(Cues(tmp_path, issuers=CENTRE.believed(Use.CONSENT))) as cues:
        assert cues.new(NOW) == cues.new(NOW) == []
        assert cues.refused == {"its issuer may not sign a cue": 1}
