"""QR codes as pictures: what phones and scanners read in them, and what is refused because they would not."""

import io
import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import qrcode
import zxingcpp
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gateway.provision.symbol import (
    Level,
    Symbol,
    SymbolError,
    check_color,
    check_size,
    contrast,
    eps,
    png,
    svg,
    symbol,
)

LINK = "https://id.acme.example/01/09521234000419/21/88?t=diver&k=1&s=abcdefghijklmn"


def drawn(made: Symbol, scale: int = 4) -> Image.Image:
    """Draw a symbol from its runs, as every format does."""
    picture = Image.new("L", (made.whole, made.whole), 255)
    for column, row, length in made.runs:
        picture.paste(0, (column + 4, row + 4, column + 4 + length, row + 5))
    return picture.resize((made.whole * scale, made.whole * scale), Image.Resampling.NEAREST)


def read(picture: Image.Image) -> list[str]:
    return [found.text for found in zxingcpp.read_barcodes(picture)]


@given(
    st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=120),
    st.sampled_from("LMQH"),
)
def test_what_is_made_is_read(text: str, level: Level) -> None:
    """Any text, with any error correction."""
    assert read(drawn(symbol(text, level))) == [text]


def test_a_symbol_is_as_small_as_it_can_be() -> None:
    """As `qrcode` finds it, which counts for itself."""
    for level, number in (("L", 1), ("M", 0), ("Q", 3), ("H", 2)):
        for length in (10, 40, 87, 146, 400):
            text = ("https://id.acme.example/" + "a1" * 200)[:length]
            other = qrcode.QRCode(error_correction=number)
            other.add_data(text)
            other.make(fit=True)
            assert symbol(text, level).version == other.version  # type: ignore[arg-type]  # the four letters


def test_what_no_symbol_holds_is_refused() -> None:
    """With the number of characters and the level that is too high for it; or with what to do about an accent."""
    with pytest.raises(SymbolError, match="percent-encoded"):
        symbol("é")
    with pytest.raises(SymbolError, match="correction H holds 2000 characters"):
        symbol("x" * 2000, "H")


def test_modules_too_small_to_print_are_refused_with_the_size_that_would_do() -> None:
    """GS1's smallest module at the point of sale."""
    made = symbol(LINK)
    assert made.whole == 37 + 8
    check_size(made, 17.82)
    with pytest.raises(SymbolError, match=r"at 15 mm a module would be 0\.33 mm .* print it at 17\.8 mm or more"):
        check_size(made, 15)


@pytest.mark.parametrize("color", ["#000000", "#003366", "#005a2b", "navy"])
def test_dark_colours_are_taken(color: str) -> None:
    """Black, blue and green ink look dark to phones and to scanners."""
    check_color(color)


@pytest.mark.parametrize(
    ("color", "wrong"), [("#ff0000", "reds look white"), ("#c9a227", "darker"), ("gold-ish", "#rrggbb")]
)
def test_colours_that_do_not_stand_out_are_refused(color: str, wrong: str) -> None:
    """Red looks white in a scanner's red light; gold is too bright for anybody."""
    with pytest.raises(SymbolError, match=wrong):
        check_color(color)


def test_contrast_is_that_of_black_and_white_at_most() -> None:
    """By reflectance, between 0 and 1."""
    assert contrast("#000000") == pytest.approx(1.0)
    assert contrast("#ffffff") == 0.0


def test_svg_is_one_dark_path_on_white_at_its_size() -> None:
    """In millimetres, with the quiet zone, and its text as title."""
    made = symbol(LINK)
    root = ET.fromstring(svg(made, 25, "#003366"))  # noqa: S314  # our own
    namespace = "{http://www.w3.org/2000/svg}"
    assert (root.get("width"), root.get("viewBox")) == ("25mm", f"0 0 {made.whole} {made.whole}")
    assert root.findtext(f"{namespace}title") == LINK
    background, path = root.findall(f"{namespace}path")
    assert (background.get("fill"), path.get("fill")) == ("#fff", "#003366")
    picture = Image.new("L", (made.whole, made.whole), 255)
    for column, row, length in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\d+z", str(path.get("d"))):
        picture.paste(0, (int(column), int(row), int(column) + int(length), int(row) + 1))
    assert read(picture.resize((made.whole * 4, made.whole * 4), Image.Resampling.NEAREST)) == [LINK]


@pytest.mark.parametrize("color", ["#000000", "#003366"])
def test_png_has_whole_dots_a_module_and_says_its_size(color: str) -> None:
    """So that no edge is blurred, and a layout program places it at the size that was asked for."""
    made = symbol(LINK)
    with Image.open(io.BytesIO(png(made, 20, color))) as picture:
        assert picture.width % made.whole == 0
        assert picture.width / picture.info["dpi"][0] * 25.4 == pytest.approx(20, abs=0.01)
        assert len(picture.getcolors() or []) == 2
        assert read(picture) == [LINK]


def test_eps_is_black_ink_alone_at_its_size(tmp_path: Path) -> None:
    """As Ghostscript renders it and counts its ink."""
    made = symbol(LINK)
    file = tmp_path / "code.eps"
    file.write_bytes(eps(made, 20))
    ghostscript = ["gs", "-q", "-dBATCH", "-dNOPAUSE", "-dEPSCrop"]
    ink = subprocess.run(
        [*ghostscript, "-sDEVICE=inkcov", "-o", "-", file], capture_output=True, text=True, check=True, timeout=50
    )
    cyan, magenta, yellow, black = map(float, ink.stdout.split()[:4])
    assert (cyan, magenta, yellow) == (0, 0, 0)
    assert black > 0.2
    page = tmp_path / "code.png"
    subprocess.run([*ghostscript, "-sDEVICE=pnggray", "-r600", "-o", page, file], check=True, timeout=50)
    with Image.open(page) as picture:
        assert picture.width / 600 * 25.4 == pytest.approx(20, abs=0.1)
        assert read(picture) == [LINK]
