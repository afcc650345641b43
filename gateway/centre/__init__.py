"""What the capture half does about the centre's word: consents, touchpoints and commands, read in `uplink.db`.

The uplink half has verified them and stored them; here each signature is verified once more, since whoever takes over
the network half can withhold what the centre says, but not make it up. What is applied and how far is one commit, so
that a crash repeats at most what changes nothing the second time.

Everything comes in pages, with a breath between: the path of a sighting never waits for a hundred thousand consents.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from gateway.capture import Capture
from gateway.centre.commands import Commands
from gateway.centre.places import REGISTRY, Places
from gateway.centre.withdrawals import Withdrawals
from gateway.core.downlink import RegistryEntry
from gateway.core.jws import Issuers
from gateway.core.registry import Registry, Touchpoint
from gateway.log import log
from gateway.store import audit, marks, touchpoints
from gateway.store.central import Central, Definition
from gateway.store.outbox import Outbox


@dataclass(slots=True)
class Centre:
    """Follows the centre's word. `follow` is called whenever the uplink half has committed something."""

    capture: Capture
    central: Central
    issuers: Issuers
    gateway: str
    """The id of this gateway, to which commands are addressed."""
    registry_of: Callable[[Sequence[Touchpoint], int], Registry]
    _places: Places = field(init=False)
    _withdrawals: Withdrawals = field(init=False)
    _commands: Commands = field(init=False)
    _file: str | None = None
    """Which `uplink.db` is followed."""

    def __post_init__(self) -> None:
        self._places = Places(self.capture)
        self._withdrawals = Withdrawals(self.capture, self.central, self.issuers, self._places)
        self._commands = Commands(self.capture, self.central, self.issuers, self._places, self.gateway)

    async def begin(self) -> None:
        """Take up what was decided before. Raises sqlite3.Error."""
        await self._commands.begin()

    async def follow(self) -> bool:
        """Apply what is new, a page of each kind at most; True if there may be more.

        Raises RestartAskedError, sqlite3.Error, StoreError.
        """
        standing = self.central.standing()
        if standing is None:
            return False
        if self._file != standing.file:
            await self._places.take_up(standing.file)
            self._file = standing.file
        more = await self._withdrawals.follow()
        more = await self._touchpoints() or more
        if not more:
            await self._withdrawals.drop(standing)
            await self._withdrawals.report(standing)
        await self._commands.follow()
        return more

    async def _touchpoints(self) -> bool:
        page = self.central.touchpoints(self._places.at[REGISTRY])
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
        self._places.at[REGISTRY] = page[-1].position
        if not all(sound for _, (sound, _) in entries):
            log.warning("registry: a definition in uplink.db makes no sense and is left out")
        if taken:
            self.capture.path.registry = self.registry_of(known, version)
            log.info("registry: the centre has %s", "; ".join(map(str, taken)))
        return True


def _definition(row: Definition) -> tuple[bool, Touchpoint | None]:
    """Read a definition: whether it makes sense, and what it says; None if the touchpoint is removed."""
    if row.text is None:
        return True, None
    try:
        entry = RegistryEntry.model_validate_json(row.text)
    except ValidationError:
        return False, None
    return (entry.id, entry.revision) == (row.id, row.revision), touchpoints.from_entry(entry)
