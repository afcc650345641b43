"""Writing one tag: look, write, read back, protect, and set down how far it has come before each step.

Each step leaves the tag finished, writable again or listed as begun, wherever it is cut; the same tag, put back, goes
on from there.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.language import _
from gateway.provision.tags.chip import Chip, Protection
from gateway.provision.tags.fault import (
    AGAIN,
    Fault,
    TagError,
    another,
    differs,
    exposed,
    never_locked,
    password_unknown,
    read_only,
    unprotected,
)
from gateway.provision.tags.inventory import USED, Entry, Inventory, State
from gateway.provision.tags.message import fits
from gateway.provision.tags.secret import TagSecret

FINAL = {False: State.PROTECTED, True: State.LOCKED}
ENOUGH = {
    State.WRITTEN: frozenset(Protection),
    State.PROTECTED: frozenset({Protection.KEYED, Protection.LOCKED}),
    State.LOCKED: frozenset({Protection.LOCKED}),
}
"""How a tag of a state may be protected: one is locked before that is set down."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a tag is to carry."""

    touchpoint: str
    answer: str | None
    link: str

    @property
    def title(self) -> str:
        """The touchpoint, and its answer."""
        return self.touchpoint if self.answer is None else f"{self.touchpoint} {self.answer}"


@dataclass(frozen=True, slots=True)
class Wishes:
    """How tags are to be written."""

    chip: str | None = None
    """The only chip that is taken; else any that is known here."""
    overwrite: bool = False
    lock: bool = False
    """Nobody can ever write the tag again."""


@dataclass(slots=True)
class Writer:
    """Writes tags for one store; `opened` makes a chip of what nfcpy has found. Methods raise TagError, OSError."""

    secret: TagSecret
    inventory: Inventory
    now_ms: Callable[[], int]
    opened: Callable[[Any], Chip]
    wishes: Wishes = Wishes()
    met: str | None = field(default=None, repr=False)
    """What the tag that was last on the reader is called in the inventory."""
    awaited: str | None = field(default=None, repr=False)
    """The tag that has to come back, by the same name: no other one is touched; None if any may come."""

    def meet(self, tag: Any) -> tuple[Chip, Entry | None]:  # noqa: ANN401 -- nfcpy has no types
        """Return the chip on the reader, and what is known of it."""
        name = self.secret.name(bytes(tag.identifier))
        if self.awaited not in {None, name}:
            raise another()
        self.met = name
        return self.opened(tag), self.inventory.find(self.met)

    def write(self, tag: Any, job: Job) -> Entry:  # noqa: ANN401 -- nfcpy has no types
        """Write a tag and protect it; return what is known of it then. A finished one is only verified."""
        chip, known = self.meet(tag)
        message = chip.made(job.link)
        carries = self._looked_at(chip, known, job, message)
        entry = Entry(self.met or "", job.touchpoint, job.answer, job.link, chip.name, State.BEGUN, self.now_ms())
        if chip.protection is Protection.LOCKED:
            return self._locked_before(entry, chip, known, carries=carries)
        chip.admit()
        self.inventory.record(entry)
        if not carries:
            chip.write(message)
        if not chip.holds(message):
            raise differs()
        written = self._record(entry, State.WRITTEN)
        return self._protected(entry, chip) if chip.keyed or self.wishes.lock else written

    def verify(self, tag: Any) -> tuple[Chip, Entry]:  # noqa: ANN401 -- nfcpy has no types
        """Return what is known of a tag that holds what the inventory says, and is protected as it says."""
        chip, known = self.meet(tag)
        if known is None or known.state not in USED:
            text = _("This tag was not finished here. Write it: touchpoint tags write TOUCHPOINT")
            raise TagError(Fault.FORGED, text)
        if chip.message() != chip.made(known.link):
            text = _("This tag does not hold what was written for {title}. Take it away, and write a new one.")
            raise TagError(Fault.DIFFERS, text.format(title=known.touchpoint))
        if chip.protection not in ENOUGH[known.state]:
            raise exposed(known.touchpoint)
        if chip.protection is Protection.KEYED:
            chip.admit()
        return chip, known

    def erase(self, tag: Any) -> Entry | None:  # noqa: ANN401 -- nfcpy has no types
        """Make a tag as delivered; return what it was, if that is known."""
        chip, known = self.meet(tag)
        if known is None and chip.message() and not self.wishes.overwrite:
            text = _("This tag was not written here, and carries something. To erase it all the same: --overwrite")
            raise TagError(Fault.CARRIES, text)
        chip.admit()
        if known is not None:
            self._record(known, State.BEGUN)
        chip.erase()
        if known is not None:
            self._record(known, State.ERASED)
        return known

    def lock(self, tag: Any) -> Entry:  # noqa: ANN401 -- nfcpy has no types
        """Lock a tag that was written here, for good."""
        chip, known = self.meet(tag)
        if known is None or known.state not in USED or chip.message() != chip.made(known.link):
            text = _("Only a tag that was written here is locked. Write it first: touchpoint tags write TOUCHPOINT")
            raise TagError(Fault.FORGED, text)
        chip.lock()
        return self._record(known, State.LOCKED)

    def lost(self, tag: str) -> Entry | None:
        """Set down that a tag was taken away half done and has not come back; None if it was not begun."""
        known = self.inventory.find(tag)
        if known is None or known.state not in {State.BEGUN, State.WRITTEN}:
            return None
        return self._record(known, State.LOST)

    def _looked_at(self, chip: Chip, known: Entry | None, job: Job, message: bytes) -> bool:
        """Tell whether the tag carries the message already. Raises TagError when it is not to be written."""
        if self.wishes.chip is not None and chip.name != self.wishes.chip:
            text = _("This is an {chip}, and the batch is for {wanted}. Take a tag from the right roll.")
            raise TagError(Fault.WRONG_CHIP, text.format(chip=chip.name, wanted=self.wishes.chip))
        if self.wishes.lock and not chip.lockable:
            raise never_locked()
        mine = known is not None and (known.touchpoint, known.answer) == (job.touchpoint, job.answer)
        if known is not None and known.state in USED and not mine and not self.wishes.overwrite:
            text = _("This tag is used for {title} already. Take another one, or write over it with --overwrite.")
            raise TagError(Fault.USED, text.format(title=known.touchpoint))
        fits(message, chip.room, chip.name)
        there = chip.message()
        if chip.protection is Protection.LOCKED and there != message:
            raise read_only()
        strange = known is None or known.state is State.ERASED
        if there and there != message and strange and not self.wishes.overwrite:
            if chip.protection is Protection.KEYED:
                raise password_unknown()
            text = _("This tag carries something that was not written here. Take another one, or use --overwrite.")
            raise TagError(Fault.CARRIES, text)
        return there == message

    def _locked_before(self, entry: Entry, chip: Chip, known: Entry | None, *, carries: bool) -> Entry:
        """Finish a lock that was cut; a tag that somebody else has locked is refused."""
        if not carries or known is None:
            raise read_only()
        if self.wishes.lock:
            chip.lock()
        return self._record(entry, State.LOCKED)

    def _protected(self, entry: Entry, chip: Chip) -> Entry:
        try:
            chip.protect()
            if self.wishes.lock:
                chip.lock()
        except TagError as error:
            if error.fault in AGAIN or not chip.keyed:
                raise
            raise unprotected() from None
        return self._record(entry, FINAL[self.wishes.lock])

    def _record(self, entry: Entry, state: State) -> Entry:
        recorded = replace(entry, state=state, at_ms=self.now_ms())
        self.inventory.record(recorded)
        return recorded
