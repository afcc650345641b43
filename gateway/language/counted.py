"""Names of counters and verdicts, which are English in metrics and JSON, as people read them."""

from typing import Final

from gateway.language import _, later

DROPPED: Final = (
    later("ambiguous"),
    later("badge"),
    later("coalesced"),
    later("malformed"),
    later("missed"),
    later("not-believed"),
    later("not-valid"),
    later("overload"),
    later("oversized"),
    later("store"),
    later("torn"),
    later("undecodable"),
    later("unknown"),
    later("unreadable"),
    later("unverified"),
)
"""Why a sighting became nothing."""
VERDICTS: Final = (later("genuine-unreconciled"), later("replayed"), later("forged"))
"""What is believed of a tag that signs."""


def called(name: str) -> str:
    """Return what one of DROPPED or VERDICTS is called in the language that is spoken; any other name as it is."""
    return _(name) if name in {*DROPPED, *VERDICTS} else name
