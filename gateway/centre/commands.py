"""What the centre orders, carried out at most once and answered: the capture half's part."""

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import ValidationError

from gateway.capture import Capture
from gateway.centre.places import COMMANDS, COUNTER, EPOCH, Places
from gateway.core import draft
from gateway.core.downlink import COMMAND, ActivateEpoch, Command, Identify, Restart, SetLogLevel
from gateway.core.jws import Issuers, SignatureError, Use
from gateway.core.order import RestartAskedError, refusal
from gateway.log import log
from gateway.store import audit, marks
from gateway.store.central import Central, Instruction
from gateway.store.outbox import Outbox

ANSWER_SECONDS = 60.0
"""So long the uplink half has to say what became of a command."""

Status = Literal["done", "refused", "failed"]
Result = tuple[Status, str | None]


@dataclass(slots=True)
class Commands:
    """Carries out commands. Raises sqlite3.Error, StoreError; RestartAskedError when asked for a restart."""

    capture: Capture
    central: Central
    issuers: Issuers
    places: Places
    gateway: str
    """The id of this gateway, to which commands are addressed."""
    _unanswered: tuple[int, float] | None = None

    async def begin(self) -> None:
        """Take up what was decided before: which epoch is active. Raises sqlite3.Error."""
        self.capture.path.subjects.activated = await self.capture.writer.commit(
            lambda outbox: marks.read(outbox.connection, EPOCH)
        )

    async def follow(self) -> None:
        """Carry out what has come, in order; a command that the uplink half has a part in waits for its answer."""
        for instruction in self.central.commands(self.places.at[COMMANDS]):
            if instruction.jws is None and instruction.status is None and not self._given_up(instruction):
                return
            await self._command(instruction)

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
            self.places.forged("a command")
            await self.places.record(COMMANDS, instruction.position)
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
        self.places.at[COMMANDS] = instruction.position
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
