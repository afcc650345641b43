"""What the doctor says: one finding a check."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How a check came out."""

    FINE = "fine"
    NOTE = "note"
    """It works, and is worth knowing."""
    UNKNOWN = "unknown"
    """The check could not be made."""
    WRONG = "wrong"
    """A person is needed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; no identifier of a customer or a device's address is in it."""

    check: str
    """Which check, for scripts: stays the same in every language."""
    verdict: Verdict
    what: str
    means: str = ""
    """What comes of it; empty where nothing is wrong."""
    fix: str = ""
    """What to do, as exactly as it can be said."""


def needs_a_person(findings: Iterable[Finding]) -> bool:
    """Tell whether anything is wrong."""
    return any(each.verdict is Verdict.WRONG for each in findings)
