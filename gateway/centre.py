"""What the capture half does about the centre's word: consents, touchpoints and commands, read in `uplink.db`.

The uplink half has verified them and stored them; here each signature is verified once more, since whoever takes over
the network half can withhold what the centre says, but not make it up. What is applied and how far is one commit, so
that a crash repeats at most what changes nothing the second time.

Everything comes in pages, with a breath between: the path of a sighting never waits for a hundred thousand consents.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from pydantic import ValidationError

from gateway.capture import Capture
from gateway.core import draft
from gateway.core.consent import VALID, Consent, ConsentState, Denied, decide, newest
from gateway.core.downlink import (
    COMMAND,
    ActivateEpoch,
    Command,
    ConsentRecord,
    Identify,
    RegistryEntry,
    Restart,
    SetLogLevel,
)
from gateway.core.jws import Issuers, SignatureError, Use
from gateway.core.order import RestartAskedError, refusal
from gateway.core.registry import Registry, Touchpoint
from gateway.core.sighting import ClockQuality, Moment
from gateway.log import log
from gateway.store import audit, marks, touchpoints
from gateway.store.central import PAGE, Central, Change, Definition, Instruction, Standing
from gateway.store.outbox import Outbox

BREATH = 8
"""So many signatures are verified before others run: a millisecond's work."""
CONFIRM_SECONDS = 30.0
"""So long what was withdrawn waits to be reported with the revision of a whole set."""
ANSWER_SECONDS = 60.0
"""So long the uplink half has to say what became of a command."""


FILE, CONSENT, REMOVED = "central-file", "consent-position", "consent-removed"
APPLIED, SENT = "consent-applied", "consent-possibly-sent"
REGISTRY, COMMANDS = "touchpoint-position", "command-position"
COUNTER, EPOCH = "command-counter", "epoch"

Status = Literal["done", "refused", "failed"]
Result = tuple[Status, str | None]


@dataclass(frozen=True, slots=True)
class _Said:
    """The ledger's records without a question of how fresh they are: what the centre withdraws while it syncs holds."""

    ledger: Any
    stale_from_ms: int | None = None

    def records(self, handle: str) -> Sequence[Consent]:
        """Return what is known of a handle."""
        known: Sequence[Consent] = self.ledger.records(handle)
        return known


@dataclass(frozen=True, slots=True)
class _Gone:
    """Whose unsent rows are withdrawn: all of them, or those for some purposes."""

    handles: frozenset[str] = field(default_factory=frozenset, repr=False)
    purposes: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def __bool__(self) -> bool:
        return bool(self.handles or self.purposes)


@dataclass(slots=True)
class Centre:
    """Follows the centre's word. `follow` is called whenever the uplink half has committed something."""

    capture: Capture
    central: Central
    issuers: Issuers
    gateway: str
    """The id of this gateway, to which commands are addressed."""
    registry_of: Callable[[Sequence[Touchpoint], int], Registry]
    _standing: Standing | None = None
    _at: dict[str, int] = field(default_factory=dict)
    """How far each kind was read: in memory ahead of what is recorded, while there was nothing to apply."""
    _withdrawn: int = 0
    """Records applied and not yet reported."""
    _rows: int = 0
    _held_since: float | None = None
    _unanswered: tuple[int, float] | None = None

    async def begin(self) -> None:
        """Take up what was decided before: which epoch is active. Raises sqlite3.Error."""
        self.capture.path.subjects.activated = await self.capture.writer.commit(
            lambda outbox: marks.read(outbox.connection, EPOCH)
        )

    async def follow(self) -> bool:
        """Apply what is new, a page of each kind at most; True if there may be more. Raises RestartAskedError."""
        standing = self.central.standing()
        if standing is None:
            return False
        if self._standing is None or self._standing.file != standing.file:
            await self._take_up(standing.file)
        self._standing = standing
        more = await self._consents()
        more = await self._touchpoints() or more
        if not more:
            more = await self._dropped(standing)
        if not more:
            await self._report(standing)
        return await self._commands() or more

    async def _take_up(self, file: str) -> None:
        """Go on where this file was left, or begin another at 0."""

        def job(outbox: Outbox) -> dict[str, int]:
            names = (CONSENT, REMOVED, REGISTRY, COMMANDS)
            if marks.read(outbox.connection, FILE) != file:
                for name in names:
                    marks.write(outbox.connection, name, 0)
                marks.write(outbox.connection, FILE, file)
            return {name: marks.number(outbox.connection, name) for name in (*names, APPLIED)}

        self._at = await self.capture.writer.commit(job)

    # --- consents

    async def _consents(self) -> bool:
        position, page = self.central.consents(self._at[CONSENT])
        if position is None:
            return False
        if page:
            await self._withdraw(page, position)
        self._at[CONSENT] = position
        return True

    async def _withdraw(self, page: Sequence[Change], position: int) -> None:
        """Apply withdrawals: rows, visits, presences and records of this store that they outrank, in one commit."""
        handles, ids = {handle for change in page for handle in change.handles}, [change.record_id for change in page]

        def look(outbox: Outbox) -> tuple[set[tuple[str, str]], dict[str, Consent]]:
            return outbox.waiting(handles), _said_here(outbox, ids)

        waiting, here = await self.capture.writer.commit(look)
        concerned = {handle for handle, _ in waiting} | (self.capture.path.handles() & handles)
        words = await self._verified(
            change for change in page if change.record_id in here or not concerned.isdisjoint(change.handles)
        )
        outranked = [word.record_id for word in words if _outranks(word.word(), here.get(word.record_id))]
        gone = await self._gone({handle for word in words for handle in word.handles}, waiting)
        self._withdrawn += len(words)
        if gone or outranked:
            await self._apply(gone, {CONSENT: position}, outranked)

    async def _verified(self, changes: Iterable[Change]) -> list[ConsentRecord]:
        """Read records that are not in force, as they were signed; what nobody of ours signed is left out."""
        words = []
        for number, change in enumerate(changes):
            if number % BREATH == BREATH - 1:
                await asyncio.sleep(0)
            try:
                _, payload = self.issuers.verify(change.record, Use.CONSENT)
                record = ConsentRecord.model_validate_json(payload)
            except (SignatureError, ValidationError):
                self._count_bad("a consent")
                continue
            if record.record_id == change.record_id and ConsentState(record.state) not in VALID:
                words.append(record)
        return words

    async def _gone(self, handles: Collection[str], waiting: Collection[tuple[str, str]]) -> _Gone:
        """Decide whose rows, visits and presences end: those of whom no record, of centre or store, says otherwise."""
        subjects, now = self.capture.path.subjects, _definite(self.capture.clock.now())
        said, asked = _Said(subjects.ledger), set(subjects.purposes.values())
        ends, some = set(), []
        concerned = ({handle for handle, _ in waiting} | self.capture.path.handles()) & set(handles)
        for number, handle in enumerate(sorted(concerned)):
            if number % BREATH == BREATH - 1:
                await asyncio.sleep(0)
            theirs = asked | {purpose for known, purpose in waiting if known == handle and purpose}
            denied = {each for each in theirs if isinstance(decide(said, handle, each, now), Denied)}
            if denied == theirs:
                ends.add(handle)
            else:
                some += [(handle, each) for each in sorted(denied) if (handle, each) in waiting]
        return _Gone(frozenset(ends), tuple(some))

    async def _apply(self, gone: _Gone, places: dict[str, int], outranked: Sequence[str] = ()) -> None:
        """End what must end, and record in the same commit how far that goes and what may have been sent."""
        if gone.handles:
            self.capture.path.withdraw(gone.handles)
        delivered = self.capture.followed.progress(self.capture.writer.outbox.session).delivered

        def job(outbox: Outbox) -> int:
            if gone:
                outbox.trim(delivered)
            sequences = outbox.withdraw(gone.handles) if gone.handles else []
            for handle, purpose in gone.purposes:
                sequences += outbox.withdraw({handle}, purpose)
            sent = [sequence for sequence in sequences if sequence <= outbox.fixed()]
            _remember_sent(outbox, sent)
            for record_id in outranked:
                outbox.connection.execute("DELETE FROM consent_handle WHERE record_id = ?", (record_id,))
                outbox.connection.execute("DELETE FROM consent WHERE record_id = ?", (record_id,))
            for name, value in places.items():
                marks.write(outbox.connection, name, value)
            return len(sequences)

        self._rows += await self.capture.writer.commit(job)
        await self.capture.forget()
        self.capture.ring()

    async def _dropped(self, standing: Standing) -> bool:
        """Treat whoever is no longer in the confirmed set like one without consent."""
        if standing.revision is None or standing.removed == self._at[REMOVED]:
            return False
        after = ""
        while handles := await self.capture.writer.commit(partial(Outbox.handles, after=after, limit=PAGE)):
            after = handles[-1]
            await self._end_without_consent(handles)
        await self._end_without_consent(self.capture.path.handles())
        self._at[REMOVED] = standing.removed
        await self._record({REMOVED: standing.removed})
        return False

    async def _end_without_consent(self, handles: Collection[str]) -> None:
        waiting = await self.capture.writer.commit(lambda outbox: outbox.waiting(handles))
        if gone := await self._gone(handles, waiting):
            await self._apply(gone, {})

    async def _record(self, places: dict[str, int]) -> None:
        def job(outbox: Outbox) -> None:
            for name, value in places.items():
                marks.write(outbox.connection, name, value)

        await self.capture.writer.commit(job)

    async def _report(self, standing: Standing) -> None:
        """Say which revision is in force, and what of withdrawn subjects may have been sent: once all is applied."""
        new = standing.revision is not None and standing.revision > self._at[APPLIED]
        if not (new or self._withdrawn or self._rows):
            return
        if standing.revision is None and not self._waited():
            return
        self._held_since = None
        revision, now = standing.revision or self._at[APPLIED], self.capture.clock.now()
        detail = {"revision": revision, "withdrawn": self._withdrawn, "rows": self._rows}

        def job(outbox: Outbox) -> None:
            outbox.append(draft.consent_applied(revision, _sent(outbox), now))
            marks.remove(outbox.connection, SENT)
            marks.write(outbox.connection, APPLIED, revision)
            marks.write(outbox.connection, CONSENT, self._at[CONSENT])
            audit.append(outbox.connection, now.wall_ms, audit.GATEWAY, "consent-applied", detail)

        await self.capture.writer.commit(job)
        self._withdrawn, self._rows, self._at[APPLIED] = 0, 0, revision
        self.capture.ring()

    def _waited(self) -> bool:
        """Tell whether a whole set was waited for long enough."""
        now = asyncio.get_running_loop().time()
        if self._held_since is None:
            self._held_since = now
        return now - self._held_since >= CONFIRM_SECONDS

    # --- touchpoints

    async def _touchpoints(self) -> bool:
        page = self.central.touchpoints(self._at[REGISTRY])
        if not page:
            return False
        entries = [(each, _definition(each)) for each in page]
        now = self.capture.clock.now()

        def job(outbox: Outbox) -> tuple[list[touchpoints.Taken], int, list[Touchpoint]]:
            taken = [
                done
                for each, (sound, entry) in entries
                if sound and (done := touchpoints.reconcile(outbox.connection, each.id, each.revision, entry))
            ]
            marks.write(outbox.connection, REGISTRY, page[-1].position)
            if taken:
                detail = {each.id: [each.what, *each.fields] for each in taken}
                audit.append(outbox.connection, now.wall_ms, audit.GATEWAY, "registry-from-centre", detail)
            return taken, *touchpoints.load(outbox.connection)

        taken, version, known = await self.capture.writer.commit(job)
        self._at[REGISTRY] = page[-1].position
        if not all(sound for _, (sound, _) in entries):
            log.warning("registry: a definition in uplink.db makes no sense and is left out")
        if taken:
            self.capture.path.registry = self.registry_of(known, version)
            log.info("registry: the centre has %s", "; ".join(map(str, taken)))
        return True

    # --- commands

    async def _commands(self) -> bool:
        for instruction in self.central.commands(self._at[COMMANDS]):
            if instruction.jws is None and instruction.status is None and not self._given_up(instruction):
                return False
            await self._command(instruction)
        return False

    def _given_up(self, instruction: Instruction) -> bool:
        """Tell whether the uplink half had its time to say what became of a command."""
        now = asyncio.get_running_loop().time()
        if self._unanswered is None or self._unanswered[0] != instruction.position:
            self._unanswered = instruction.position, now
        return now - self._unanswered[1] >= ANSWER_SECONDS

    async def _command(self, instruction: Instruction) -> None:
        if instruction.jws is None:
            status = instruction.status if instruction.status in {"done", "refused", "failed"} else "failed"
            told = instruction.reason if instruction.status else "the uplink half did not finish it"
            await self._answer(instruction, "uplink", (status, told))  # type: ignore[arg-type]  # one of the three
            return
        try:
            kid, payload = self.issuers.verify(instruction.jws, Use.COMMAND)
            command = COMMAND.validate_json(payload)
        except (SignatureError, ValidationError):
            self._count_bad("a command")
            await self._record({COMMANDS: instruction.position})
            self._at[COMMANDS] = instruction.position
            return
        counted = await self.capture.writer.commit(lambda outbox: marks.number(outbox.connection, COUNTER))
        why = refusal(command, self.gateway, counted, self.capture.clock.now())
        result: Result = ("refused", why) if why else await self._carry_out(command)
        if result[0] == "done" and instruction.status in {"refused", "failed"}:
            result = ("failed", f"the uplink half: {instruction.reason or instruction.status}")
        await self._answer(replace(instruction, id=command.id, command=command.command), kid, result, command)
        self._take_effect(command, result)

    async def _carry_out(self, command: Command) -> Result:
        """Do what the capture half has to do; what takes effect with the answer is done after that."""
        match command:
            case ActivateEpoch():
                return self._epoch_fits(command.epoch)
            case Identify():
                return await self._identify(command)
            case SetLogLevel() | Restart():
                return "done", None
            case _:
                return "refused", "the capture half has no part in it"

    async def _identify(self, command: Identify) -> Result:
        shown = await self.capture.identify(command.reader, command.seconds)
        if shown is None:
            return "refused", "there is no such reader"
        return ("done", None) if shown else ("refused", "that kind of reader cannot show where it is")

    def _epoch_fits(self, name: str) -> Result:
        ring, now_ms = self.capture.path.subjects.ring, self.capture.clock.now().wall_ms
        if ring is None:
            return "refused", "this gateway has no key ring"
        epoch = ring.epoch(name)
        if epoch is None:
            return "refused", "the key ring does not hold that epoch"
        return ("refused", "that epoch is over") if epoch.ended(now_ms) else ("done", None)

    async def _answer(self, instruction: Instruction, who: str, result: Result, command: Command | None = None) -> None:
        """Append what became of a command; with it goes the counter, so that it is never carried out again."""
        now = self.capture.clock.now()
        try:
            answer = draft.command_result(instruction.id, instruction.command, *result, now)
        except ValueError:  # what stands in uplink.db is no command that could be answered
            answer = None
        detail = {"command": instruction.command, "id": instruction.id, "status": result[0]}

        def job(outbox: Outbox) -> None:
            marks.write(outbox.connection, COMMANDS, instruction.position)
            if command is not None:
                counted = marks.number(outbox.connection, COUNTER)
                if command.gateway == self.gateway:
                    marks.write(outbox.connection, COUNTER, max(counted, command.counter))
                if isinstance(command, ActivateEpoch) and result[0] == "done":
                    marks.write(outbox.connection, EPOCH, command.epoch)
            if answer is not None:
                outbox.append([answer])
                audit.append(outbox.connection, now.wall_ms, who, "command", detail)

        await self.capture.writer.commit(job)
        self._at[COMMANDS] = instruction.position
        self.capture.ring()
        log.info("command %s: %s", instruction.command if answer else "?", result[0])

    def _take_effect(self, command: Command, result: Result) -> None:
        if result[0] != "done":
            return
        match command:
            case ActivateEpoch():
                self.capture.path.subjects.activated = command.epoch
            case SetLogLevel():
                log.setLevel(logging.getLevelNamesMapping()[command.level.upper()])
            case Restart():
                raise RestartAskedError
            case _:
                pass

    def _count_bad(self, what: str) -> None:
        self.capture.bad_signatures += 1
        self.capture.tally("down:bad-signature")
        if self.capture.bad_signatures == 1:
            log.warning("%s in uplink.db bears no signature that counts here: it is left out", what)


def _definite(now: Moment) -> Moment:
    """Return a moment at which a record can be judged: while the clock is not synced, nothing has expired."""
    return replace(now, wall_ms=0, quality=ClockQuality.HOLDOVER) if now.quality is ClockQuality.UNSYNCED else now


def _said_here(outbox: Outbox, ids: Sequence[str]) -> dict[str, Consent]:
    """Return those of these records that this store has a version of its own of."""
    rows = outbox.connection.execute(
        """SELECT record_id, revision, state, since_ms, expires_ms FROM consent
           WHERE record_id IN (SELECT value FROM json_each(?))""",
        (json.dumps(ids),),
    )
    return {row[0]: Consent(row[0], row[1], ConsentState(row[2]), None, "", row[3], row[4]) for row in rows}


def _outranks(word: Consent, here: Consent | None) -> bool:
    return here is not None and newest([here, word]) == [word]


def _remember_sent(outbox: Outbox, sequences: Collection[int]) -> None:
    """Add to what may have been sent of withdrawn subjects, until it is reported."""
    if sequences:
        known = draft.ranges(_sent(outbox) | set(sequences))
        marks.write(outbox.connection, SENT, json.dumps([(each.first, each.through) for each in known]))


def _sent(outbox: Outbox) -> set[int]:
    """Return the sequences that may have been sent and are not reported yet."""
    known = json.loads(marks.read(outbox.connection, SENT) or "[]")
    return {sequence for first, through in known for sequence in range(first, through + 1)}


def _definition(row: Definition) -> tuple[bool, Touchpoint | None]:
    """Read a definition: whether it makes sense, and what it says; None if the touchpoint is removed."""
    if row.text is None:
        return True, None
    try:
        entry = RegistryEntry.model_validate_json(row.text)
    except ValidationError:
        return False, None
    return (entry.id, entry.revision) == (row.id, row.revision), touchpoints.from_entry(entry)
