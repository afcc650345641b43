"""The way down: consents, touchpoints, commands, cues and receipts, verified before anything is believed.

What arrives is hostile until its signature says otherwise. Each message is taken or refused; a refusal changes
nothing, is counted by kind and reason, and said in one line a minute at most. What is believed stands in `uplink.db`
before anybody acts on it, and capture verifies it once more when it reads it there.
"""

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from sqlite3 import Connection as Database
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
from gateway.store.progress import Component, report
from gateway.store.said import ConsentSet, Signed
from gateway.uplink.forward import Forwarder
from gateway.uplink.mqtt import Message

SAY_SECONDS = 60.0
"""A refusal of the same kind and reason is logged once in so long."""
SETTLE_SECONDS = 1.0
"""Comparing a large set with its digest takes a while: at most once in so long while it is fetched."""
AnyModel = TypeVar("AnyModel", bound=BaseModel)


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
    _signed: list[Signed] = field(default_factory=list, repr=False)
    _refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    _unsaid: Counter[tuple[str, str]] = field(default_factory=Counter)
    _said_ns: dict[tuple[str, str], int] = field(default_factory=dict)
    _compared_ns: int = 0
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
        state = self.consents.state()
        return not self.consents.syncing and state is not None and state[4]

    def subscriptions(self) -> list[str]:
        """Return what to subscribe to: what somebody may sign, and what needs no signature."""
        topics = self.topics
        wanted = [topics.consent_filter, topics.consent_state] if self.central else []
        wanted += [topics.command] if self.issuers.any_for(Use.COMMAND) else []
        wanted += [topics.cue_filter] if self.issuers.any_for(Use.CUE) else []
        return [*wanted, topics.registry_filter]

    def connected(self) -> None:
        """Begin to fetch the consent set: its retained messages come now."""
        self.fetch = False
        self.consents.begin()
        self._tell()

    def take(self, messages: Iterable[Message]) -> None:
        """Take a batch. Raises RestartAskedError, sqlite3.Error."""
        try:
            for message in messages:
                self._take(message)
            self._write_consents()
        finally:
            self._write_refusals()
        self.settle()

    def _take(self, message: Message) -> None:
        level = message.topic.rpartition("/")[2]
        kind, handle = self._handler(message.topic)
        try:
            handle(message, level)
        except RefusedError as refused:
            self._refuse(kind, str(refused))
        except SignatureError as refused:
            self._refuse(kind, str(refused))
        except (ValidationError, ValueError, RecursionError):
            self._refuse(kind, "it is not what the contract says")

    def _handler(self, topic: str) -> tuple[str, Callable[[Message, str], None]]:
        own, topics = topic.rpartition("/")[0], self.topics
        if topic == topics.receipt:
            return "receipt", self._receipt
        if topic == topics.command:
            return "command", self._command
        if topic == topics.consent_state:
            return "consent-state", self._consent_state
        by_folder = {
            topics.consent_filter[:-2]: ("consent", self._consent),
            topics.registry_filter[:-2]: ("registry", self._definition),
            topics.cue_filter[:-2]: ("cue", self._cue),
        }
        return by_folder.get(own, ("topic", self._unknown))

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
        self._judgeable()
        jws = _text(message.payload)
        known = self.consents.known(record_id)
        if known is not None and known[2] == jws:
            self.consents.saw([record_id])
            return
        _, payload = self.issuers.verify(jws, Use.CONSENT)
        record = _parsed(ConsentRecord, payload)
        self._ours(record.tenant, record.site)
        if record.record_id != record_id:
            raise RefusedError("it is not the record of its topic")
        self._not_from_the_future(record.since_ms)
        self._write_consents(unless=record_id)
        if not self.consents.supersedes(record):
            self.consents.saw([record_id])
            raise RefusedError("a newer revision is known")
        self._signed.append(Signed(record, jws))

    def _consent_state(self, message: Message, level: str) -> None:
        del level
        self._judgeable()
        _, payload = self.issuers.verify(_text(message.payload), Use.CONSENT)
        state = _parsed(ConsentState, payload)
        self._ours(state.tenant, state.site)
        self._not_from_the_future(unix_ms(state.at))
        known = self.consents.state()
        if known is not None and (state.revision, unix_ms(state.at)) < (known[0], known[3]):
            raise RefusedError("a newer state is known")
        self._write_consents()
        self.consents.say(state)
        self._compared_ns = 0
        if not self.consents.syncing and not self.complete:
            self.fetch = True

    def _write_consents(self, unless: str | None = None) -> None:
        """Write what has been verified; with `unless`, only if that record is among it: two of one id, in order."""
        if not self._signed or (unless is not None and all(each.record.record_id != unless for each in self._signed)):
            return
        signed, self._signed = self._signed, []
        self.consents.take(signed)
        self.consents.saw(each.record.record_id for each in signed)
        self.ring()

    def settle(self) -> None:
        """While the set is fetched, see whether it is complete; say how it stands."""
        now_ns = self.now().boot_ns
        if self.central and self.consents.syncing and now_ns - self._compared_ns >= SETTLE_SECONDS * 1e9:
            self._compared_ns = now_ns
            if self.consents.settle():
                self.ring()
                self.forwarder.bell.set()
        self._tell()

    def _tell(self) -> None:
        """Write how the set stands, for `status` and the state message."""
        if not self.central:
            return
        reason = self._incomplete()
        if self._told is None or self._told.reason != reason:
            self._told = Component(reason is None, reason, self.now().wall_ms)
            report(self.database, "consent", self._told)

    def _incomplete(self) -> str | None:
        state = self.consents.state()
        if state is None:
            return "the centre has not said yet what the consent set is; no customer is named"
        if state[4]:
            return None
        number = self.consents.count()
        return f"the consent set is not complete: {number:,} records of {state[1]:,}; no customer is named"

    def _judgeable(self) -> None:
        """Without a synced clock no date can be judged: the set is fetched again once it is."""
        if self.now().quality is ClockQuality.UNSYNCED:
            self.fetch = True
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
            if said.define(self.database, touchpoint, 0, None):
                self.ring()
            return
        entry = _parsed(RegistryEntry, message.payload)
        if entry.id != touchpoint:
            raise RefusedError("it is not the touchpoint of its topic")
        if said.define(self.database, touchpoint, entry.revision, entry.model_dump_json()):
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
            raise RefusedError("it is not for the touchpoint of its topic")
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
                why = self.forwarder.replay(command.session, command.first, command.through)
                self._answered(command, "refused" if why else "done", why)
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
                raise RestartAskedError
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
            refused, self._refused = self._refused, Counter()
            said.tally(self.database, [(f"down:{kind}: {why}", number) for (kind, why), number in refused.items()])


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
