"""A catalogue of printed codes, made and read back, beside the plain way with the libraries that everybody would take.

    python -m tests.benchmarks codes

The plain way: each code by `qrcode` as it comes, drawn module by module with reportlab, the pages rendered by Poppler's
pdftoppm at 300 dpi, and read by zxing-cpp.
"""

import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import qrcode
import zxingcpp
from PIL import Image
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas

from gateway.core.brandlink import LinkKeys, bare, sign
from gateway.core.registry import Touchpoint
from gateway.provision.codes import Code, pages
from gateway.provision.sheet import proof
from tests.benchmarks.row import Row, Target, alone, in_turn

CODES = 1_000
TIMES = 2
SIDE_MM = 25.0
COLUMNS, ROWS = 6, 7
DPI = 300
KEYS = LinkKeys({"1": bytes(32)}, "1")
PEAK = "from tests.benchmarks.codes import ours; ours(); print(open('/proc/self/status').read())"


def rows() -> Iterator[Row]:
    """Measure time beside the plain way, and memory."""
    pairs = in_turn(partial(_timed, ours), partial(_timed, plain), TIMES)
    yield pairs.row(f"{CODES:,} codes made and read back", "qrcode, reportlab, pdftoppm, zxing-cpp", "s", Target(0.6))
    yield alone(f"memory of {CODES:,} codes, at most", "MiB", [_peak() for _ in range(TIMES)], Target(150, unit="MiB"))


def links() -> list[tuple[Touchpoint, str]]:
    """Return touchpoints with their signed links."""
    points = [Touchpoint(f"page-{number:04}", "catalog", f"Page {number}") for number in range(CODES)]
    return [(point, sign(bare(point, "id.acme.example"), KEYS)) for point in points]


def ours() -> None:
    """Make a catalogue as `touchpoint codes sheet` does."""
    pages([Code(point, None, link) for point, link in links()], proof(SIDE_MM), SIDE_MM, "M", "Catalogue")


def plain() -> None:
    """Make it the plain way."""
    wanted = [link for _, link in links()]
    with TemporaryDirectory() as directory:
        document = Path(directory) / "sheet.pdf"
        document.write_bytes(_drawn(wanted))
        subprocess.run(["pdftoppm", "-r", str(DPI), "-gray", document, document.with_suffix("")], check=True)
        read = {each.text for page in Path(directory).glob("*.pgm") for each in _read(page)}
    if read != set(wanted):
        raise AssertionError(f"{len(wanted) - len(read)} codes were not read back")


def _read(page: Path) -> list[zxingcpp.Barcode]:
    with Image.open(page) as picture:
        return list(zxingcpp.read_barcodes(picture, formats=zxingcpp.barcode_formats_from_str("QRCode")))


def _drawn(wanted: list[str]) -> bytes:
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=(210 * mm, 297 * mm))
    for number, link in enumerate(wanted):
        place = number % (COLUMNS * ROWS)
        if number and not place:
            canvas.showPage()
        row, column = divmod(place, COLUMNS)
        _draw(canvas, link, (15 + column * 30) * mm, (260 - row * 38) * mm)
    canvas.save()
    return out.getvalue()


def _draw(canvas: Canvas, link: str, left: float, bottom: float) -> None:
    code = qrcode.QRCode(error_correction=qrcode.constants.ERROR_CORRECT_M, border=4)
    code.add_data(link)
    matrix = code.get_matrix()
    module = SIDE_MM * mm / len(matrix)
    for down, line in enumerate(reversed(matrix)):
        for along, dark in enumerate(line):
            if dark:
                canvas.rect(left + along * module, bottom + down * module, module, module, stroke=0, fill=1)


def _timed(work: Callable[[], None]) -> float:
    began = perf_counter()
    work()
    return perf_counter() - began


def _peak() -> float:
    """Return the most memory that a process of its own takes for it, MiB: VmHWM of proc_pid_status(5)."""
    ran = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    return int(ran.stdout.split("VmHWM:")[1].split()[0]) / 1024
