"""The cues that the centre has sent, as a display follows them in `uplink.db`.

Each is verified again when it is read: whoever can write the file cannot put words on a display.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from pydantic import ValidationError

from gateway.core.downlink import Cue, unix_ms
from gateway.core.jws import Issuers, SignatureError, Use
from gateway.core.sighting import ClockQuality, Moment
from gateway.sentence import sentence
from gateway.store.reading import Reading, explained
from gateway.store.schema import UPLINK

AHEAD_MS = 300_000
"""So far in the future a cue may have been issued: clocks differ."""
_CUES = "SELECT touchpoint, jws FROM cue WHERE touchpoint = coalesce(?, touchpoint) ORDER BY touchpoint"


@dataclass(slots=True)
class Cues(Reading):
    """A reader of the cues in force, each told once."""

    schema = UPLINK
    issuers: Issuers = field(kw_only=True)
    refused: Counter[str] = field(default_factory=Counter)
    """What was not shown, by the reason: each message counts once while it is there."""
    _told: dict[str, Cue] = field(default_factory=dict)
    """The last one of each touchpoint."""
    _read: dict[str, str] = field(default_factory=dict, repr=False)
    """By touchpoint, the message that was dealt with."""

    @explained
    def new(self, now: Moment, touchpoint: str | None = None) -> list[Cue]:
        """Return the cues in force that were not returned yet, of one touchpoint or of all. Raises StoreError.

        Nothing while the clock is unsynced: nobody knows then what has expired.
        """
        connection = self.connection()
        if connection is None or now.quality is ClockQuality.UNSYNCED:
            return []
        rows: dict[str, str] = dict(connection.execute(_CUES, (touchpoint,)))
        self._read = {place: jws for place, jws in self._read.items() if place in rows}
        return list(self._in_force(rows, now.wall_ms))

    def _in_force(self, rows: dict[str, str], now_ms: int) -> Iterator[Cue]:
        for place, jws in rows.items():
            if self._read.get(place) == jws:
                continue
            cue = self._verified(place, jws)
            if cue is not None and unix_ms(cue.issued) > now_ms + AHEAD_MS:
                continue  # its time may come
            self._read[place] = jws
            if cue is not None and now_ms < unix_ms(cue.expires) and self._is_next(cue):
                self._told[place] = cue
                yield cue

    def _verified(self, place: str, jws: str) -> Cue | None:
        try:
            cue = Cue.model_validate_json(self.issuers.verify(jws, Use.CUE)[1])
        except SignatureError as error:
            self.refused[str(error)] += 1
        except ValidationError:
            self.refused[sentence("it is no cue")] += 1
        else:
            if cue.touchpoint == place:
                return cue
            self.refused[sentence("it is for another touchpoint")] += 1
        return None

    def _is_next(self, cue: Cue) -> bool:
        """Tell whether it is not what was told already, nor an older one that somebody has put back."""
        last = self._told.get(cue.touchpoint)
        return last is None or (cue != last and cue.issued >= last.issued)
