"""The border: while one half holds it, the other waits, and what is announced as published stays as it is."""

import threading
from pathlib import Path

import pytest

from gateway.core.sighting import ClockQuality, Moment
from gateway.store.database import StoreError
from gateway.store.outbox import Outbox
from gateway.store.publishing import border
from gateway.store.retime import correct_times
from tests.store.conftest import tap

ANNA = "h1.anna"


def test_the_border_is_held_until_the_change_is_committed(outbox: Outbox, tmp_path: Path) -> None:
    """The uplink announces nothing between capture's look at what is published and capture's commit."""
    outbox.border = lambda: border(tmp_path)
    with outbox.transaction():
        outbox.append([tap(handle=ANNA)])
    announced = threading.Event()

    def announce() -> None:
        with border(tmp_path):
            announced.set()

    other = threading.Thread(target=announce)
    with outbox.transaction():
        assert outbox.withdraw([ANNA]) == [1]
        other.start()
        assert not announced.wait(0.05)
    other.join(10)
    assert announced.is_set()


@pytest.mark.parametrize("change", ["withdraw", "set aside", "evict", "correct"])
def test_whatever_changes_a_row_holds_the_border(outbox: Outbox, change: str) -> None:
    """No row is changed by somebody who has not looked how far the uplink may have published."""
    asked: list[int] = []

    def published() -> int:
        asked.append(1)
        return 0

    outbox.published = published
    with outbox.transaction():
        outbox.append([tap(handle=ANNA)])
    assert not asked
    with outbox.transaction():
        match change:
            case "withdraw":
                outbox.withdraw([ANNA])
            case "set aside":
                outbox.set_aside({1: "too-large"})
            case "evict":
                outbox.make_room()
            case _:
                correct_times(outbox, Moment(0, 0, ClockQuality.SYNCED))
    assert asked == [1]


def test_a_border_that_cannot_be_held_says_so(tmp_path: Path) -> None:
    """A directory that is not there is a StoreError that names it."""
    with pytest.raises(StoreError, match=r"publishing\.lock"), border(tmp_path / "nowhere"):
        pass
