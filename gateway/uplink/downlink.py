"""The way down: consents, touchpoints, commands, cues and receipts, verified before anything is believed.

What arrives is hostile until its signature says otherwise. Each message is taken or refused; a refusal changes nothing
and is counted. What is believed stands in `uplink.db` before anybody acts on it, and capture verifies it once more when
it reads it there.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from sqlite3 import Connection as Database

from pydantic import ValidationError

from gateway.core.contract import Topics
from gateway.core.downlink import Cue, RegistryEntry, unix_ms
from gateway.core.jws import Issuers, SignatureError, Use
from gateway.core.order import RestartAskedError
from gateway.core.sighting import Moment
from gateway.store import said
from gateway.store.progress import sqlite_explained
from gateway.store.said import Definition
from gateway.uplink.consents import Consents
from gateway.uplink.forward import Forwarder
from gateway.uplink.mqtt import Message
from gateway.uplink.orders import Orders
from gateway.uplink.payload import RefusedError, judgeable, not_from_the_future, parsed, text
from gateway.uplink.refusals import Refusals

WRITE_SECONDS = 0.5
"""What has been heard is written after so long at the latest, however much more comes."""
TOGETHER = 500
"""And so many records or definitions are written at once."""


@dataclass(slots=True)
class Downlink:
    """Takes what comes down. Everything runs on the event loop, a bounded batch at a time."""

    database: Database
    topics: Topics
    issuers: Issuers
    forwarder: Forwarder
    now: Callable[[], Moment]
    ring: Callable[[], None]
    consents: Consents = field(init=False)
    orders: Orders = field(init=False)
    _refusals: Refusals = field(init=False)
    _definitions: list[Definition] = field(default_factory=list)
    _written_ns: int = 0

    def __post_init__(self) -> None:
        self.consents = Consents(self.database, self.topics, self.issuers, self.now, self._consents_changed)
        self.orders = Orders(
            self.database, self.topics, self.issuers, self.forwarder, self.consents, self.now, self.ring
        )
        self._refusals = Refusals(self.database)

    def subscriptions(self) -> list[str]:
        """Return what to subscribe to: what somebody may sign, and what needs no signature."""
        topics = self.topics
        wanted = [topics.consent_filter, topics.consent_state] if self.consents.central else []
        wanted += [topics.command] if self.issuers.any_for(Use.COMMAND) else []
        wanted += [topics.cue_filter] if self.issuers.any_for(Use.CUE) else []
        return [*wanted, topics.registry_filter]

    def connected(self) -> None:
        """Begin to fetch the consent set: its retained messages come now. Raises StoreError."""
        with sqlite_explained(self.database):
            self.consents.begin()

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
        many = max(self.consents.waiting, len(self._definitions)) >= TOGETHER
        if many or self.now().boot_ns - self._written_ns >= WRITE_SECONDS * 1e9:
            self.write()

    def write(self) -> bool:
        """Write what has been heard, and look whether the consent set is whole; True if there is more to look at.

        Raises RestartAskedError, StoreError.
        """
        self._written_ns = self.now().boot_ns
        with sqlite_explained(self.database):
            self.consents.write()
            self._write_definitions()
            self._refusals.write()
            self.consents.settle()
        if self.orders.restart:
            self.orders.restart = False
            raise RestartAskedError
        return self.consents.known.busy

    def _consents_changed(self) -> None:
        """Have capture read what is new; and events may leave that had to wait."""
        self.ring()
        self.forwarder.bell.set()

    def _take(self, message: Message) -> None:
        level = message.topic.rpartition("/")[2]
        kind, handle = self._handler(message.topic)
        now_ns = self.now().boot_ns
        try:
            handle(message, level)
        except (RefusedError, SignatureError) as refused:
            self._refusals.add(kind, str(refused), now_ns)
        except (ValidationError, ValueError, RecursionError):
            self._refusals.add(kind, "it is not what the contract says", now_ns)

    def _handler(self, topic: str) -> tuple[str, Callable[[Message, str], None]]:
        own, topics = topic.rpartition("/")[0], self.topics
        if own == topics.consent_filter[:-2]:
            return "consent", self.consents.record
        if topic == topics.receipt:
            return "receipt", self._receipt
        if topic == topics.command:
            return "command", self.orders.take
        if topic == topics.consent_state:
            return "consent-state", self.consents.state
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

    def _definition(self, message: Message, touchpoint: str) -> None:
        if not message.payload:
            self._definitions.append(Definition(touchpoint, 0, None))
            return
        entry = parsed(RegistryEntry, message.payload)
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
        jws = text(message.payload)
        _, payload = self.issuers.verify(jws, Use.CUE)
        cue = parsed(Cue, payload)
        judgeable(now)
        if cue.touchpoint != touchpoint:
            raise RefusedError("it does not belong to its topic")
        if unix_ms(cue.expires) <= now.wall_ms:
            raise RefusedError("it has expired")
        not_from_the_future(unix_ms(cue.issued), now)
        said.show(self.database, touchpoint, cue.id, unix_ms(cue.expires), jws, now.wall_ms)
