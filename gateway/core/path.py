"""The path of a sighting: read this first.

    device -> source -> Sighting -> decode -> Identifier -> registry -> touchpoint or bearer
           -> presence / debounce / visit -> consent decision -> pseudonym -> Event

Where a sighting comes from: `gateway.sources`. Where it goes: `gateway.capture` commits the drafts to the outbox
(`gateway.store.outbox`), `gateway.uplink.forward` sends them. Every sighting ends as one `Outcome`, so that the
numbers always add up: sightings = absorbed + acted on + dropped by reason.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal

from gateway.core import decode, draft
from gateway.core.authenticity import FORGED, REFUSED, Authenticator, Reading, Spent
from gateway.core.brandlink import Links
from gateway.core.decode.namespace import Namespaces
from gateway.core.draft import INTERACTION, Reader
from gateway.core.ephemeral import Ephemeral
from gateway.core.event import Authenticity, Draft, EventType, TouchpointRef
from gateway.core.health import HealthReport, StoreBeacons
from gateway.core.registry import Badge, Bearer, Known, Registry
from gateway.core.sighting import Advertisement, Identifier, Moment, SealedTelemetry, Sighting, Tag, Telemetry
from gateway.core.stay import Stays
from gateway.core.subject import Subjects
from gateway.core.visit import Debounce, Visits
from gateway.core.zones import Zones


class Fate(StrEnum):
    """What became of a sighting; the names of counters."""

    ABSORBED = "absorbed"
    ACTED_ON = "acted_on"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a sighting: its fate, why it was dropped, and the events it makes."""

    fate: Fate
    reason: str | None = None
    drafts: tuple[Draft, ...] = ()
    verdict: Authenticity | None = None
    """On the SUN message that was read, whatever became of it."""
    spent: Spent | None = None
    """A tag's counter that must be durable before the reading counts as accepted."""


ABSORBED = Outcome(Fate.ABSORBED)
UNKNOWN = Outcome(Fate.DROPPED, "unknown")
BADGE = Outcome(Fate.DROPPED, "badge")
UNVERIFIED = Outcome(Fate.DROPPED, "unverified")
"""Encrypted telemetry that the key of the beacon does not open, or for which there is no key."""
UNREADABLE = Outcome(Fate.DROPPED, "unreadable")
NOT_VALID = Outcome(Fate.DROPPED, "not-valid")
NOT_BELIEVED = Outcome(Fate.DROPPED, "not-believed")
"""A link of the brand's that somebody else has made; staff's tag, forged or replayed."""


@dataclass(slots=True)
class Path:
    """The whole chain. The registry is a snapshot, replaced as a whole when it changes."""

    readers: Mapping[str, Reader]
    registry: Registry
    subjects: Subjects
    visits: Visits
    debounce: Debounce
    presence: Zones = field(default_factory=Zones)
    beacons: StoreBeacons = field(default_factory=StoreBeacons)
    ephemeral: Ephemeral = field(default_factory=Ephemeral)
    authenticator: Authenticator = field(default_factory=Authenticator)
    links: Links = field(default_factory=Links)
    training_until_ns: int = 0
    """Until then (CLOCK_BOOTTIME, ns) staff are trying things out: events say `test`."""
    stays: Stays = field(init=False)

    def __post_init__(self) -> None:
        self.stays = Stays(self.subjects)

    def see(self, sighting: Sighting, now: Moment) -> Outcome:
        """Follow one sighting to its end."""
        reader = self.readers[sighting.reader]
        match sighting.payload:
            case Advertisement() as advertisement:
                return self._heard(reader.reading("ble"), advertisement, now)
            case Tag() as tag:
                return self._presented(reader.reading("nfc"), self.authenticator.read(tag), now)
            case scan:
                return self._presented(reader.reading("scanner"), self.authenticator.read(scan), now)

    def _presented(self, reader: Reader, reading: Reading, now: Moment) -> Outcome:
        """Something was held to a reader: the tag or code of a touchpoint, or a customer's token."""
        outcome = self._meant(reader, reading, now)
        if reading.verdict is None:
            return outcome
        if outcome.fate is Fate.DROPPED or reading.spent is None:
            return replace(outcome, verdict=reading.verdict)
        self.authenticator.accept(reading.spent)
        return replace(outcome, verdict=reading.verdict, spent=reading.spent)

    def _meant(self, reader: Reader, reading: Reading, now: Moment) -> Outcome:
        found = self._found(reading)
        if isinstance(found, Outcome):
            return found
        identifier, meaning = found
        if self.debounce.repeats(reader.name, _as_read(identifier, reading), now.boot_ns):
            return ABSORBED
        authenticity = reading.authenticity(identifier)
        if isinstance(meaning, Known):
            return self._touched(reader, meaning, authenticity, now)
        place = draft.place_of(reader, self.registry)
        if reading.refused:  # whoever shows it is not its bearer, nor whoever was here before
            self.visits.end(reader.name)
            return _acted(self._interaction(reader, place, None, None, now, "direct", authenticity))
        self.visits.open(reader.name, identifier, now.boot_ns)
        return _acted(self._interaction(reader, place, None, identifier, now, "direct", authenticity))

    def _found(self, reading: Reading) -> tuple[Identifier, Known | Bearer] | Outcome:
        if not reading.candidates:
            return UNREADABLE
        candidates = reading.candidates if reading.whole else self.links.known_as(reading.candidates)
        if not candidates:
            return NOT_BELIEVED
        found = self.registry.find(candidates)
        if found is None:
            return UNKNOWN
        identifier, meaning = found
        return BADGE if isinstance(meaning, Badge) else (identifier, meaning)

    def _touched(self, reader: Reader, known: Known, authenticity: Authenticity | None, now: Moment) -> Outcome:
        """Credit a touchpoint's tap or scan to whoever presented a token here a moment ago, if anyone did.

        What is forged or replayed is reported, credited to nobody, and ends no visit.
        """
        if not known.touchpoint.valid_at(now.wall_ms):
            return NOT_VALID
        refused = authenticity in REFUSED
        if known.touchpoint.kind == "visit-end":
            if refused:
                return NOT_BELIEVED
            self.visits.end(reader.name)
            return _acted()
        token = None if refused else self.visits.token(reader.name, now.boot_ns)
        place = draft.reference(known.touchpoint)
        return _acted(self._interaction(reader, place, known.answer, token, now, "visit", authenticity))

    def _interaction(  # noqa: PLR0913, PLR0917  # the parts of one event
        self,
        reader: Reader,
        place: TouchpointRef,
        answer: str | None,
        token: Identifier | None,
        now: Moment,
        attribution: Literal["direct", "visit"],
        authenticity: Authenticity | None,
    ) -> Draft:
        kind = INTERACTION[reader.channel] if answer is None else EventType.RESPONSE
        named = None if token is None else self.subjects.name(token, kind, attribution, now)
        return draft.interaction(reader, place, answer, named, now, test=self.testing(now), authenticity=authenticity)

    def _heard(self, reader: Reader, advertisement: Advertisement, now: Moment) -> Outcome:
        """Take in what a beacon sent: a customer's, the store's own, or (nearly always) nobody's that we know."""
        heard = decode.advertisement(advertisement, self.wanted())
        if heard is None:
            return UNKNOWN
        if isinstance(heard, Telemetry | SealedTelemetry):
            return self._told(advertisement.address, heard, now)
        identifier = self.ephemeral.resolve(heard.identifier, advertisement.address, now)
        meaning = self.registry.lookup(identifier)
        if meaning is None:
            return UNKNOWN
        if not isinstance(meaning, Known):
            self.beacons.part(advertisement.address)
        if isinstance(meaning, Badge):
            return BADGE
        if isinstance(meaning, Bearer):
            stay = (reader.place, identifier)
            change = self.presence.observe(stay, advertisement.rssi, heard.reference_rssi, now.boot_ns)
            return _absorbed_or_acted(self.stays.moved(change, reader, now, test=self.testing(now)) if change else ())
        report = self.beacons.observe(
            meaning.touchpoint.id, advertisement.address, reader.name, reader.place, advertisement.rssi, now.boot_ns
        )
        return _absorbed_or_acted(self._reported([report] if report else (), now))

    def testing(self, now: Moment) -> bool:
        """Tell whether what happens now is a trial of the staff's."""
        return now.boot_ns < self.training_until_ns

    def wanted(self) -> Namespaces:
        """Return whose advertisements are worth decoding: those that the registry knows, and what our beacons send."""
        known, own = self.registry.namespaces, self.ephemeral.table
        return replace(known, own=own) if own else known

    def _told(self, address: str, said: Telemetry | SealedTelemetry, now: Moment) -> Outcome:
        """Telemetry belongs to the identifier that the same address sent last; a stranger's is dropped."""
        if not self.beacons.knows(address):
            return UNKNOWN
        telemetry = self.ephemeral.open(address, said) if isinstance(said, SealedTelemetry) else said
        if telemetry is None:
            return UNVERIFIED
        report = self.beacons.telemetry(address, telemetry, now.boot_ns)
        return _absorbed_or_acted(self._reported([report] if report else (), now))

    def scanner(self, name: str, now: Moment, *, up: bool) -> None:
        """Take note whether a reader works: while a BLE scanner is down nobody leaves its zone, no beacon is silent."""
        reader = self.readers.get(name)
        if reader is None or reader.channel != "ble":
            return
        if up:
            self.presence.scanner_up(reader.place, name, now.boot_ns)
        else:
            self.presence.scanner_down(reader.place, name)
        if self.presence.held:
            self.beacons.pause()
        else:
            self.beacons.resume(now.boot_ns)

    def expire(self, now: Moment) -> tuple[Draft, ...]:
        """Return the events that the passing of time makes: departures, and beacons gone silent."""
        self.visits.expire(now.boot_ns)
        self.debounce.expire(now.boot_ns)
        self.ephemeral.expire(now)
        changes, reports = self.presence.expire(now.boot_ns), self.beacons.expire(now.boot_ns)
        left = [event for change in changes for event in self.stays.moved(change, None, now, test=self.testing(now))]
        return (*left, *self._reported(reports, now))

    def next_deadline(self) -> int | None:
        """Return when `expire` must be called next (CLOCK_BOOTTIME, ns); None while nothing is pending."""
        pending = (self.visits, self.debounce, self.presence, self.beacons, self.ephemeral)
        deadlines = [deadline for part in pending if (deadline := part.next_deadline()) is not None]
        return min(deadlines, default=None)

    def handles(self) -> set[str]:
        """Return the handles of whoever has an open visit here or a beacon that is heard."""
        tokens = {*self.visits.tokens().values(), *(token for _, token in self.presence.followed())}
        return {handle for token in tokens if (handle := self.subjects.handle(token)) is not None}

    def withdraw(self, handles: Collection[str]) -> None:
        """End the visits and presences of a subject without an event."""
        for reader, token in self.visits.tokens().items():
            if self.subjects.handle(token) in handles:
                self.visits.end(reader)
        for stay in self.presence.forget(lambda stay: self.subjects.handle(stay[1]) in handles):
            self.stays.forget(stay)

    def _reported(self, reports: Iterable[HealthReport], now: Moment) -> tuple[Draft, ...]:
        return draft.healths(reports, self.registry.touchpoints, now, test=self.testing(now))


def _as_read(identifier: Identifier, reading: Reading) -> Identifier:
    """Return what debounce goes by: a forgery repeats no genuine reading of the same thing, nor hides behind one."""
    return Identifier(FORGED, identifier.text) if reading.verdict == FORGED else identifier


def _acted(*drafts: Draft) -> Outcome:
    return Outcome(Fate.ACTED_ON, drafts=drafts)


def _absorbed_or_acted(drafts: tuple[Draft, ...]) -> Outcome:
    return Outcome(Fate.ACTED_ON, drafts=drafts) if drafts else ABSORBED
