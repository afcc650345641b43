"""QR codes: a text as modules, and those modules as a picture in whichever format a layout program takes.

Made by zxing-cpp (zint's encoder), which needs half a millisecond where `qrcode` needs eight, and which chooses the
mask that ISO/IEC 18004 asks for; `qrcode` 8.2 chooses another for nearly half of all texts, and fails on some of zeros.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal
from xml.sax.saxutils import escape

import zxingcpp
from PIL import Image, ImageColor

from gateway.language import _

Level = Literal["L", "M", "Q", "H"]
"""How much of a symbol may be damaged: 7, 15, 25, 30 per cent (ISO/IEC 18004, 7.5.1)."""
QUIET: Final = 4
"""Modules without print around a symbol (ISO/IEC 18004, 5.3.8)."""
SMALLEST_MM: Final = 0.396
"""Width of a module at the point of sale (GS1 General Specifications, symbol specification table 1)."""
CONTRAST: Final = 0.55
"""Of light and dark, by reflectance: the limit of grade B (ISO/IEC 15415, 7.8.3)."""
MM_PER_INCH: Final = 25.4
POINTS_PER_MM: Final = 72 / MM_PER_INCH
BLACK: Final = "#000000"


class SymbolError(Exception):
    """A code that could not be made so that people's phones read it; the text says why, and what to do."""


@dataclass(frozen=True)
class Symbol:
    """A QR code."""

    text: str
    level: Level
    modules: bytes
    """Row by row from the top: 1 dark, 0 light; without the quiet zone."""
    side: int
    """Modules a side: 21 for version 1, four more for each further version."""

    @property
    def version(self) -> int:
        """The version, 1 to 40."""
        return (self.side - 17) // 4

    @property
    def whole(self) -> int:
        """Modules a side, with the quiet zone."""
        return self.side + 2 * QUIET

    @cached_property
    def runs(self) -> tuple[tuple[int, int, int], ...]:
        """The dark modules as (column, row from the top, length), each run as long as it can be."""
        return tuple(self._runs())

    def _runs(self) -> Iterator[tuple[int, int, int]]:
        for row in range(self.side):
            line = self.modules[row * self.side : (row + 1) * self.side]
            start = line.find(1)
            while start >= 0:
                end = line.find(0, start)
                end = self.side if end < 0 else end
                yield start, row, end - start
                start = line.find(1, end)


def symbol(text: str, level: Level = "M") -> Symbol:
    """Make the smallest QR code for a text. Raises SymbolError when it is too long for any, or not in ASCII.

    What octets above ASCII mean depends on who reads them; a link has none (RFC 3986, 2).
    """
    if not text.isascii():
        raise SymbolError(_("a code holds letters without accents: write others percent-encoded, as browsers do"))
    try:
        made = zxingcpp.create_barcode(text, zxingcpp.BarcodeFormat.QRCode, ec_level=level)
    except (ValueError, RuntimeError):
        raise SymbolError(
            _("no QR code with error correction {level} holds {count} characters").format(level=level, count=len(text))
        ) from None
    image = made.to_image(scale=1, add_quiet_zones=False)
    modules = bytes(memoryview(image)).translate(_DARK)  # type: ignore[arg-type]  # it has the buffer protocol
    return Symbol(text, level, modules, image.shape[0])


_DARK: Final = bytes([1]) + bytes(255)
"""Luminance to modules: black is dark, anything else light."""


def check_size(made: Symbol, size_mm: float, *, smallest_mm: float = SMALLEST_MM) -> None:
    """Refuse modules that are too small to print and read. `size_mm` includes the quiet zone. Raises SymbolError."""
    module = size_mm / made.whole
    if module < smallest_mm:
        needed = smallest_mm * made.whole
        raise SymbolError(
            _(
                "at {size_mm:g} mm a module would be {module:.2f} mm wide, and phones and scanners need"
                " {smallest_mm:g}: print it at {needed:.1f} mm or more, shorten the link, or take a lower error"
                " correction"
            ).format(size_mm=size_mm, module=module, smallest_mm=smallest_mm, needed=needed)
        )


def contrast(color: str, background: str = "#ffffff") -> float:
    """Return the difference of reflectance between two colours, from 0 to 1, in the light that shows it least.

    Scanners look in red light, in which red print is as white as the paper; phones look at luminance.
    Raises ValueError.
    """
    dark, light = (_reflectances(ImageColor.getrgb(each)) for each in (color, background))
    return min(bright - deep for deep, bright in zip(dark, light, strict=True))


def _reflectances(rgb: tuple[int, ...]) -> tuple[float, float]:
    """Return luminance and red of an sRGB colour, linear (IEC 61966-2-1)."""
    red, green, blue = (
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4  # noqa: PLR2004 -- the standard's
        for value in (part / 255 for part in rgb[:3])
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue, red


def check_color(color: str) -> None:
    """Refuse a colour that does not stand out from white paper. Raises SymbolError."""
    try:
        found = contrast(color)
    except ValueError:
        raise SymbolError(_("{color} is no colour: write it as #rrggbb").format(color=color)) from None
    if found < CONTRAST:
        raise SymbolError(
            _(
                "{color} stands out from white by {found:.0%} in the light that scanners see, and {needed:.0%} are"
                " needed: take a darker colour; reds look white to a scanner"
            ).format(color=color, found=found, needed=CONTRAST)
        )


def svg(made: Symbol, size_mm: float, color: str = BLACK) -> bytes:
    """Draw it as SVG, one path on white."""
    path = "".join(f"M{column + QUIET} {row + QUIET}h{length}v1h-{length}z" for column, row, length in made.runs)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size_mm:g}mm" height="{size_mm:g}mm"'
        f' viewBox="0 0 {made.whole} {made.whole}" shape-rendering="crispEdges">'
        f"<title>{escape(made.text)}</title>"
        f'<path fill="#fff" d="M0 0h{made.whole}v{made.whole}H0z"/><path fill="{color}" d="{path}"/></svg>\n'
    ).encode()


def png(made: Symbol, size_mm: float, color: str = BLACK, dpi: int = 600) -> bytes:
    """Draw it as PNG: whole dots a module, so a little smaller or larger; its resolution says the exact size."""
    scale = max(1, round(size_mm / MM_PER_INCH * dpi / made.whole))
    bits = Image.frombytes("L", (made.side, made.side), made.modules.translate(_LUMINANCE))
    drawn = Image.new("L", (made.whole, made.whole), 255)
    drawn.paste(bits, (QUIET, QUIET))
    drawn = drawn.resize((made.whole * scale, made.whole * scale), Image.Resampling.NEAREST)
    if color != BLACK:
        drawn = _colored(drawn, color)
    out = io.BytesIO()
    exact = made.whole * scale / (size_mm / MM_PER_INCH)
    drawn.save(out, "PNG", dpi=(exact, exact), optimize=True)
    return out.getvalue()


_LUMINANCE: Final = bytes([255, 0]) + bytes(254)
"""Modules to luminance."""


def _colored(drawn: Image.Image, color: str) -> Image.Image:
    picture = Image.new("RGB", drawn.size, "#ffffff")
    picture.paste(Image.new("RGB", drawn.size, color), mask=drawn.point(lambda light: 255 - light))
    return picture


def eps(made: Symbol, size_mm: float) -> bytes:
    """Draw it as EPS in black ink alone (CMYK 0, 0, 0, 1)."""
    points = size_mm * POINTS_PER_MM
    rectangles = "\n".join(
        f"{column + QUIET} {made.side + QUIET - 1 - row} {length} 1 rectfill" for column, row, length in made.runs
    )
    return (
        f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 {points:.0f} {points:.0f}\n"
        f"%%HiResBoundingBox: 0 0 {points:.4f} {points:.4f}\n%%LanguageLevel: 2\n%%EndComments\n"
        f"gsave\n{points / made.whole:.6f} dup scale\n0 0 0 1 setcmykcolor\n{rectangles}\ngrestore\nshowpage\n%%EOF\n"
    ).encode("ascii")
