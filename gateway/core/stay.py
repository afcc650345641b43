"""Stays of customers in a zone: announced with consent only, and ended as what they began as."""

from dataclasses import dataclass, field

from gateway.core import draft
from gateway.core.draft import Reader
from gateway.core.event import Draft, EventType
from gateway.core.presence import Change, Left
from gateway.core.pseudonym import Epoch
from gateway.core.sighting import Moment
from gateway.core.subject import Subjects
from gateway.core.zones import Stay


@dataclass(slots=True)
class Stays:
    """The reader and the epoch of each stay that was announced, until it ends."""

    subjects: Subjects
    _announced: dict[Stay, tuple[Reader, Epoch]] = field(default_factory=dict, repr=False)

    def moved(self, change: Change[Stay], reader: Reader | None, now: Moment, *, test: bool) -> tuple[Draft, ...]:
        """Tell that a customer's beacon came, heard by this reader, or left; by time alone, with None, none comes."""
        if isinstance(change, Left):
            return self.end(change.key, change.dwell_s, now, test=test)
        return () if reader is None else self.begin(change.key, reader, now, test=test)

    def begin(self, stay: Stay, reader: Reader, now: Moment, *, test: bool) -> tuple[Draft, ...]:
        """Announce that a customer's beacon came, if consent allows it."""
        epoch = self.subjects.epoch(now)
        named = self.subjects.name(stay[1], EventType.APPEARED, "direct", now, epoch)
        if epoch is None or named is None:
            return ()
        self._announced[stay] = (reader, epoch)
        return (draft.presence(reader, None, named, now, test=test),)

    def end(self, stay: Stay, dwell_s: float, now: Moment, *, test: bool) -> tuple[Draft, ...]:
        """Tell that it left, under the epoch in which it came; if it was announced, and consent still allows it."""
        began = self._announced.pop(stay, None)
        if began is None:
            return ()
        reader, epoch = began
        named = self.subjects.name(stay[1], EventType.DISAPPEARED, "direct", now, epoch)
        return () if named is None else (draft.presence(reader, dwell_s, named, now, test=test),)

    def forget(self, stay: Stay) -> None:
        """Let it end without a word."""
        self._announced.pop(stay, None)
