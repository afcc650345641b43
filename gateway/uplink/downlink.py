"""The way down: consents, touchpoints, commands, cues and receipts, verified before anything is believed.

What arrives is hostile until its signature says otherwise. Each message is taken or refused; a refusal changes
nothing, is counted by kind and reason, and said in one line a minute at most. What is believed stands in `uplink.db`
before anybody acts on it, and capture verifies it once more when it reads it there.
"""

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from sqlite3 import Connection as Database
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from gateway.core import order
from gateway.core.contract import Topics
from gateway.core.downlink import (
    COMMAND,
    Command,
    ConsentRecord,
    ConsentState,
    Cue,
    Label,
    RegistryEntry,
    Replay,
    Report,
    Restart,
    SetLogLevel,
    SyncConsent,
    unix_ms,
)
from gateway.core.event import Name, Sequence
from gateway.core.jws import LONGEST, Issuers, SignatureError, Use
from gateway.core.order import FUTURE_MS, RestartAskedError
from gateway.core.sighting import ClockQuality, Moment
from gateway.log import log
from gateway.store import said
from gateway.store.progress import Component, components, report, sqlite_explained
from gateway.store.said import ConsentSet, Definition, Signed
from gateway.uplink.forward import Forwarder
from gateway.uplink.mqtt import Message

SAY_SECONDS = 60.0
"""A refusal of the same kind and reason is logged once in so long."""
SETTLE_SECONDS = 1.0
"""Comparing a large set with its digest takes a while: it is begun at most once in so long."""
UNLIKE_SECONDS = 5.0
"""So long the records have to arrive that belong to what the centre says of a set."""
FETCH_SECONDS = 300.0
"""A set that is not whole after so long is fetched once more."""
WRITE_SECONDS = 0.5
"""What has been heard is written after so long at the latest, however much more comes."""
TOGETHER = 500
"""And so many records or definitions are written at once."""
AnyModel = TypeVar("AnyModel", bound=BaseModel)


NAMES: Mapping[str, str] = MappingProxyType(
    {
        "it is not what the contract says": "malformed",
        "it is too long": "too-long",
        "it is retained": "retained",
        "nothing is expected on that topic": "unknown-topic",
        "it does not belong to its topic": "wrong-topic",
        "a newer one is known": "stale",
        "it is for another site": "wrong-site",
        "it is from the future": "from-the-future",
        "it has expired": "expired",
        "the clock is not synced, so its dates cannot be judged": "clock-unsynced",
        **order.NAMES,
    }
)
"""What refusals are called in counters; whatever is not here is a signature that is not believed."""


class RefusedError(Exception):
    """A message that is not taken; the text says why, in our own words."""


class _Heard(BaseModel):
    """As much of a signed command as it takes to answer it."""

    model_config = ConfigDict(strict=True, hide_input_in_errors=True)

    id: Name
    gateway: Name
    counter: Sequence
    command: Label


@dataclass(slots=True)
class Downlink:
    """Takes what comes down. Everything runs on the event loop, a bounded batch at a time."""

    database: Database
    topics: Topics
    issuers: Issuers
    forwarder: Forwarder
    now: Callable[[], Moment]
    ring: Callable[[], None]
    consents: ConsentSet = field(init=False)
    fetch: bool = False
    """The consent set must be fetched again: subscribe once more."""
    report_now: bool = False
    """The state message must be published."""
    _signed: dict[str, Signed] = field(default_factory=dict, repr=False)
    _definitions: list[Definition] = field(default_factory=list)
    _restart: bool = False
    _refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    _unsaid: Counter[tuple[str, str]] = field(default_factory=Counter)
    _said_ns: dict[tuple[str, str], int] = field(default_factory=dict)
    _written_ns: int = 0
    _compared_ns: int = 0
    _begun_ns: int = 0
    _awaited_ns: int | None = None
    _told_ns: int = 0
    _told: Component | None = None

    def __post_init__(self) -> None:
        self.consents = ConsentSet(self.database)

    @property
    def central(self) -> bool:
        """Whether a centre has a say in consents."""
        return self.issuers.any_for(Use.CONSENT)

    @property
    def complete(self) -> bool:
        """Whether the consent set is what the centre says it is, or there is no centre to say so."""
        if not self.central:
            return True
        here = self.consents.in_force()
        return not self.consents.syncing and here is not None and here.confirmed

    def subscriptions(self) -> list[str]:
        """Return what to subscribe to: what somebody may sign, and what needs no signature."""
        topics = self.topics
        wanted = [topics.consent_filter, topics.consent_state] if self.central else []
        wanted += [topics.command] if self.issuers.any_for(Use.COMMAND) else []
        wanted += [topics.cue_filter] if self.issuers.any_for(Use.CUE) else []
        return [*wanted, topics.registry_filter]

    def connected(self) -> None:
        """Begin to fetch the consent set: its retained messages come now. Raises StoreError."""
        self.fetch = False
        self._begun_ns, self._awaited_ns = self.now().boot_ns, None
        with sqlite_explained(self.database):
            self.consents.begin()
            self._tell()

    def take(self, messages: Iterable[Message]) -> None:
        """Take messages and write all that they say. Raises RestartAskedError, StoreError."""
        self.hear(messages)
        while self.write():
            pass

    def hear(self, messages: Iterable[Message]) -> None:
        """Take messages; what they say is written together, later. Raises RestartAskedError, StoreError."""
        with sqlite_explained(self.database):
            for message in messages:
                self._take(message)
        many = max(len(self._signed), len(self._definitions)) >= TOGETHER
        if many or self.now().boot_ns - self._written_ns >= WRITE_SECONDS * 1e9:
            self.write()

    def write(self) -> bool:
        """Write what has been heard, and look whether the consent set is whole; True if there is more to look at.

        Raises RestartAskedError, StoreError.
        """
        self._written_ns = self.now().boot_ns
        with sqlite_explained(self.database):
            self._write_consents()
            self._write_definitions()
            self._write_refusals()
            self._settle()
            self._tell()
        if self._restart:
            self._restart = False
            raise RestartAskedError
        return self.consents.busy

    def _take(self, message: Message) -> None:
        level = message.topic.rpartition("/")[2]
        kind, handle = self._handler(message.topic)
        try:
            handle(message, level)
        except (RefusedError, SignatureError) as refused:
            self._refuse(kind, str(refused))
        except (ValidationError, ValueError, RecursionError):
            self._refuse(kind, "it is not what the contract says")

    def _handler(self, topic: str) -> tuple[str, Callable[[Message, str], None]]:
        own, topics = topic.rpartition("/")[0], self.topics
        if own == topics.consent_filter[:-2]:
            return "consent", self._consent
        if topic == topics.receipt:
            return "receipt", self._receipt
        if topic == topics.command:
            return "command", self._command
        if topic == topics.consent_state:
            return "consent-state", self._consent_state
        by_folder = {
            topics.registry_filter[:-2]: ("registry-entry", self._definition),
            topics.cue_filter[:-2]: ("cue", self._cue),
        }
        return by_folder.get(own, ("message", self._unknown))

    def _unknown(self, message: Message, level: str) -> None:
        del message, level
        raise RefusedError("nothing is expected on that topic")

    def _receipt(self, message: Message, level: str) -> None:
        del level
        if message.retain:
            raise RefusedError("it is retained")
        self.forwarder.receive_receipt(message.payload)
        self.forwarder.bell.set()

    # --- consents

    def _consent(self, message: Message, record_id: str) -> None:
        if not message.payload:
            return  # what is no longer in the set is dropped when the set as a whole says so
        self._judgeable_set()
        jws = _text(message.payload)
        if record_id in self._signed:
            self._write_consents()  # two of one id, in order
        known = self.consents.known(record_id)
        if known is not None and known[2] == jws:
            self.consents.saw([record_id])
            return
        _, payload = self.issuers.verify(jws, Use.CONSENT)
        record = _parsed(ConsentRecord, payload)
        self._ours(record.tenant, record.site)
        if record.record_id != record_id:
            raise RefusedError("it does not belong to its topic")
        self._not_from_the_future(max(record.since_ms, unix_ms(record.granted_at)))
        if not (said.supersedes(record, known) or self._signs_again(record, known)):
            self.consents.saw([record_id])
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

    def _consent_state(self, message: Message, level: str) -> None:
        del level
        self._judgeable_set()
        jws = _text(message.payload)
        _, payload = self.issuers.verify(jws, Use.CONSENT)
        state = _parsed(ConsentState, payload)
        self._ours(state.tenant, state.site)
        self._not_from_the_future(unix_ms(state.at))
        known = self.consents.said()
        if known is not None and (state.revision, unix_ms(state.at)) < (known.revision, known.at_ms):
            raise RefusedError("a newer one is known")
        self.consents.say(state, jws)
        self._compared_ns, self._awaited_ns = 0, self.now().boot_ns

    def _write_consents(self) -> None:
        """Write what has been verified."""
        if self._signed:
            signed, self._signed = list(self._signed.values()), {}
            self.consents.take(signed)
            self.consents.saw(each.record.record_id for each in signed)
            self.ring()

    def _settle(self) -> None:
        """See whether the set is whole. If it does not become so, nothing in it counts, and it is fetched again."""
        if not (self.central and self.consents.open):
            return
        now_ns = self.now().boot_ns
        if not self.consents.busy:
            if now_ns - self._compared_ns < SETTLE_SECONDS * 1e9:
                return
            self._compared_ns = now_ns
        if self.consents.settle():
            self._awaited_ns = None
            self.ring()
            self.forwarder.bell.set()
        elif not self.consents.busy:
            self._give_up(now_ns)

    def _give_up(self, now_ns: int) -> None:
        """Wait no longer for records that belong to what the centre says: they should have come by now."""
        if self._awaited_ns is not None and now_ns - self._awaited_ns >= UNLIKE_SECONDS * 1e9:
            self._awaited_ns = None
            self.consents.refuse()
            self.ring()
            self.fetch = self.fetch or not self.consents.syncing
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
        here = self.consents.in_force()
        if here is None:
            return "the centre has not said yet what the consent set is; no customer is named"
        if here.confirmed:
            return None
        number = self.consents.count()
        return f"the consent set is not complete: {number:,} of {here.count:,} records; no customer is named"

    def _judgeable_set(self) -> None:
        """Without a synced clock no consent can be judged: the set is fetched again once it is."""
        if self.now().quality is ClockQuality.UNSYNCED:
            self.fetch = True
        self._judgeable()

    def _judgeable(self) -> None:
        if self.now().quality is ClockQuality.UNSYNCED:
            raise RefusedError("the clock is not synced, so its dates cannot be judged")

    def _ours(self, tenant: str, site: str) -> None:
        if (tenant, site) != (self.topics.tenant, self.topics.site):
            raise RefusedError("it is for another site")

    def _not_from_the_future(self, at_ms: int) -> None:
        if at_ms > self.now().wall_ms + FUTURE_MS:
            raise RefusedError("it is from the future")

    # --- touchpoints, cues

    def _definition(self, message: Message, touchpoint: str) -> None:
        if not message.payload:
            self._definitions.append(Definition(touchpoint, 0, None))
            return
        entry = _parsed(RegistryEntry, message.payload)
        if entry.id != touchpoint:
            raise RefusedError("it does not belong to its topic")
        self._definitions.append(Definition(touchpoint, entry.revision, entry.model_dump_json()))

    def _write_definitions(self) -> None:
        if self._definitions:
            definitions, self._definitions = self._definitions, []
            if said.define(self.database, definitions):
                self.ring()

    def _cue(self, message: Message, touchpoint: str) -> None:
        if not message.payload:
            return
        now = self.now()
        jws = _text(message.payload)
        _, payload = self.issuers.verify(jws, Use.CUE)
        cue = _parsed(Cue, payload)
        self._judgeable()
        if cue.touchpoint != touchpoint:
            raise RefusedError("it does not belong to its topic")
        if unix_ms(cue.expires) <= now.wall_ms:
            raise RefusedError("it has expired")
        self._not_from_the_future(unix_ms(cue.issued))
        said.show(self.database, touchpoint, cue.id, unix_ms(cue.expires), jws, now.wall_ms)

    # --- commands

    def _command(self, message: Message, level: str) -> None:
        del level
        if message.retain:
            raise RefusedError("it is retained")
        jws = _text(message.payload)
        _, payload = self.issuers.verify(jws, Use.COMMAND)
        try:
            command = COMMAND.validate_json(_without_doubles(payload))
        except (ValidationError, ValueError, RecursionError):
            self._unheard_of(payload)
            raise
        counted = said.counted(self.database)
        why = order.refusal(command, self.topics.gateway, counted, self.now())
        if why is not None and command.gateway == self.topics.gateway and command.counter > counted:
            self._answered(command, "refused", why)  # once: its counter is used now
        if why is not None:
            raise RefusedError(why)
        log.info("command %s", command.command)
        self._carry_out(command, jws)

    def _carry_out(self, command: Command, jws: str) -> None:
        """Do this half's part, after the counter is on the disk; leave to capture what is its."""
        match command:
            case Replay():
                why = self.forwarder.refusal(command.session, command.through)
                self._answered(command, "refused" if why else "done", why)
                if why is None:
                    self.forwarder.replay(command.first, command.through)
            case SyncConsent() if self.central:
                self._answered(command, "done", None)
                self.fetch = True
            case SyncConsent():
                self._answered(command, "refused", "no centre signs consents here")
            case Report():
                self._answered(command, "done", None)
                self.report_now = True
            case SetLogLevel():
                self._answered(command, "done", None, jws)
                log.setLevel(logging.getLevelNamesMapping()[command.level.upper()])
            case Restart():
                self._answered(command, "done", None, jws)
                self._restart = True
            case _:
                self._answered(command, None, None, jws)

    def _answered(self, command: Command, status: str | None, reason: str | None, jws: str | None = None) -> None:
        said.order(
            self.database,
            command.id,
            command.command,
            counter=command.counter,
            jws=jws,
            status=status,
            reason=reason,
        )
        self.ring()

    def _unheard_of(self, payload: bytes) -> None:
        """Answer what an issuer has signed and the list does not hold, if it says enough of itself to be answered."""
        try:
            heard = _Heard.model_validate_json(payload)
        except (ValidationError, ValueError, RecursionError):
            return
        if heard.gateway == self.topics.gateway and heard.counter > said.counted(self.database):
            why = "it is not in the list of commands, or not as the contract says"
            said.order(self.database, heard.id, heard.command, counter=heard.counter, status="refused", reason=why)
            self.ring()

    # --- refusals

    def _refuse(self, kind: str, reason: str) -> None:
        """Count a refusal, and log it unless that was done a moment ago."""
        what, now_ns = (kind, reason), self.now().boot_ns
        self._refused[what] += 1
        self._unsaid[what] += 1
        since_ns = self._said_ns.get(what)
        if since_ns is None or now_ns - since_ns >= SAY_SECONDS * 1e9:
            times = f", {self._unsaid[what]} times" if self._unsaid[what] > 1 else ""
            log.warning("a %s from the centre was refused: %s%s", kind, reason, times)
            self._said_ns[what], self._unsaid[what] = now_ns, 0

    def _write_refusals(self) -> None:
        if self._refused:
            named: Counter[str] = Counter()
            for (kind, reason), number in self._refused.items():
                named[f"down:{kind}:{NAMES.get(reason, 'bad-signature')}"] += number
            self._refused = Counter()
            said.tally(self.database, named.items())


def _text(payload: bytes) -> str:
    """Return a signed message as text. Raises RefusedError."""
    if len(payload) > LONGEST:
        raise RefusedError("it is too long")
    try:
        return payload.decode("ascii")
    except UnicodeDecodeError:
        raise RefusedError("it is no JWS in compact form") from None


def _parsed(model: type[AnyModel], payload: bytes) -> AnyModel:
    """Parse a payload. Raises ValidationError, ValueError."""
    return model.model_validate_json(_without_doubles(payload))


def _without_doubles(payload: bytes) -> bytes:
    """Return JSON in which no object has a key twice: readers differ in which of the two they take (RFC 8259, 4).

    Raises ValueError, RecursionError, RefusedError.
    """
    if len(payload) > LONGEST:
        raise RefusedError("it is too long")
    json.loads(payload, object_pairs_hook=_once)
    return payload


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found
