"""The receipt that a customer takes home: text and the same text as a QR code, on the screen, on paper, drawn."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from gateway.language import _

Matrix = Sequence[Sequence[bool]]
SUFFIXES = (".txt", ".svg")
QUIET, NARROW = 4, 2
"""Modules of light around the code (ISO/IEC 18004, section 6.3.8); in characters fewer, so that 80 columns do."""
MODULE, LINE, WIDTH = 4, 16, 88
"""Pixels of a module, pixels of a line of text, and characters in it."""


def matrix(text: str, quiet: int = QUIET) -> Matrix:
    """Make the QR code of a text (ISO/IEC 18004, error correction L), True for dark."""
    from qrcode.constants import ERROR_CORRECT_L
    from qrcode.main import QRCode

    code = QRCode(border=quiet, error_correction=ERROR_CORRECT_L)
    code.add_data(text.encode())
    code.make(fit=True)
    rows: Matrix = code.get_matrix()
    return rows


def blocks(code: Matrix, *, lit: bool) -> str:
    """Draw a code in characters of two modules each: on a lit screen the light ones, on paper the dark ones."""
    rows = [[dark != lit for dark in row] for row in code]
    if len(rows) % 2:
        rows.append([False] * len(rows[0]))
    signs = {(False, False): " ", (False, True): "▄", (True, False): "▀", (True, True): "█"}
    pairs = zip(rows[::2], rows[1::2], strict=True)
    return "\n".join("".join(signs[drawn] for drawn in zip(upper, lower, strict=True)) for upper, lower in pairs)


def sheet(text: str, *, lit: bool, columns: int | None = None) -> str:
    """Set a receipt for a screen or a printer of text; in a window too narrow for the code the text stands alone."""
    code = matrix(text, NARROW)
    if columns is not None and len(code) > columns:
        needed = _("(The QR code needs {columns} columns; --receipt FILE.svg draws it.)").format(columns=len(code))
        return f"{text}{needed}\n"
    return f"{text}\n{blocks(code, lit=lit)}\n"


def svg(texts: Sequence[str]) -> str:
    """Draw receipts, one below the other, as a picture for a printer."""
    drawn, top, width = "", 0, WIDTH * 7
    for text in texts:
        code, lines = matrix(text), list(_lines(text))
        for row, line in enumerate(lines, 1):
            drawn += f'<text x="8" y="{top + row * LINE}">{escape(line)}</text>'
        top += (len(lines) + 1) * LINE
        drawn += f'<path d="{"".join(_squares(code, top))}"/>'
        top, width = top + len(code) * MODULE, max(width, len(code) * MODULE)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" font-family="monospace" font-size="11">'
        f'<rect width="100%" height="100%" fill="#fff"/>{drawn}</svg>\n'
    )


def _squares(code: Matrix, top: int) -> Iterator[str]:
    for y, row in enumerate(code):
        for x, dark in enumerate(row):
            if dark:
                yield f"M{x * MODULE} {top + y * MODULE}h{MODULE}v{MODULE}h-{MODULE}z"


def _lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        yield from (line[at : at + WIDTH] for at in range(0, max(len(line), 1), WIDTH))


def fault(path: Path) -> str | None:
    """Say why receipts cannot be written to a file, before anything is recorded; None if they can."""
    if path.suffix not in SUFFIXES:
        return _("{path}: the name must end in .txt or .svg").format(path=path)
    if path.exists():
        return _("{path} is there already; say another name").format(path=path)
    if not path.parent.is_dir():
        return _("{path} is no directory").format(path=path.parent)
    return None


def write(path: Path, texts: Sequence[str]) -> None:
    """Write receipts to a new file. Raises OSError."""
    told = svg(texts) if path.suffix == ".svg" else "\n".join(sheet(text, lit=False) for text in texts)
    with path.open("x", encoding="utf-8") as file:
        file.write(told)
