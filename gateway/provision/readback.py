"""What a printed file says when it is read as a phone would read it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pypdfium2
import zxingcpp
from PIL import Image, UnidentifiedImageError

from gateway.language import _

DPI: Final = 300
"""What a print shop's proof has."""
LARGEST_PIXELS: Final = 200_000_000


class UnreadableError(Exception):
    """A file that is neither a PDF nor a picture; the text says so."""


@dataclass(frozen=True, slots=True)
class Found:
    """A code that was read."""

    text: str
    page: int
    """From 1."""
    symbology: str


def read_pdf(document: bytes, *, upright: bool = False) -> Iterator[list[Found]]:
    """Render the pages one by one, and read what is on each. Raises UnreadableError.

    `upright` for what was just drawn: QR codes, neither turned, inverted nor too large, and read in half the time.
    """
    try:
        with pypdfium2.PdfDocument(document) as pdf:
            for number in range(len(pdf)):
                page = pdf[number]
                bitmap = page.render(scale=DPI / 72, grayscale=True)
                yield _codes(bitmap.to_pil(), number + 1, upright=upright)
                bitmap.close()
                page.close()
    except pypdfium2.PdfiumError:
        raise UnreadableError(_("it is no PDF, or a damaged one")) from None


def read_file(path: Path) -> Iterator[list[Found]]:
    """Read the codes of a PDF, page by page, or of a picture. Raises UnreadableError, OSError."""
    content = path.read_bytes()
    if content.startswith(b"%PDF-"):
        yield from read_pdf(content)
        return
    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > LARGEST_PIXELS:
                raise UnreadableError(_("the picture is too large; make it smaller, or cut it into pieces"))
            yield _codes(picture.convert("L"), 1)
    except (UnidentifiedImageError, Image.DecompressionBombError):
        raise UnreadableError(_("it is neither a PDF nor a picture that can be read (PNG, JPEG, TIFF, ...)")) from None


def _codes(picture: Image.Image, page: int, *, upright: bool = False) -> list[Found]:
    if upright:
        qr = zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode)
        found = zxingcpp.read_barcodes(picture, formats=qr, try_rotate=False, try_downscale=False, try_invert=False)
    else:
        found = zxingcpp.read_barcodes(picture)
    return [Found(each.text, page, each.symbology_identifier) for each in found if each.valid]
