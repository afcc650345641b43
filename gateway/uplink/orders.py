"""The commands that come down: a closed list, each signed, counted and carried out at most once."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from sqlite3 import Connection as Database

from pydantic import BaseModel, ConfigDict, ValidationError

from gateway.core import order
from gateway.core.contract import Topics
from gateway.core.downlink import COMMAND, Command, Label, Replay, Report, Restart, SetLogLevel, SyncConsent
from gateway.core.event import Name, Sequence
from gateway.core.jws import Issuers, Use
from gateway.core.sighting import Moment
from gateway.log import log
from gateway.store import said
from gateway.uplink.consents import Consents
from gateway.uplink.forward import Forwarder
from gateway.uplink.mqtt import Message
from gateway.uplink.payload import RefusedError, text, without_doubles


class _Heard(BaseModel):
    """As much of a signed command as it takes to answer it."""

    model_config = ConfigDict(strict=True, hide_input_in_errors=True)

    id: Name
    gateway: Name
    counter: Sequence
    command: Label


@dataclass(slots=True)
class Orders:
    """Takes commands. Raises sqlite3.Error, StoreError where it writes."""

    database: Database
    topics: Topics
    issuers: Issuers
    forwarder: Forwarder
    consents: Consents
    now: Callable[[], Moment]
    ring: Callable[[], None]
    report_now: bool = False
    """The state message must be published."""
    restart: bool = False
    """This process must be started again, once everything heard is written."""

    def take(self, message: Message, level: str) -> None:
        """Verify a command, and carry it out or leave it to capture.

        Raises RefusedError, SignatureError, ValueError.
        """
        del level
        if message.retain:
            raise RefusedError("it is retained")
        jws = text(message.payload)
        _, payload = self.issuers.verify(jws, Use.COMMAND)
        try:
            command = COMMAND.validate_json(without_doubles(payload))
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
            case SyncConsent() if self.consents.central:
                self._answered(command, "done", None)
                self.consents.fetch = True
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
                self.restart = True
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
