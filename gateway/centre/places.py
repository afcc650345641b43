"""How far the centre's word in `uplink.db` has been followed; recorded in `capture.db` with what was done about it."""

from dataclasses import dataclass, field

from gateway.capture import Capture
from gateway.log import Message, security, told
from gateway.store import marks
from gateway.store.outbox import Outbox

FILE, CONSENT, REMOVED = "central-file", "consent-position", "consent-removed"
SENT = "consent-possibly-sent"
REGISTRY, COMMANDS = "touchpoint-position", "command-position"
COUNTER, EPOCH = "command-counter", "epoch"
"""Names of marks (`store.marks`)."""
BREATH = 8
"""So many signatures are verified before others run: a millisecond's work."""


@dataclass(slots=True)
class Places:
    """How far each kind was read: in memory ahead of what is recorded, while there was nothing to apply."""

    capture: Capture
    at: dict[str, int] = field(default_factory=dict)

    async def take_up(self, file: str) -> None:
        """Go on where this file was left, or begin another at 0. Raises sqlite3.Error."""

        def job(outbox: Outbox) -> dict[str, int]:
            names = (CONSENT, REMOVED, REGISTRY, COMMANDS)
            if marks.read(outbox.connection, FILE) != file:
                for name in names:
                    marks.write(outbox.connection, name, 0)
                marks.write(outbox.connection, FILE, file)
            return {name: marks.number(outbox.connection, name) for name in (*names, marks.APPLIED)}

        self.at = await self.capture.writer.commit(job)

    async def record(self, name: str, place: int) -> None:
        """Record how far a kind was followed. Raises sqlite3.Error."""
        await self.capture.writer.commit(lambda outbox: marks.write(outbox.connection, name, place))
        self.at[name] = place

    def forged(self, what: str) -> None:
        """Count what bears no signature that is believed here; the first is logged."""
        self.capture.bad_signatures += 1
        self.capture.tally("down:bad-signature")
        if self.capture.bad_signatures == 1:
            extra = told(Message.STORED_FORGED, "signatures")
            security.warning("%s in uplink.db bears no signature that counts here: it is left out", what, extra=extra)
