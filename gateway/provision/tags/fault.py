"""What can be wrong with a tag that is to be written, and what staff do next.

Never what the tag says, nor its UID: what lies on the reader may be a customer's card.
"""

from enum import StrEnum

from gateway.language import _


class Fault(StrEnum):
    """What is wrong, for scripts."""

    WRONG_CHIP = "wrong-chip"
    NO_TAG = "no-nfc-forum-tag"
    READ_ONLY = "read-only"
    PASSWORD = "password-unknown"  # noqa: S105 -- the name of a fault
    NO_KEYS = "keys-missing"
    TOO_SMALL = "too-small"
    CARRIES = "carries-something"
    USED = "used"
    MOVED = "moved-away"
    READER = "reader-lost"
    REFUSED = "write-refused"
    DIFFERS = "verify-failed"
    UNPROTECTED = "protection-failed"
    FORGED = "not-ours"


AGAIN = frozenset({Fault.MOVED, Fault.READER})
"""After these the same tag can be put back and finished."""


class TagError(Exception):
    """A tag on which something cannot be done; the text says why, and what to do next."""

    def __init__(self, fault: Fault, text: str) -> None:
        super().__init__(text)
        self.fault = fault


def wrong_chip() -> TagError:
    """Say that this is none of the chips that can be written here."""
    text = _("This chip is none that can be written here. Take an NTAG213, NTAG215, NTAG216 or NTAG 424 DNA.")
    return TagError(Fault.WRONG_CHIP, text)


def no_message_file() -> TagError:
    """Say that a Type 4 tag has no file for a message."""
    text = _(
        "This chip is not prepared to carry a link: it has no NDEF application."
        " Take an NTAG213, NTAG215, NTAG216 or NTAG 424 DNA."
    )
    return TagError(Fault.WRONG_CHIP, text)


def always_writable() -> TagError:
    """Say that a Type 4 tag cannot be locked."""
    text = _(
        "This chip does not let itself be locked: anybody could still write over it."
        " Take an NTAG213, NTAG215 or NTAG216 for a tag that is to be locked."
    )
    return TagError(Fault.UNPROTECTED, text)


def never_locked() -> TagError:
    """Say that this chip cannot be made read-only for good."""
    text = _("An NTAG 424 DNA is not locked: its keys protect it. Leave --lock out, or take an NTAG21x.")
    return TagError(Fault.WRONG_CHIP, text)


def moved() -> TagError:
    """Say that the tag does not answer any more."""
    text = _("The tag moved away before it was finished. Put the SAME tag back, and hold it still.")
    return TagError(Fault.MOVED, text)


def another() -> TagError:
    """Say that this is not the tag that has moved away."""
    text = _(
        "This is another tag than the one that moved away. Take it away, and put the SAME tag back,"
        " or stop with Ctrl-C."
    )
    return TagError(Fault.MOVED, text)


def read_only() -> TagError:
    """Say that nobody can write the tag any more."""
    return TagError(Fault.READ_ONLY, _("This tag is locked for good. Put it aside, and take a new one."))


def password_unknown() -> TagError:
    """Say that somebody else has protected the tag."""
    text = _("This tag is protected by a password or key that is not this store's. Put it aside, and take a new one.")
    return TagError(Fault.PASSWORD, text)


def differs() -> TagError:
    """Say that a tag does not hold what was written."""
    text = _("What was read back is not what was written: the tag is faulty. Put it aside, and take a new one.")
    return TagError(Fault.DIFFERS, text)


def refused(page: int, code: int) -> TagError:
    """Say that the chip refused a write: its page or offset, and the code of its NAK or its status word."""
    text = _("The chip refused to be written (page {page}, code {code:X}). Put it aside, and take a new one.")
    return TagError(Fault.REFUSED, text.format(page=page, code=code))


def refused_command(command: int, code: int) -> TagError:
    """Say that the chip refused to change its keys or settings: the command, and its status word."""
    text = _(
        "The chip refused to change its keys or settings (command {command:X}, code {code:X})."
        " Put it aside, and take a new one."
    )
    return TagError(Fault.REFUSED, text.format(command=command, code=code))


def unprotected() -> TagError:
    """Say that a written tag could not be protected."""
    text = _(
        "The link is written, but protecting it failed: anybody could write over it. Try again, or take a new tag."
    )
    return TagError(Fault.UNPROTECTED, text)


def exposed(touchpoint: str) -> TagError:
    """Say that a tag that was protected is so no longer."""
    text = _(
        "This tag holds what was written for {title}, but anybody could write over it now."
        " Write it again: touchpoint tags write {title}"
    )
    return TagError(Fault.UNPROTECTED, text.format(title=touchpoint))
