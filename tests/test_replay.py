"""Recorded sightings through the same path: the same events, byte for byte, and nothing of it near the live state."""

import json
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest

from gateway.config import Settings, load
from gateway.core import pseudonym
from gateway.core.event import Event, EventType
from gateway.core.registry import Touchpoint
from gateway.core.sighting import Sighting
from gateway.replay import Replay, at_once, real_time
from gateway.sources import recording
from gateway.sources.recording import ClockStep, Condition, Recorded
from gateway.store import ledger, touchpoints
from gateway.store.backlog import Backlog
from gateway.store.database import HeldError, StoreError, only_one, open_writer, transaction
from gateway.store.device import leave_public
from gateway.store.schema import CAPTURE
from gateway.store.verify import verify
from tests.core import salon
from tests.core.salon import ANNA, CLARA, GTIN_LINK, MORNING_MS, RING, present, scan, tap
from tests.simulators.centre_keys import GATEWAY
from tests.store.conftest import consent, signed

CONFIGURATION = """
[gateway]
tenant = "acme"
site = "zrh-1"
id = "gw-1"
state = "./state"
[mqtt]
host = "127.0.0.1"
[pseudonym]
keys = "./keys.json"
[[reader]]
name = "scanner"
kind = "scanner"
device = "/none"
touchpoint = "counter"
[[reader]]
name = "nfc"
kind = "nfc"
touchpoint = "counter"
[[reader]]
name = "salon"
kind = "ble"
zone = "salon"
[[bearer]]
kind = "link"
prefix = "https://id.acme.example/m/"
[[bearer]]
kind = "ibeacon"
prefix = "a495bb10-c5b1-4b44-b512-1370f02d74de/"
low_entropy = true
"""
DAY = (
    (1.0, present(ANNA)),
    (5.0, scan(GTIN_LINK)),
    (9.0, tap()),
    (12.5, scan("good")),
    *((20 + at, salon.customer_beacon()) for at in (0, 0.5, 1, 1.5, 2)),
    (45.0, scan(GTIN_LINK)),
)


@pytest.fixture
def settings(directory: Path) -> Settings:
    """A store in which Anna and Clara have consented, with a registry and no gateway running."""
    (directory / "gateway.toml").write_text(CONFIGURATION, encoding="utf-8")
    (directory / "keys.json").write_text(RING.to_json(), encoding="utf-8")
    (directory / "state").mkdir()
    (directory / "replayed").mkdir()
    leave_public(directory / "state", GATEWAY.key.public_key())
    with closing(open_writer(directory / "state", CAPTURE)) as database, transaction(database):
        touchpoints.replace(database, salon.TOUCHPOINTS)
        for number, token in enumerate((ANNA, CLARA)):
            given = consent(f"r{number}", pseudonym.handle(RING, token))
            ledger.put(database, given, signed(given))
    return load(directory / "gateway.toml")


def recorded(directory: Path, sightings: Iterable[tuple[float, Sighting]], *others: str) -> Path:
    path = directory / "day.jsonl"
    lines = [recording.format(Recorded(at, sighting)) for at, sighting in sightings]
    path.write_text("\n".join([*lines, *others, ""]), encoding="utf-8")
    return path


def replay(settings: Settings, path: Path, state: str = "replayed", **changes: int) -> Replay:
    """Play a recording as fast as it goes into a directory, and look the outbox through."""
    into = settings.gateway.state.parent / state
    into.mkdir(exist_ok=True)
    played = Replay(settings, path, into, changes.get("start_ms", MORNING_MS), at_once, changes.get("together", 500))
    played.run()
    with closing(Backlog(into)) as backlog:
        assert verify(backlog).problems == []
    return played


def texts(played: Replay) -> list[str]:
    with closing(Backlog(played.state)) as backlog:
        return [row.event for row in backlog.rows(0, 100_000, 1 << 30)]


def events(played: Replay) -> list[Event]:
    return [Event.model_validate_json(text) for text in texts(played)]


def test_the_same_recording_from_the_same_start_gives_the_same_bytes(settings: Settings, directory: Path) -> None:
    """Sequences, ids, times and pseudonyms too, however many sightings share a commit."""
    path = recorded(directory, DAY)
    first, second = replay(settings, path), replay(settings, path, "again", together=1)
    assert texts(first) == texts(second)
    assert len(texts(first)) == 7
    later = replay(settings, path, "later", start_ms=MORNING_MS + 1)
    assert not set(texts(later)) & set(texts(first))


def test_what_is_replayed_took_the_path(settings: Settings, directory: Path) -> None:
    """Visits, presence and feedback, with the consents and touchpoints of the live store, at the recording's times."""
    played = events(replay(settings, recorded(directory, DAY)))
    assert [(event.kind, event.time[14:]) for event in played] == [
        (EventType.SCAN, "00:01.000Z"),
        (EventType.SCAN, "00:05.000Z"),
        (EventType.TAP, "00:09.000Z"),
        (EventType.RESPONSE, "00:12.500Z"),
        (EventType.APPEARED, "00:21.000Z"),
        (EventType.DISAPPEARED, "00:32.000Z"),
        (EventType.SCAN, "00:45.000Z"),
    ]
    subjects = [json.loads(event.model_dump_json())["data"]["subject"] for event in played]
    assert [subject and subject["attribution"] for subject in subjects] == [
        "direct", "visit", None, "visit", "direct", "direct", None,
    ]  # fmt: skip


def test_nobody_leaves_while_a_reader_was_down(settings: Settings, directory: Path) -> None:
    """What is not heard meanwhile is no departure; afterwards silence counts anew."""
    down, up = (recording.format(Condition(at, "salon", up=at > 30)) for at in (25.0, 300.0))
    played = replay(settings, recorded(directory, DAY[4:9], down, up, recording.format(Recorded(400.0, scan("good")))))
    assert [(event.kind, event.time[14:]) for event in events(played)][:2] == [
        (EventType.APPEARED, "00:21.000Z"),
        (EventType.DISAPPEARED, "05:10.000Z"),
    ]
    assert played.counts["sightings"] == 6


def test_a_clock_that_was_set_changes_times_and_no_duration(settings: Settings, directory: Path) -> None:
    """Events bear the wall clock as it was; a stay lasts as long as it did."""
    step = recording.format(ClockStep(25.0, 3_000.0))
    played = events(replay(settings, recorded(directory, DAY[4:9], step, recording.format(Recorded(60, scan("good"))))))
    assert [event.time[14:] for event in played] == ["00:21.000Z", "50:32.000Z", "51:00.000Z"]
    assert json.loads(played[1].model_dump_json())["data"]["dwell"] == 2.0


def test_the_live_outbox_is_only_read(settings: Settings, directory: Path) -> None:
    """Not a byte of it changes, and nothing waits to be written into it."""
    live = settings.gateway.state
    before = (live / "capture.db").read_bytes()
    replay(settings, recorded(directory, DAY))
    assert (live / "capture.db").read_bytes() == before
    assert {path.name for path in live.iterdir()} <= {"capture.db", "capture.db-shm", "capture.db-wal", "device.pub"}
    assert all(path.read_bytes() == b"" for path in live.glob("*-wal"))


def test_nothing_raw_is_written(settings: Settings, directory: Path) -> None:
    """Neither a token nor an address of the recording, in the replay's own files."""
    played = replay(settings, recorded(directory, DAY))
    written = b"".join(path.read_bytes() for path in played.state.iterdir())
    assert b"vitrine-3" in written
    for raw in (ANNA.value, CLARA.value, "C4:00:00:00:00:07", "04a2b3c4d5e680"):
        assert raw.encode() not in written


def test_every_line_ends_as_a_number(settings: Settings, directory: Path) -> None:
    """A reader that the configuration does not know, a line that is none: counted, and the rest is played."""
    strangers = [recording.format(Recorded(2.0, scan("good", reader="elsewhere")))]
    path = recorded(directory, [(1.0, scan("good"))], *strangers, "{", "[]", '{"at": 1e300, "reader": "nfc"}', "\x00")
    played = replay(settings, path)
    expected = {"sightings": 6, "acted_on": 1, "dropped:no-such-reader": 1, "dropped:malformed": 4}
    assert dict(played.counts) == expected
    with closing(Backlog(played.state)) as backlog:
        assert backlog.tallies() == {**expected, "appended": 1}


@pytest.mark.parametrize("at", ["1e300", "1e12", "9e9"])
def test_a_time_that_no_recording_lasts_is_malformed(settings: Settings, directory: Path, at: str) -> None:
    """Beyond what a clock can count; the rest is played."""
    line = recording.format(Recorded(0, scan("good"))).replace('"at": 0', f'"at": {at}')
    played = replay(settings, recorded(directory, [], line, recording.format(Recorded(3, scan("bad")))))
    assert dict(played.counts) == {"sightings": 2, "dropped:malformed": 1, "acted_on": 1}


def test_lines_out_of_order_are_played_all_the_same(settings: Settings, directory: Path) -> None:
    """Time does not run backwards for that: the late line comes when it is read."""
    played = replay(settings, recorded(directory, [(60.0, scan("good")), (1.0, present(ANNA)), (2.0, scan("bad"))]))
    assert [event.time[14:] for event in events(played)] == ["01:00.000Z"] * 3


def test_bytes_that_are_no_text_are_a_malformed_line(settings: Settings, directory: Path) -> None:
    """A damaged recording is played as far as it can be."""
    path = recorded(directory, [(1.0, scan("good"))])
    path.write_bytes(b"\xff\xfe\x00\n" + path.read_bytes())
    assert dict(replay(settings, path).counts) == {"sightings": 2, "dropped:malformed": 1, "acted_on": 1}


def test_an_outbox_is_replayed_into_once(settings: Settings, directory: Path) -> None:
    """Two recordings in one outbox would be neither; the message says what to do."""
    path = recorded(directory, DAY)
    before = texts(replay(settings, path))
    with pytest.raises(StoreError, match=r"holds a session already\. Name a new directory"):
        replay(settings, path)
    with closing(Backlog(directory / "replayed")) as backlog:
        assert [row.event for row in backlog.rows(0, 100, 1 << 30)] == before


def test_a_state_directory_in_use_is_not_replayed_into(settings: Settings, directory: Path) -> None:
    """Least of all the live one of a running gateway."""
    with only_one(directory / "replayed", "capture"), pytest.raises(HeldError):
        replay(settings, recorded(directory, DAY))


def test_without_a_live_store_nothing_is_known(settings: Settings, directory: Path) -> None:
    """No registry and no consent: what is scanned is unknown, and a token names nobody."""
    (settings.gateway.state / "capture.db").unlink()
    played = replay(settings, recorded(directory, [(1.0, scan(GTIN_LINK)), (2.0, present(ANNA))]))
    assert dict(played.counts) == {"sightings": 2, "dropped:unknown": 1, "acted_on": 1}
    assert json.loads(texts(played)[0])["data"]["subject"] is None


def test_the_pace_is_asked_for_every_instant_in_order(settings: Settings, directory: Path) -> None:
    """Each sighting's time, and in between whatever happens by itself."""
    paced: list[float] = []
    Replay(
        settings, recorded(directory, [*DAY[4:9], (60.0, scan("good"))]), directory / "replayed", 0, paced.append
    ).run()
    assert paced == sorted(paced)
    assert {20.0, 22.0, 32.0, 60.0} <= set(paced)


def test_real_time_takes_as_long_as_the_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    """It sleeps until each instant from its own start, and not at all when it is late."""
    now, slept = [100.0], list[float]()
    monkeypatch.setattr("gateway.replay.time.monotonic", lambda: now[0])
    monkeypatch.setattr("gateway.replay.time.sleep", slept.append)
    pace = real_time()
    pace(0.25)
    now[0] = 105.0
    pace(3.0)
    pace(7.0)
    assert slept == [0.25, 0.0, 2.0]


def test_the_touchpoints_are_those_of_the_store(settings: Settings, directory: Path) -> None:
    """What was imported into the live registry is what a recording is read with."""
    with closing(open_writer(settings.gateway.state, CAPTURE)) as database, transaction(database):
        touchpoints.replace(database, [Touchpoint("new", "display", "New", identifiers=("text:new",))])
    played = replay(settings, recorded(directory, [(1.0, scan("new"))]))
    assert json.loads(texts(played)[0])["data"]["touchpoint"]["id"] == "new"
