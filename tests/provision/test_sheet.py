"""Pages of codes: every code is on them, readable, in black alone, where a label or a cut will be."""

import io
import subprocess
from pathlib import Path

import pypdfium2
import pytest
from PIL import Image, ImageFilter

from gateway.provision.readback import Found, UnreadableError, read_file, read_pdf
from gateway.provision.sheet import A4, STOCKS, Printed, Stock, draw, largest, proof
from gateway.provision.symbol import SymbolError, symbol

ALL = [*STOCKS.values(), proof(25)]


def items(number: int) -> list[Printed]:
    return [
        Printed(symbol(f"https://id.acme.example/t/c-{at}?k=1&s=abcdefghijklmn"), f"c-{at}", f"Frühling, page {at}")
        for at in range(number)
    ]


def size(stock: Stock) -> float:
    return min(largest(stock), 25.0)


@pytest.mark.parametrize("stock", ALL, ids=lambda stock: stock.name)
def test_every_code_is_read_back_from_the_pages(stock: Stock) -> None:
    """On as many pages as it takes, none twice, in order from page to page."""
    wanted = items(stock.number + 1)
    pages = list(read_pdf(draw(wanted, stock, size(stock), "Spring"), upright=True))
    assert [len(page) for page in pages] == [stock.number, 1]
    assert sorted(found.text for page in pages for found in page) == sorted(item.symbol.text for item in wanted)
    assert pages[1][0] == Found(wanted[-1].symbol.text, 2, "]Q1")


@pytest.mark.parametrize("stock", STOCKS.values(), ids=lambda stock: stock.name)
def test_labels_lie_within_their_page(stock: Stock) -> None:
    """The last one as far from the edges as the first."""
    left, top = stock.corner(0)
    right, bottom = stock.corner(stock.number - 1)
    assert left >= 0
    assert top >= 0
    assert right + stock.label[0] + left == pytest.approx(stock.page[0])
    assert bottom + stock.label[1] + top == pytest.approx(stock.page[1])


def test_a_code_is_printed_where_its_label_is() -> None:
    """Within the first label, as high as wide margins allow, with the lines that say what it is."""
    stock = STOCKS["avery-l7160"]
    with pypdfium2.PdfDocument(draw(items(1), stock, 25, "Spring")) as pdf:
        picture = pdf[0].render(scale=300 / 72, grayscale=True).to_pil()
    left, top, right, bottom = (side / 300 * 25.4 for side in picture.point(lambda light: 255 - light).getbbox() or ())
    x, y = stock.corner(0)
    assert x < left < right < x + stock.label[0]
    assert y < top < bottom < y + stock.label[1]
    assert (top + bottom) / 2 == pytest.approx(y + stock.label[1] / 2, abs=0.5)


def test_proof_pages_have_trim_and_bleed_boxes_and_crop_marks() -> None:
    """A4 when cut; 3 mm of bleed; marks that touch neither; the page's number outside."""
    document = draw(items(2), proof(25), 25, "Spring")
    with pypdfium2.PdfDocument(document) as pdf:
        page = pdf[0]
        trim, bleed, media = page.get_trimbox(), page.get_bleedbox(), page.get_mediabox()
        text = page.get_textpage().get_text_range()
    millimetres = 25.4 / 72
    assert (trim[2] - trim[0]) * millimetres == pytest.approx(A4[0])
    assert (trim[3] - trim[1]) * millimetres == pytest.approx(A4[1])
    assert (trim[0] - bleed[0]) * millimetres == pytest.approx(3)
    assert media[2] > bleed[2]
    assert "Spring 1 / 1" in " ".join(text.split())
    assert "Frühling, page 1" in text
    assert "c-1" in text


def test_a_print_shop_takes_it(tmp_path: Path) -> None:
    """No ink but black, by Ghostscript; every font embedded, by Poppler."""
    file = tmp_path / "sheet.pdf"
    file.write_bytes(draw(items(4), proof(25), 25, "Spring"))
    ink = subprocess.run(
        ["gs", "-q", "-dBATCH", "-dNOPAUSE", "-sDEVICE=inkcov", "-o", "-", file],
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    cyan, magenta, yellow, black = map(float, ink.stdout.split()[:4])
    assert (cyan, magenta, yellow) == (0, 0, 0)
    assert black > 0
    fonts = subprocess.run(
        ["pdffonts", file], capture_output=True, text=True, check=True, timeout=50
    ).stdout.splitlines()
    embedded = fonts[0].index("emb")
    assert [line[embedded : embedded + 3] for line in fonts[2:]] == ["yes"]


def test_another_reader_reads_it_also_from_poor_print(tmp_path: Path) -> None:
    """ZBar, from modules of 0.4 mm at 300 dpi; once more blurred over half a module, and with a tenth more ink."""
    wanted = items(6)
    side = wanted[0].symbol.whole * 0.4
    with pypdfium2.PdfDocument(draw(wanted, proof(side), side, "Spring")) as pdf:
        picture = pdf[0].render(scale=300 / 72, grayscale=True).to_pil()
    module = 0.4 / 25.4 * 300
    for name, printed in {
        "good": picture,
        "blurred": picture.filter(ImageFilter.BoxBlur(module / 4)),
        "swollen": gained(picture, module * 0.1),
    }.items():
        file = tmp_path / f"{name}.png"
        printed.save(file)
        read = subprocess.run(
            ["zbarimg", "-q", "--raw", file], capture_output=True, text=True, check=True, timeout=50
        ).stdout.split()
        assert sorted(read) == sorted(item.symbol.text for item in wanted), name


def gained(picture: Image.Image, pixels: float) -> Image.Image:
    """Let ink spread by a part of a pixel, at eight times the resolution."""
    large = picture.resize((picture.width * 4, picture.height * 4), Image.Resampling.NEAREST)
    spread = 2 * round(pixels * 4 / 2) + 1
    return large.filter(ImageFilter.MinFilter(spread)).resize(picture.size, Image.Resampling.BOX)


def test_a_long_title_is_cut_and_stays_on_its_label() -> None:
    """Its code and id are whole."""
    made = [Printed(symbol("a"), "c-1", "A very long title that no label could ever hold " * 3)]
    with pypdfium2.PdfDocument(draw(made, STOCKS["avery-l7651"], 14, "")) as pdf:
        text = pdf[0].get_textpage().get_text_range()
    assert "…" in text
    assert "c-1" in text


@pytest.mark.parametrize(
    ("title", "side", "wrong"),
    [
        ("鐘", 25, "the font has no 鐘"),
        ("Clock", 60, r"60 mm is too large for avery-l7160: at most 38\.1 mm"),
        ("Clock", 8, "print it at"),
    ],
)
def test_what_would_not_be_read_is_refused(title: str, side: float, wrong: str) -> None:
    """Letters that the font lacks, a code that its label does not hold, modules too small to print."""
    with pytest.raises(SymbolError, match=wrong):
        draw([Printed(symbol("https://id.acme.example/t/c-1"), "c-1", title)], STOCKS["avery-l7160"], side, "")


def test_codes_too_large_for_a_page_are_refused() -> None:
    """With the size."""
    with pytest.raises(SymbolError, match="300 mm are too large for A4"):
        proof(300)


def test_pictures_are_read_too(tmp_path: Path) -> None:
    """A photograph or a scan of a printed page, turned by a quarter."""
    with pypdfium2.PdfDocument(draw(items(2), proof(25), 25, "")) as pdf:
        pdf[0].render(scale=2).to_pil().rotate(90, expand=True).save(tmp_path / "photo.jpg")
    (page,) = read_file(tmp_path / "photo.jpg")
    assert sorted(found.text for found in page) == sorted(item.symbol.text for item in items(2))


@pytest.mark.parametrize("content", [b"%PDF-1.7 nonsense", b"nonsense", b""])
def test_what_is_neither_pdf_nor_picture_is_refused(tmp_path: Path, content: bytes) -> None:
    """With a word about what it is not."""
    file = io.BytesIO(content)
    path = tmp_path / "file"
    path.write_bytes(file.getvalue())
    with pytest.raises(UnreadableError, match="it is n"):
        list(read_file(path))
