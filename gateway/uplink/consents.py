"""The consents that come down: a set of signed records, and what the centre says that set is.

The set counts as a whole or not at all: until number and digest of the records are what the centre has signed, no
customer is named. Its retained messages come with each subscription; a set that does not become whole is fetched again.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from sqlite3 import Connection as Database

from gateway.core.contract import Topics
from gateway.core.downlink import ConsentRecord, ConsentState, unix_ms
from gateway.core.jws import Issuers, SignatureError, Use
from gateway.core.sighting import ClockQuality, Moment
from gateway.sentence import sentence
from gateway.store import said
from gateway.store.progress import Component, components, report
from gateway.store.said import ConsentSet, Signed
from gateway.uplink.mqtt import Message
from gateway.uplink.payload import RefusedError, judgeable, not_from_the_future, ours, parsed, text

SETTLE_SECONDS = 1.0
"""Comparing a large set with its digest takes a while: it is begun at most once in so long."""
UNLIKE_SECONDS = 5.0
"""So long the records have to arrive that belong to what the centre says of a set."""
FETCH_SECONDS = 300.0
"""A set that is not whole after so long is fetched once more."""


@dataclass(slots=True)
class Consents:
    """Follows the centre's consent set. Raises sqlite3.Error, StoreError where it reads or writes."""

    database: Database
    topics: Topics
    issuers: Issuers
    now: Callable[[], Moment]
    changed: Callable[[], None]
    """Called when capture has something to read, or events may leave that had to wait."""
    known: ConsentSet = field(init=False)
    fetch: bool = False
    """The set must be fetched again: subscribe once more."""
    _signed: dict[str, Signed] = field(default_factory=dict, repr=False)
    _compared_ns: int = 0
    _begun_ns: int = 0
    _awaited_ns: int | None = None
    _told_ns: int = 0
    _told: Component | None = None

    def __post_init__(self) -> None:
        self.known = ConsentSet(self.database)

    @property
    def central(self) -> bool:
        """Whether a centre has a say in consents."""
        return self.issuers.any_for(Use.CONSENT)

    @property
    def complete(self) -> bool:
        """Whether the set is what the centre says it is, or there is no centre to say so."""
        if not self.central:
            return True
        here = self.known.in_force()
        return not self.known.syncing and here is not None and here.confirmed

    @property
    def waiting(self) -> int:
        """How many records wait to be written."""
        return len(self._signed)

    def begin(self) -> None:
        """Begin to fetch the set: its retained messages come now."""
        self.fetch = False
        self._begun_ns, self._awaited_ns = self.now().boot_ns, None
        self.known.begin()
        self._tell()

    def record(self, message: Message, record_id: str) -> None:
        """Verify a record, to be written soon. Raises RefusedError, SignatureError, ValueError."""
        if not message.payload:
            return  # what is no longer in the set is dropped when the set as a whole says so
        self._judgeable_set()
        jws = text(message.payload)
        if record_id in self._signed:
            self.write()  # two of one id, in order
        before = self.known.known(record_id)
        if before is not None and before[2] == jws:
            self.known.saw([record_id])
            return
        _, payload = self.issuers.verify(jws, Use.CONSENT)
        record = parsed(ConsentRecord, payload)
        ours(self.topics, record.tenant, record.site)
        if record.record_id != record_id:
            raise RefusedError("it does not belong to its topic")
        not_from_the_future(max(record.since_ms, unix_ms(record.granted_at)), self.now())
        if not (said.supersedes(record, before) or self._signs_again(record, before)):
            self.known.saw([record_id])
            raise RefusedError("a newer one is known")
        self._signed[record_id] = Signed(record, jws)

    def _signs_again(self, record: ConsentRecord, known: tuple[int, str, str] | None) -> bool:
        """Tell whether it takes the place of what nobody believes any more: the centre has changed its key."""
        if known is None or (record.revision, record.state) != known[:2]:
            return False
        try:
            self.issuers.verify(known[2], Use.CONSENT)
        except SignatureError:
            return True
        return False

    def state(self, message: Message, level: str) -> None:
        """Verify what the centre says that the set is. Raises RefusedError, SignatureError, ValueError."""
        del level
        self._judgeable_set()
        jws = text(message.payload)
        _, payload = self.issuers.verify(jws, Use.CONSENT)
        state = parsed(ConsentState, payload)
        ours(self.topics, state.tenant, state.site)
        not_from_the_future(unix_ms(state.at), self.now())
        known = self.known.said()
        if known is not None and (state.revision, unix_ms(state.at)) < (known.revision, known.at_ms):
            raise RefusedError("a newer one is known")
        self.known.say(state, jws)
        self._compared_ns, self._awaited_ns = 0, self.now().boot_ns

    def write(self) -> None:
        """Write what has been verified."""
        if self._signed:
            signed, self._signed = list(self._signed.values()), {}
            self.known.take(signed)
            self.known.saw(each.record.record_id for each in signed)
            self.changed()

    def settle(self) -> None:
        """See whether the set is whole, and tell `status` how it stands.

        If it does not become whole, nothing in it counts, and it is fetched again.
        """
        self._look()
        self._tell()

    def _look(self) -> None:
        if not (self.central and self.known.open):
            return
        now_ns = self.now().boot_ns
        if not self.known.busy:
            if now_ns - self._compared_ns < SETTLE_SECONDS * 1e9:
                return
            self._compared_ns = now_ns
        if self.known.settle():
            self._awaited_ns = None
            self.changed()
        elif not self.known.busy:
            self._give_up(now_ns)

    def _give_up(self, now_ns: int) -> None:
        """Wait no longer for records that belong to what the centre says: they should have come by now."""
        if self._awaited_ns is not None and now_ns - self._awaited_ns >= UNLIKE_SECONDS * 1e9:
            self._awaited_ns = None
            self.known.refuse()
            self.changed()
            self.fetch = self.fetch or not self.known.syncing
        if now_ns - self._begun_ns >= FETCH_SECONDS * 1e9:
            self.fetch = True

    def _tell(self) -> None:
        """Write how the set stands, for `status` and the state message; how many have come, once a second at most."""
        reason, now = self._incomplete(), self.now()
        if self._told is None and not self.central and "consent" not in components(self.database):
            return
        if self._told is not None and (self._told.reason == reason or not self._is_news(reason, now.boot_ns)):
            return
        self._told, self._told_ns = Component(reason is None, reason, now.wall_ms), now.boot_ns
        report(self.database, "consent", self._told)

    def _is_news(self, reason: str | None, now_ns: int) -> bool:
        """Tell whether this is more than another number, or the last number was told a while ago."""
        told = None if self._told is None else self._told.reason
        other = (told or "").partition(":")[0] != (reason or "").partition(":")[0]
        return other or now_ns - self._told_ns >= SETTLE_SECONDS * 1e9

    def _incomplete(self) -> str | None:
        if not self.central:
            return None
        here = self.known.in_force()
        if here is None:
            return sentence("the centre has not said yet what the consent set is; no customer is named")
        if here.confirmed:
            return None
        number = self.known.count()
        return sentence(
            "the consent set is not complete: {number:,} of {count:,} records; no customer is named"
        ).format(number=number, count=here.count)

    def _judgeable_set(self) -> None:
        """Without a synced clock no consent can be judged: the set is fetched again once it is."""
        if self.now().quality is ClockQuality.UNSYNCED:
            self.fetch = True
        judgeable(self.now())
