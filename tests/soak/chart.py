"""The samples as a picture (SVG): one panel for each quantity, one line for each process or file."""

from collections.abc import Iterator, Sequence
from html import escape

from tests.soak.samples import UNITS, Sample, lines

WIDTH, HEIGHT, LEFT, GAP = 860, 150, 60, 40
COLOURS = ("#1f6f8b", "#c0392b", "#2a7f62", "#8e44ad")


def chart(samples: Sequence[Sample]) -> str:
    """Draw everything over time."""
    series = lines(samples)
    panels = sorted({what for what, _ in series})
    height = GAP + len(panels) * (HEIGHT + GAP)
    drawn = [part for at, what in enumerate(panels) for part in _panel(what, series, GAP + at * (HEIGHT + GAP))]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
    style = "<style>text { font: 12px sans-serif }</style><title>The gateway over hours</title>"
    return "\n".join([head, style, f'<rect width="{WIDTH}" height="{height}" fill="white"/>', *drawn, "</svg>"]) + "\n"


def _panel(what: str, series: dict[tuple[str, str], list[Sample]], top: int) -> Iterator[str]:
    mine = {of: found for (each, of), found in sorted(series.items()) if each == what}
    most = max(sample.value for found in mine.values() for sample in found) * 1.15 or 1.0
    last = max(sample.hours for found in mine.values() for sample in found) or 1.0
    bottom, width = top + HEIGHT, WIDTH - LEFT - 20
    yield f'<text x="{LEFT}" y="{top - 6}">{what}, {UNITS[what] or "number"}</text>'
    yield f'<text x="{LEFT - 6}" y="{bottom}" text-anchor="end">0</text>'
    yield f'<text x="{LEFT - 6}" y="{top + 10}" text-anchor="end">{most:.3g}</text>'
    yield f'<text x="{WIDTH - 20}" y="{bottom + 16}" text-anchor="end">{last:.2f} h</text>'
    yield f'<path d="M{LEFT} {top}V{bottom}H{LEFT + width}" fill="none" stroke="#888"/>'
    for number, (of, found) in enumerate(mine.items()):
        points = " ".join(
            f"{LEFT + width * each.hours / last:.1f},{bottom - HEIGHT * each.value / most:.1f}" for each in found
        )
        colour = COLOURS[number % len(COLOURS)]
        yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        yield f'<text x="{LEFT + 140 + number * 130}" y="{top - 6}" fill="{colour}">{escape(of)}</text>'
