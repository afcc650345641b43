"""The capture half at work: sources -> path -> outbox, and what the uplink asks of it.

One event loop holds everything; the disk has a thread of its own (`store.writer`). A source whose sighting makes an
event waits for its commit, so that whatever tells the customer "accepted" comes after it.
"""

import asyncio
import json
import sqlite3
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import tzinfo
from functools import partial

from gateway.clock import Clock
from gateway.control import RequestError
from gateway.core.authenticity import REFUSED, Spent
from gateway.core.consent import Reason
from gateway.core.decode.namespace import ANY, Namespaces
from gateway.core.event import Authenticity, Draft, Retention, retention
from gateway.core.jws import Signer
from gateway.core.order import RestartAskedError
from gateway.core.path import NOT_BELIEVED, Fate, Outcome, Path
from gateway.core.sighting import ClockQuality, Moment, Sighting
from gateway.core.watchdog import ReaderSigns
from gateway.language import _
from gateway.log import Message, log, security, told
from gateway.sentence import sentence
from gateway.sources.source import Source, SourceStatus
from gateway.store import sun_counters, usage
from gateway.store.ballast import Ballast
from gateway.store.condition import of_reader as condition_of
from gateway.store.condition import tell as tell_condition
from gateway.store.database import CorruptError, StoreError, forget_deleted, is_corrupt
from gateway.store.outbox import Outbox
from gateway.store.progress import Followed
from gateway.store.recovery import mark, suspect
from gateway.store.retime import correct_times
from gateway.store.schema import CAPTURE
from gateway.store.writer import Writer
from gateway.together import first_of

PATIENCE_SECONDS = 1.0
"""How long presence, health and housekeeping wait for company in a commit, to spare the SD card."""
LOOK_SECONDS = 1.0
"""How often to look at time and at the uplink's file, should its ring have been lost."""
SAVE_SECONDS = 60.0
"""How often counters that changed without an event are written."""
LAST_EVENTS = 8
"""So many events are shown to staff as the last."""
UNCOMMITTED = 64
"""So many patient commits may be under way; then sources wait, and memory stays bounded."""
NEARLY_FULL = sentence(
    "the disk is nearly full, without room for the reserve that keeps the store working; when it is full, the least"
    " worthy events give way: free some space on it"
)


async def _nobody_there() -> bool:
    """Nobody says anything."""
    return False


async def _leave_keys() -> None:
    """Keep the ring there is."""


@dataclass(frozen=True, slots=True)
class Happened:
    """What staff are shown of an event: when (Unix milliseconds), what and where, and nobody."""

    at_ms: int
    kind: str
    place: str | None
    """The touchpoint, or the zone."""


@dataclass(slots=True)
class Capture:
    """Follows sightings to the outbox and keeps the outbox in order."""

    path: Path
    writer: Writer
    clock: Clock
    followed: Followed
    bell: asyncio.Event
    ring: Callable[[], None]
    ballast: Ballast
    signer: Signer
    """Signs what is said in this store."""
    follow_centre: Callable[[], Awaitable[bool]] = _nobody_there
    """Applies what the centre has said; True if there is more to apply at once."""
    look_at_keys: Callable[..., Awaitable[object]] = _leave_keys
    """Has the path go on with another key ring when there is one."""
    readers: dict[str, SourceStatus] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    """Since this process started: sightings, absorbed, acted_on, `dropped:{reason}`; beside them `sun:{verdict}`."""
    time_zone: tzinfo | None = None
    """The store's, in which its days begin; None is the device's."""
    bad_signatures: int = 0
    """Since this process started: what the centre did not sign, or nobody who may."""
    at_work: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once every source was started."""
    last: deque[Happened] = field(default_factory=lambda: deque(maxlen=LAST_EVENTS))
    """The last events that were accepted, since this process started."""
    _told: dict[str, str | None] | None = None
    _unsaved: Counter[str] = field(default_factory=Counter)
    _trimmed: int = 0
    _to_correct: bool = True
    """Rows of this boot may have been stamped before the clock was synced."""
    _last_failure: str = ""
    _refused: str | None = None
    """Why the last commit of events or counters failed; None after one that did not."""
    _ringing: bool = False
    _sources: dict[str, Source] = field(default_factory=dict)
    _borrowed: dict[str, asyncio.Future[Sighting]] = field(default_factory=dict, repr=False)
    _lent: dict[str, str] = field(default_factory=dict)
    _watchers: list[Callable[[Sighting], None]] = field(default_factory=list)
    _stirred: asyncio.Event = field(default_factory=asyncio.Event)
    _room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(UNCOMMITTED))

    async def run(self, sources: Sequence[Source]) -> None:
        """Work until cancelled; then write the last counters. Raises CorruptError when the outbox is damaged.

        Raises RestartAskedError when the centre asks for a restart.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                for source in sources:
                    self._sources[source.name] = source
                    tasks.create_task(self._follow(source, tasks))
                tasks.create_task(self._watch_time())
                tasks.create_task(self._watch_uplink())
                tasks.create_task(self._save_counters())
                self.at_work.set()  # whoever waits for it runs after the sources' tasks have begun
        except BaseExceptionGroup as errors:
            raise first_of(errors, CorruptError, RestartAskedError) or errors from None
        finally:
            await asyncio.shield(self.save())

    async def _follow(self, source: Source, tasks: asyncio.TaskGroup) -> None:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(source)
            async for sighting in source:
                self._show(sighting)
                if not self._lend(sighting):
                    await self._take(sighting, tasks)

    async def listen(self, source: Source) -> None:
        """Show the sightings of a source to whoever watches, and make nothing of them, until cancelled."""
        async with source:
            async for sighting in source:
                self._show(sighting)

    @contextmanager
    def watch(self, see: Callable[[Sighting], None]) -> Iterator[None]:
        """Show every sighting while the context is open, strangers' beacons among them; the path goes on as ever."""
        self._watchers.append(see)
        try:
            yield
        finally:
            self._watchers.remove(see)
            for source in [] if self._watchers else self._sources.values():
                source.forget_strangers()

    def wanted(self) -> Namespaces:
        """Return whose advertisements are read: those that concern the path, and anybody's while somebody watches."""
        return ANY if self._watchers else self.path.wanted()

    def _show(self, sighting: Sighting) -> None:
        for see in self._watchers:
            see(sighting)

    async def _take(self, sighting: Sighting, tasks: asyncio.TaskGroup) -> None:
        outcome = self._see(sighting)
        if outcome.fate is not Fate.DROPPED:
            self._stirred.set()
        if not outcome.drafts and outcome.spent is None:
            self.count(outcome)
        elif patient(outcome.drafts):
            await self._room.acquire()
            committing = tasks.create_task(self.commit(outcome))
            committing.add_done_callback(lambda _: self._room.release())
        elif (await self.commit(outcome)).fate is Fate.DROPPED:
            self.path.debounce.forget(sighting.reader)
        elif outcome.verdict not in REFUSED:
            self._accepted(sighting.reader)

    def _accepted(self, reader: str) -> None:
        if (source := self._sources.get(reader)) is not None:
            source.accepted()

    def _see(self, sighting: Sighting) -> Outcome:
        try:
            outcome = self.path.see(sighting, self.clock.now())
        except StoreError as error:
            self._failed(error, "a sighting could not be decided on")
            self.path.debounce.forget(sighting.reader)
            return Outcome(Fate.DROPPED, "store")
        report_forgery(outcome, sighting.reader)
        return outcome

    async def borrow(self, reader: str) -> Sighting:
        """Wait for the next sighting of a reader and take it out of the path: a command asked for it."""
        self._must_be_free(reader)
        self._borrowed[reader] = asyncio.get_running_loop().create_future()
        try:
            return await self._borrowed[reader]
        finally:
            del self._borrowed[reader]

    @asynccontextmanager
    async def lend(self, reader: str, to: str) -> AsyncIterator[None]:
        """Leave the device of a reader to a command while the context is open. Raises RequestError."""
        self._must_be_free(reader)
        if (source := self._sources.get(reader)) is None:
            raise RequestError(_("reader {reader} is not opened yet; try again in a moment").format(reader=reader))
        self._lent[reader] = to
        try:
            async with source.lent(to):
                yield
        finally:
            del self._lent[reader]

    def _must_be_free(self, reader: str) -> None:
        to = "another command" if reader in self._borrowed else self._lent.get(reader)
        if to is not None:
            raise RequestError(
                _("reader {reader} is lent to {to} at present; try again when that is done").format(
                    reader=reader, to=to
                )
            )

    async def identify(self, reader: str | None, seconds: int) -> bool | None:
        """Let a reader, or with None every one, show where it is; False if none can, None if there is none."""
        sources = [source for name, source in self._sources.items() if reader in {None, name}]
        shown = [await source.identify(seconds) for source in sources]
        return any(shown) if sources else None

    def _lend(self, sighting: Sighting) -> bool:
        borrowed = self._borrowed.get(sighting.reader)
        if borrowed is None or borrowed.done():
            return False
        borrowed.set_result(sighting)
        self.count(Outcome(Fate.ACTED_ON))
        return True

    async def commit(self, outcome: Outcome) -> Outcome:
        """Count the outcome and make its events durable, both at once; if that fails, it is dropped and says why."""
        self.count(outcome)
        try:
            await self.append(outcome.drafts, outcome.spent)
        except (sqlite3.Error, StoreError) as error:
            self.count(outcome, -1)
            if outcome.spent is not None:
                self.path.authenticator.take_back(outcome.spent)
            outcome = Outcome(Fate.DROPPED, "store")
            self.count(outcome)
            self._failed(error, "an event was not accepted")
        return outcome

    async def append(self, drafts: Iterable[Draft], spent: Spent | None = None) -> None:
        """Append events to the outbox, with the counters so far and the use they count as, and ring.

        Raises sqlite3.Error.

        `spent` is the counter of the tag that made them: the same commit makes it durable.
        """
        drafts = tuple(drafts)
        self._to_correct |= any(draft.at.quality is ClockQuality.UNSYNCED for draft in drafts)
        counts, touched = self._take_unsaved(), usage.touches(drafts, self.time_zone)

        def job(outbox: Outbox) -> None:
            outbox.append(drafts)
            outbox.tally(counts)
            usage.count(outbox.connection, touched)
            if spent is not None:
                sun_counters.spend(outbox.connection, spent)

        try:
            await self.writer.commit(job, patience=PATIENCE_SECONDS if patient(drafts) else 0.0)
        except Exception as error:  # when cancelled, the writer has it all the same
            self._unsaved.update(counts)
            self._refused = str(error)
            raise
        self._refused = None
        self.last.extend(map(happened, drafts))
        self._ring_soon()

    async def spend(self, spent: Spent) -> None:
        """Accept a tag's counter for what makes no event, once it is durable. Raises sqlite3.Error, StoreError."""
        self.path.authenticator.accept(spent)
        try:
            await self.writer.commit(lambda outbox: sun_counters.spend(outbox.connection, spent))
        except (sqlite3.Error, StoreError):
            self.path.authenticator.take_back(spent)
            raise

    def _ring_soon(self) -> None:
        """Ring once for everything that the same commit has brought."""
        if not self._ringing:
            self._ringing = True
            asyncio.get_running_loop().call_soon(self._ring_now)

    def _ring_now(self) -> None:
        self._ringing = False
        self.ring()

    def count(self, outcome: Outcome, number: int = 1) -> None:
        """Count a sighting by what became of it."""
        fate = f"dropped:{outcome.reason}" if outcome.fate is Fate.DROPPED else outcome.fate.value
        self._add("sightings", number)
        self._add(fate, number)
        if outcome.verdict is not None:
            self._add(f"sun:{outcome.verdict}", number)

    def dropped(self, reason: str) -> None:
        """Count a reading that a source could not make a sighting of."""
        self._add("sightings", 1)  # as `count` does, and for each of a street's advertisements
        self._add(f"dropped:{reason}", 1)

    def tally(self, name: str) -> None:
        """Count what is no sighting, in the durable counters alone."""
        self._unsaved[name] += 1

    def _add(self, name: str, number: int) -> None:
        self.counts[name] += number
        self._unsaved[name] += number

    def _take_unsaved(self) -> Counter[str]:
        for reason, number in self.path.subjects.denied.items():
            self._add(f"denied:{reason}", number)
        if forged := self.path.subjects.denied[Reason.SIGNATURE]:
            extra = told(Message.CONSENT_FORGED, "consent")
            security.warning(
                "%d times a consent bore no signature that counts here: nobody was named", forged, extra=extra
            )
        self.path.subjects.denied.clear()
        counts, self._unsaved = self._unsaved, Counter()
        return counts

    def show(self, status: SourceStatus) -> None:
        """Take note of a reader's status, and log it; while a scanner is down nobody leaves its zone."""
        self.readers[status.reader] = status
        self.path.scanner(status.reader, self.clock.now(), up=status.up)
        self._stirred.set()
        component = f"reader:{status.reader}"
        if status.up:
            log.info("reader %s: up", status.reader, extra=told(Message.READER_UP, component))
        elif status.lent:
            log.info("reader %s: %s", status.reader, status.reason)
        else:
            log.warning("reader %s: %s", status.reader, status.reason, extra=told(Message.READER_DOWN, component))

    def signs(self) -> list[ReaderSigns]:
        """Tell what the readers show of themselves, for the watchdog."""
        beacons = self.path.beacons.readers()
        return [
            ReaderSigns(name, self._is_up(name), source.beat_at, source.heard_at, name in beacons)
            for name, source in self._sources.items()
        ]

    def fares(self) -> str:
        """Say in a line which readers work."""
        down = [name for name in self._sources if not self._is_up(name)]
        return f"{len(self._sources) - len(down)} readers up" + (f", down: {', '.join(down)}" if down else "")

    def _is_up(self, reader: str) -> bool:
        return (status := self.readers.get(reader)) is not None and status.up

    async def withdraw(self, handles: Collection[str]) -> list[int]:
        """Withdraw a subject: its visits and presences end, its rows become gaps, the old text leaves the files.

        The tombstone must be committed already. Returns the sequences that may have been sent before.
        """
        self.path.withdraw(handles)
        delivered = self.followed.progress(self.writer.outbox.session).delivered

        def job(outbox: Outbox) -> list[int]:
            outbox.trim(delivered)
            return [sequence for sequence in outbox.withdraw(handles) if sequence <= outbox.fixed()]

        possibly_sent = await self.writer.commit(job)
        await self.forget()
        self.ring()
        return possibly_sent

    async def forget(self) -> None:
        """Empty the write-ahead log, so that what was deleted is in no file; try for a while if a reader is at work."""
        for _attempt in range(10):
            if await self.writer.between_commits(lambda outbox: forget_deleted(outbox.connection)):
                return
            await asyncio.sleep(0.1)
        log.warning("capture.db: deleted rows are still in the write-ahead log; it is emptied at the next chance")

    async def _watch_time(self) -> None:
        """Let time pass for the path, as long as anything there depends on it."""
        while True:
            await self._stirred.wait()
            self._stirred.clear()
            while (deadline := self.path.next_deadline()) is not None:
                wait = (deadline - self.clock.now().boot_ns) / 1e9
                await asyncio.sleep(min(max(wait, 0.0), LOOK_SECONDS))
                await self._expire()

    async def _expire(self) -> None:
        try:
            if drafts := self.path.expire(self.clock.now()):
                await self.append(drafts)
        except (sqlite3.Error, StoreError) as error:
            self._failed(error, "what time has brought about was not accepted")

    async def _watch_uplink(self) -> None:
        """Trim what is delivered, withdraw what the uplink refused, correct times: at its ring, or after a second."""
        behind = False  # what could not be done is tried again, even if the uplink has nothing new to say
        with suppress(sqlite3.Error, StoreError):  # it is looked at again with everything else
            await self._tell_condition()
        while True:
            await self._rung()
            try:
                behind = self.followed.changed() or behind
                if behind:
                    await self._catch_up()
                behind = False
                if await self.follow_centre():
                    self.bell.set()
                await self._correct_times()
                await self._tell_condition()
                await self.look_at_keys()
            except (sqlite3.Error, StoreError) as error:
                self._failed(error, "trimming waits")
            self._look_for_suspicion()

    def condition(self) -> dict[str, str | None]:
        """Tell what is wrong with keys, consents, store and readers, by component; None where nothing is.

        Raises StoreError.
        """
        wrong = self.path.subjects.condition(self.clock.now()) | {"store": self._store_fault()}
        wrong |= {condition_of(each.reader): _wrong_with(each) for each in self.readers.values()}
        if self.bad_signatures:
            wrong["signatures"] = sentence(
                "{bad_signatures} messages in uplink.db bear no signature that counts here"
            ).format(bad_signatures=self.bad_signatures)
        return wrong

    def _store_fault(self) -> str | None:
        if self._refused is not None:
            return sentence("{refused}: events are not accepted").format(refused=self._refused)
        return NEARLY_FULL if self.ballast.missed else None

    async def _tell_condition(self) -> None:
        """Leave what is wrong where the uplink half and `status` find it, whenever it changes."""
        if (wrong := self.condition()) != self._told:
            await self.writer.commit(lambda outbox: tell_condition(outbox.connection, wrong))
            if self._told is not None:
                self._ring_soon()
            self._told = wrong

    async def _rung(self) -> None:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self.bell.wait()
        except TimeoutError:
            return
        self.bell.clear()

    async def _catch_up(self) -> None:
        session = self.writer.outbox.session
        delivered, refused = self.followed.progress(session).delivered, self.followed.refused(session)
        if refused:
            await self.writer.commit(lambda outbox: outbox.set_aside(refused))
            await self.forget()
            self.ring()
        if delivered > self._trimmed:
            await self.writer.commit(lambda outbox: outbox.trim(delivered), patience=PATIENCE_SECONDS)
            self._trimmed = delivered

    async def _correct_times(self) -> None:
        """Once the clock is synced, correct the rows that were stamped before, a commit at a time."""
        while self._to_correct and (now := self.clock.now()).quality is ClockQuality.SYNCED:
            self._to_correct = False  # an event that is appended meanwhile may say otherwise
            try:
                found = await self.writer.commit(partial(self._put_right, now=now))
            except BaseException:
                self._to_correct = True
                raise
            self._to_correct |= found > 0

    def _put_right(self, outbox: Outbox, now: Moment) -> int:
        usage.date(outbox.connection, usage.day_of(now.wall_ms, self.time_zone))
        return correct_times(outbox, now)

    async def _save_counters(self) -> None:
        while True:
            await self.take_up_ballast()
            await asyncio.sleep(SAVE_SECONDS)
            await self.save()

    async def take_up_ballast(self) -> bool:
        """Hold space in reserve again, if the disk has room, and let the outbox grow again; True if so."""
        restored = await asyncio.to_thread(self.ballast.restore)
        if restored:
            await self.writer.between_commits(Outbox.release_size)
        return restored

    async def save(self) -> None:
        """Write the counters that no event has carried along."""
        counts = self._take_unsaved()
        if not counts:
            return
        try:
            await self.writer.commit(lambda outbox: outbox.tally(counts), patience=0.0)
        except (sqlite3.Error, StoreError) as error:
            self._unsaved.update(counts)
            self._refused = str(error)
            self._failed(error, "counters were not written")
        else:
            self._refused = None

    def _failed(self, error: sqlite3.Error | StoreError, what: str) -> None:
        """Log that the store failed, once for each change; a damaged outbox ends this half: the next start mends it."""
        if is_corrupt(error):
            mark(self.followed.directory, CAPTURE.file)
            raise self._damaged(str(error))
        self._look_for_suspicion()
        if str(error) != self._last_failure:
            self._last_failure = str(error)
            log.error("capture.db: %s: %s", error, what, extra=told(Message.STORE_FAILED, "store"))

    def _look_for_suspicion(self) -> None:
        """End this half if whoever only reads it, the uplink above all, has found the outbox damaged."""
        if suspect(self.followed.directory, CAPTURE.file).exists():
            raise self._damaged("the uplink cannot read it")

    def _damaged(self, wrong: str) -> CorruptError:
        return CorruptError(
            "use", self.followed.directory / CAPTURE.file, wrong, sentence("It is mended at the next start")
        )


def happened(draft: Draft) -> Happened:
    """Return what staff are shown of an event."""
    data = json.loads(draft.data)
    place = (data.get("touchpoint") or {}).get("id") or data.get("zone")
    return Happened(draft.at.wall_ms, draft.type.value, place)


def report_forgery(outcome: Outcome, reader: str) -> None:
    """Log what was shown at a reader and claims to be what it is not."""
    if outcome.verdict in REFUSED:
        report_tag(outcome.verdict, reader)
    elif outcome == NOT_BELIEVED:
        extra = told(Message.LINK_FORGED, f"reader:{reader}")
        security.warning("reader %s: a link without a signature that counts here was dropped", reader, extra=extra)


def report_tag(verdict: Authenticity | None, reader: str) -> None:
    """Log that a tag's message was no proof of the tag."""
    extra = told(Message.TAG_FORGED, f"reader:{reader}")
    security.warning("reader %s: the message of a tag was %s: it names nobody", reader, verdict, extra=extra)


def _wrong_with(status: SourceStatus) -> str | None:
    return None if status.up or status.lent else status.reason or "down"


def patient(drafts: Iterable[Draft]) -> bool:
    """Tell whether nobody waits for these events: presence and health share commits."""
    return all(retention(draft.type) in {Retention.PRESENCE, Retention.HEALTH} for draft in drafts)
