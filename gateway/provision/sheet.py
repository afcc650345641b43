"""Pages of codes for a printer: label sheets as they are sold, and proof pages with crop marks for a print shop.

Vector, in black ink alone (CMYK 0, 0, 0, 1), fonts embedded, one path a code. Lengths are in millimetres, places from
the top left.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import reportlab
from reportlab.lib.colors import CMYKColor
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from gateway.language import _
from gateway.provision.symbol import POINTS_PER_MM, QUIET, Symbol, SymbolError, check_size

INK: Final = CMYKColor(0, 0, 0, 1)
FONT: Final = "Vera"
"""Bitstream Vera, which reportlab brings along; the fonts that every PDF reader knows are not embedded."""
_FONT: Final = TTFont(FONT, str(Path(reportlab.__file__).parent / "fonts" / "Vera.ttf"))
pdfmetrics.registerFont(_FONT)
TITLE_POINTS: Final = 7.0
ID_POINTS: Final = 5.0
LINES_MM: Final = 6.0
"""Height of title and id under a code."""
BESIDE: Final = 1.6
BLEED_MM: Final = 3.0
CROP_MM: Final = 5.0
"""Length of a crop mark; as much again is the paper around it."""
MARGIN_MM: Final = 12.0
"""Between the trimmed edge of a proof page and its codes."""
GAP_MM: Final = 4.0
ROUNDING_MM: Final = 0.001


@dataclass(frozen=True, slots=True)
class Stock:
    """A sheet of labels, whose margins are the same left and right, and above and below."""

    name: str
    page: tuple[float, float]
    columns: int
    rows: int
    label: tuple[float, float]
    gap: float
    """Between columns."""
    captions: bool = True
    """Title and id stand with each code."""

    def corner(self, number: int) -> tuple[float, float]:
        """Return the corner of a label, by its number on the page."""
        row, column = divmod(number, self.columns)
        left = (self.page[0] - self.columns * self.label[0] - (self.columns - 1) * self.gap) / 2
        top = (self.page[1] - self.rows * self.label[1]) / 2
        return left + column * (self.label[0] + self.gap), top + row * self.label[1]

    @property
    def number(self) -> int:
        """Labels a page."""
        return self.columns * self.rows

    @property
    def beside(self) -> bool:
        """Whether a label is wide enough for title and id beside the code; else they stand below it."""
        return self.label[0] >= BESIDE * self.label[1]


A4: Final = (210.0, 297.0)
LETTER: Final = (215.9, 279.4)
STOCKS: Final = {
    stock.name: stock
    for stock in (
        Stock("avery-l7160", A4, 3, 7, (63.5, 38.1), 2.54),
        Stock("avery-l7161", A4, 3, 6, (63.5, 46.6), 2.54),
        Stock("avery-l7162", A4, 2, 8, (99.1, 33.9), 2.54),
        Stock("avery-l7163", A4, 2, 7, (99.1, 38.1), 2.54),
        Stock("avery-l7165", A4, 2, 4, (99.1, 67.7), 2.54),
        Stock("avery-l7651", A4, 5, 13, (38.1, 21.2), 2.5),
        Stock("avery-5160", LETTER, 3, 10, (66.675, 25.4), 3.175),
        Stock("avery-5163", LETTER, 2, 5, (101.6, 50.8), 4.7625),
        Stock("herma-4360", A4, 3, 8, (70.0, 37.0), 0.0),
    )
}
"""Label sheets by name (dimensions of their makers' data sheets)."""


@dataclass(frozen=True, slots=True)
class Printed:
    """A code on a page."""

    symbol: Symbol
    id: str
    title: str


def proof(size_mm: float) -> Stock:
    """Return a proof page: as many codes of this size as fit on A4, with room to write what each is."""
    cell = (size_mm + GAP_MM, size_mm + LINES_MM + GAP_MM)
    columns, rows = (int((length - 2 * MARGIN_MM) // part) for length, part in zip(A4, cell, strict=True))
    if not (columns and rows):
        raise SymbolError(_("codes of {size_mm:g} mm are too large for A4").format(size_mm=size_mm))
    return Stock("proof", A4, columns, rows, cell, 0.0)


def single(size_mm: float) -> Stock:
    """Return a page that is one code and nothing else."""
    return Stock("single", (size_mm, size_mm), 1, 1, (size_mm, size_mm), 0.0, captions=False)


def largest(stock: Stock) -> float:
    """Return how large a code can be on a label of this stock, with its title and id."""
    if not stock.captions:
        return min(stock.label)
    return stock.label[1] if stock.beside else min(stock.label[0], stock.label[1] - LINES_MM)


def draw(
    items: Sequence[Printed], stock: Stock, size_mm: float, title: str, told: Callable[[int], None] = lambda _: None
) -> bytes:
    """Return the pages as PDF; `told` hears how many codes are drawn. Raises SymbolError."""
    if size_mm > largest(stock) + ROUNDING_MM:
        raise SymbolError(
            _("{size_mm:g} mm is too large for {name}: at most {largest:.1f} mm").format(
                size_mm=size_mm, name=stock.name, largest=largest(stock)
            )
        )
    check_size(max((item.symbol for item in items), key=lambda made: made.side), size_mm)
    for item in items:
        _check_letters(item.title + item.id)
    out, around = io.BytesIO(), CROP_MM * 2 if stock.name == "proof" else 0.0
    canvas = _canvas(out, stock, around, title)
    pages = -(-len(items) // stock.number)
    for page in range(pages):
        first = page * stock.number
        for number, item in enumerate(items[first : first + stock.number]):
            _draw(canvas, item, stock, _place(stock, number, size_mm, around), size_mm)
            told(first + number + 1)
        if around:
            _draw_margin(canvas, stock, around, f"{title}   {page + 1} / {pages}")
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def _canvas(out: io.BytesIO, stock: Stock, around: float, title: str) -> Canvas:
    width, height = ((length + 2 * around) * POINTS_PER_MM for length in stock.page)
    trim, bleed = (_box(stock, around, each) if around else None for each in (0.0, BLEED_MM))
    canvas = Canvas(
        out,
        pagesize=(width, height),
        pageCompression=1,
        invariant=1,
        trimBox=trim,
        bleedBox=bleed,
        initialFontName=FONT,  # type: ignore[arg-type]  # the stubs are wrong
    )
    canvas.setTitle(title)
    canvas.setCreator("touchpoint")
    return canvas


def _box(stock: Stock, around: float, bleed: float) -> tuple[float, float, float, float]:
    """Return a box of the page (ISO 32000-1, 14.11.2) as left, bottom, right, top in points."""
    low, right, top = (
        each * POINTS_PER_MM for each in (around - bleed, *(side + around + bleed for side in stock.page))
    )
    return low, low, right, top


def _place(stock: Stock, number: int, size_mm: float, around: float) -> tuple[float, float]:
    """Return where a code's left lower corner is, in points from the page's."""
    left, top = stock.corner(number)
    if stock.beside or not stock.captions:
        top += (stock.label[1] - size_mm) / 2
    else:
        left += (stock.label[0] - size_mm) / 2
        top += (stock.label[1] - size_mm - LINES_MM) / 2
    return (left + around) * POINTS_PER_MM, (stock.page[1] + around - top - size_mm) * POINTS_PER_MM


def _draw(canvas: Canvas, item: Printed, stock: Stock, place: tuple[float, float], size_mm: float) -> None:
    size = size_mm * POINTS_PER_MM
    canvas.saveState()
    canvas.setFillColor(INK)
    canvas.translate(*place)
    if stock.captions:
        (_caption_beside if stock.beside else _caption_below)(canvas, item, stock, size)
    canvas.scale(size / item.symbol.whole, size / item.symbol.whole)
    canvas.addLiteral(_path(item.symbol))
    canvas.restoreState()


def _caption_beside(canvas: Canvas, item: Printed, stock: Stock, size: float) -> None:
    room = (stock.label[0] - 1) * POINTS_PER_MM - size
    _write(canvas, item.title, TITLE_POINTS, room, (size, size / 2 + 2))
    _write(canvas, item.id, ID_POINTS, room, (size, size / 2 - TITLE_POINTS))


def _caption_below(canvas: Canvas, item: Printed, stock: Stock, size: float) -> None:
    room = min(stock.label[0] * POINTS_PER_MM, size + GAP_MM * POINTS_PER_MM)
    _write(canvas, item.title, TITLE_POINTS, room, (size / 2, -TITLE_POINTS), centred=True)
    _write(canvas, item.id, ID_POINTS, room, (size / 2, -TITLE_POINTS - ID_POINTS - 1.5), centred=True)


def _path(symbol: Symbol) -> str:
    """Return a code as one filled path (ISO 32000-1, 8.5.2: `re`, `f`), in modules from its left lower corner."""
    top = symbol.whole - QUIET - 1
    return " ".join(f"{column + QUIET} {top - row} {length} 1 re" for column, row, length in symbol.runs) + " f"


def _write(  # what, how, where
    canvas: Canvas, text: str, points: float, room: float, at: tuple[float, float], *, centred: bool = False
) -> None:
    """Write a line, cut where there is no more room."""
    canvas.setFont(FONT, points)
    shown, cut = text, ""
    while shown and pdfmetrics.stringWidth(shown + cut, FONT, points) > room:
        shown, cut = shown[:-1], "…"
    (canvas.drawCentredString if centred else canvas.drawString)(*at, shown + cut)


def _check_letters(text: str) -> None:
    """Refuse letters that the font lacks: they would be printed as boxes."""
    known = _FONT.face.charToGlyph
    missing = sorted({letter for letter in text if ord(letter) not in known})
    if missing:
        raise SymbolError(
            _("{text}: the font has no {missing}: write the name in other letters").format(
                text=text, missing=" ".join(missing)
            )
        )


def _draw_margin(canvas: Canvas, stock: Stock, around: float, foot: str) -> None:
    """Draw crop marks at the corners of the trimmed page, and outside of it what the page is."""
    canvas.setStrokeColor(INK)
    canvas.setFillColor(INK)
    canvas.setLineWidth(0.25)
    for mark in _crop_marks(stock, around):
        canvas.line(*(length * POINTS_PER_MM for length in mark))
    canvas.setFont(FONT, ID_POINTS)
    canvas.drawString((around + MARGIN_MM) * POINTS_PER_MM, (around / 2 - 1) * POINTS_PER_MM, foot)


def _crop_marks(stock: Stock, around: float) -> Iterator[tuple[float, float, float, float]]:
    width, height = stock.page
    near, far = around - BLEED_MM, around - BLEED_MM - CROP_MM
    for x in (around, around + width):
        yield x, near, x, far
        yield x, height + 2 * around - near, x, height + 2 * around - far
    for y in (around, around + height):
        yield near, y, far, y
        yield width + 2 * around - near, y, width + 2 * around - far, y
