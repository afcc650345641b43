"""When a half should be started again, and when that would cure nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.watchdog import SILENT_S, STORE_S, THREAD_S, ReaderSigns, Signs, fault

LONG = 10 * max(STORE_S, THREAD_S, SILENT_S)
NOW = 2 * LONG
times = st.one_of(st.none(), st.floats(0, NOW))
readers = st.builds(
    ReaderSigns, name=st.just("salon"), up=st.booleans(), beat_at=times, heard_at=times, has_beacons=st.booleans()
)


def signs(*readers: ReaderSigns, store_at: float = NOW) -> Signs:
    """Return what a half shows, whose store is well."""
    return Signs(NOW, store_at, readers)


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (signs(store_at=NOW - STORE_S - 1), "the store has taken no write for 151 s"),
        (signs(ReaderSigns("nfc", up=True, beat_at=NOW - THREAD_S - 1)), "reader nfc: its driver has not answered"),
        (signs(ReaderSigns("nfc", up=False, beat_at=NOW - THREAD_S - 1)), "reader nfc: its driver has not answered"),
        (
            signs(ReaderSigns("salon", up=True, heard_at=NOW - SILENT_S - 1, has_beacons=True)),
            "reader salon: it has heard nobody for 901 s",
        ),
    ],
)
def test_what_a_new_process_may_cure_is_a_reason(shown: Signs, said: str) -> None:
    """A store that takes no write, a thread that hangs (up or while it opens), a scan that is deaf to our beacons."""
    assert (fault(shown) or "").startswith(said)


@pytest.mark.parametrize(
    "reader",
    [
        ReaderSigns("nfc", up=False),
        ReaderSigns("nfc", up=False, beat_at=NOW - 1),
        ReaderSigns("salon", up=False, heard_at=NOW - LONG, has_beacons=True),
        ReaderSigns("salon", up=True, heard_at=NOW - LONG),
        ReaderSigns("salon", up=True, has_beacons=True),
    ],
    ids=["unplugged", "unplugged and looked for", "adapter away or lent", "a quiet place", "nobody ever came"],
)
def test_what_no_restart_cures_is_no_reason(reader: ReaderSigns) -> None:
    """A device that is away is waited for, and a place may be quiet."""
    assert fault(signs(reader)) is None


def test_one_of_several_readers_is_reason_enough() -> None:
    """The first that has one is named."""
    hung = ReaderSigns("back", up=True, beat_at=NOW - LONG)
    assert (fault(signs(ReaderSigns("front", up=True), hung)) or "").startswith("reader back")


@given(readers, st.floats(0, NOW), st.floats(0, 60))
def test_only_time_without_a_sign_of_life_makes_a_fault(reader: ReaderSigns, store_at: float, later: float) -> None:
    """A fault stays one while nothing is heard; with every sign fresh there is none."""
    shown = Signs(NOW, store_at, [reader])
    if fault(shown) is not None:
        assert fault(Signs(NOW + later, store_at, [reader])) is not None
    fresh = ReaderSigns(
        reader.name,
        reader.up,
        None if reader.beat_at is None else NOW,
        None if reader.heard_at is None else NOW,
        reader.has_beacons,
    )
    assert fault(Signs(NOW, NOW, [fresh])) is None
