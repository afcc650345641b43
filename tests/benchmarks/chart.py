"""The figures as a picture (SVG): how much of what is allowed each row uses, with its absolutes beside it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape

from tests.benchmarks.row import Row, quantity

WIDTH, ROW, TOP, LEFT, SCALE = 960, 26, 56, 330, 200
"""Pixels. `SCALE` is the length of a bar that uses all that is allowed."""
LONGEST = 2.0
MET, MISSED = "#2a7f62", "#c0392b"


def chart(rows: Sequence[Row]) -> str:
    """Draw the rows that have a target."""
    judged = [row for row in rows if row.met is not None]
    names = Counter(row.what for row in judged)
    height = TOP + ROW * len(judged) + 16
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        "<style>text { font: 12px sans-serif }</style>",
        "<title>How much of what is allowed the gateway uses</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="20">share of what is allowed: shorter is better, the line is the target</text>',
        *(line for at, row in enumerate(judged) for line in _bar(row, TOP + ROW * at, full=names[row.what] > 1)),
        f'<line x1="{LEFT + SCALE}" x2="{LEFT + SCALE}" y1="{TOP - 20}" y2="{height - 8}" stroke="black"/>',
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _bar(row: Row, top: int, *, full: bool) -> Iterator[str]:
    name = f"{row.what}: {row.beside}" if full else row.what
    length = SCALE * min(share(row), LONGEST)
    baseline = "" if row.baseline is None else f" · beside {quantity(row.baseline, row.unit)}"
    figures = f"{quantity(row.ours, row.unit)}{baseline} · to reach {row.target}"
    colour = MET if row.met else MISSED
    yield f'<text x="{LEFT - 8}" y="{top + 4}" text-anchor="end">{escape(name)}</text>'
    yield f'<rect x="{LEFT}" y="{top - 8}" width="{length:.0f}" height="16" fill="{colour}"/>'
    yield f'<text x="{LEFT + max(length, SCALE) + 8:.0f}" y="{top + 4}" fill="#444">{escape(figures)}</text>'


def share(row: Row) -> float:
    """Return how much of what is allowed a row uses: 1 is the target, less is better."""
    judged = row.ours if row.ratio is None else row.ratio
    assert row.target is not None, "a row without a target is not drawn"
    return row.target.limit / judged if row.target.at_least else judged / row.target.limit
