"""The results of a campaign as a table, a line a kind."""

from collections.abc import Iterable, Sequence
from typing import Any

from tests.campaign.verdict import upper_bound

HEAD = ("kind", "trials", "faults", "hits", "exposed", "accepted", "lost", "twice", "order", "bytes", "copies", "bad")
SUMS = ("faults", "hits", "exposed", "accepted", "lost", "twice", "reordered", "changed", "copies")
NOTES = """
hits: faults that struck while accepted events were not stored by the centre yet; exposed: those events.
accepted: events whose row an outside connection saw committed. lost, twice, order, bytes: accepted events that did
not arrive, scans that made two events, events that came after a later one, and events whose copies differ.
copies: deliveries beyond the first, which the centre drops by source and id. bad: trials in which anything was wrong.
"""


def lines(results: Sequence[dict[str, Any]]) -> list[str]:
    """Return the table and what it shows."""
    kinds = list(dict.fromkeys(result["kind"] for result in results))
    rows = [_row(kind, [result for result in results if result["kind"] == kind]) for kind in kinds]
    total = _row("all", results)
    widths = [max(len(row[column]) for row in (HEAD, *rows, total)) for column in range(len(HEAD))]
    table = [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in (HEAD, *rows, total)
    ]
    return [*table, NOTES, *_claims(results)]


def _row(kind: str, results: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    bad = sum(not result["good"] for result in results)
    return (kind, str(len(results)), *(str(total(results, name)) for name in SUMS), str(bad))


def total(results: Iterable[dict[str, Any]], name: str) -> int:
    """Add up one number of every trial."""
    return sum(result[name] for result in results)


def _claims(results: Sequence[dict[str, Any]]) -> list[str]:
    lost, accepted, hits = (total(results, name) for name in ("lost", "accepted", "hits"))
    if lost:
        return [f"{lost} of {accepted} accepted events were lost."]
    return [
        f"Lost 0 of {accepted} accepted events: fewer than {upper_bound(accepted):.1e} of them (95 %, rule of three).",
        f"0 of {hits} faults that hit lost anything: fewer than {upper_bound(hits):.2%} of such faults do.",
    ]
