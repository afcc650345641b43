"""`touchpoint codes`, as marketing types it: files that can be scanned, and messages that say what to do."""

import csv
import json
from pathlib import Path

import pytest
import zxingcpp
from PIL import Image
from typer.testing import CliRunner, Result

from gateway.cli.app import app

CSV = """id;kind;name;zone;phase;gtin;reference;serial;campaign;valid_from;valid_until;identifiers
catalogue-12;catalogue;Frühlingskatalog, Seite 12;;before;;;;spring;;;
diver;product;Diver 200;salon;before;09521234000419;D200;;;;;
farewell;feedback;How was it?;;after;;;;;;;#good #poor
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gateway's directory with a key for links, where nothing runs."""
    (tmp_path / "state").mkdir()
    (tmp_path / "gateway.toml").write_text(
        """[gateway]
tenant = "acme"
site = "zrh-1"
id = "gw-1"
state = "./state"
[mqtt]
host = "127.0.0.1"
[pseudonym]
keys = "./keys.json"
[links]
domain = "id.acme.example"
signing_keys = "./links.json"
""",
        encoding="utf-8",
    )
    monkeypatch.setenv("TOUCHPOINT_CONFIG", str(tmp_path / "gateway.toml"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "codes.csv").write_text(CSV, encoding="utf-8-sig")
    assert typed("codes", "key", "links.json").exit_code == 0
    return tmp_path


def typed(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def made(*words: str) -> str:
    """Run a command that must succeed; return what it says."""
    result = typed("codes", *words)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*words: str) -> str:
    """Run a command that must fail; return what it says, in one go."""
    result = typed("codes", *words)
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    return result.stderr


def test_a_sheet_is_made_registered_and_verified(home: Path) -> None:
    """From a spreadsheet's file; a touchpoint without identifiers has its link made; beside it stands what was made."""
    assert "4 codes of 22.5 mm on a page, all read back" in made("sheet", "codes.csv", "--out", "sheet.pdf")
    rows = list(csv.DictReader((home / "sheet.codes.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["id"], row["answer"]) for row in rows] == [
        ("catalogue-12", ""),
        ("diver", ""),
        ("farewell", "good"),
        ("farewell", "poor"),
    ]
    said = json.loads(made("verify", "sheet.pdf", "--json"))
    assert {each["text"] for each in said} == {row["link"] for row in rows}
    assert all(each["counts"] for each in said)
    again = json.loads(made("sheet", "--out", "labels.pdf", "--labels", "avery-l7160", "--json"))
    assert (again["codes"], again["pages"], again["size_mm"]) == (4, 1, 38.1)


def test_one_file_a_code_for_the_layout_program(home: Path) -> None:
    """Each by the touchpoint's name."""
    made("sheet", "codes.csv", "--out", "sheet.pdf", "--each", "codes", "--each-as", "png")
    names = sorted(path.name for path in (home / "codes").iterdir())
    assert names == ["catalogue-12.png", "diver.png", "farewell-good.png", "farewell-poor.png"]
    with Image.open(home / "codes" / "diver.png") as picture:
        assert zxingcpp.read_barcodes(picture)[0].text.startswith(
            "https://id.acme.example/01/09521234000419?t=diver&k=1&s="
        )


@pytest.mark.parametrize("ending", ["svg", "png", "eps", "pdf"])
def test_the_code_of_one_touchpoint(home: Path, ending: str) -> None:
    """In the format that the name of its file asks for."""
    made("sheet", "codes.csv", "--out", "sheet.pdf")
    assert "diver, QR version 5, read back" in made("make", "diver", "--out", f"diver.{ending}")
    assert (home / f"diver.{ending}").stat().st_size > 500


def test_a_feedback_point_has_a_code_for_each_answer(home: Path) -> None:
    """In a file each."""
    made("sheet", "codes.csv", "--out", "sheet.pdf")
    made("make", "farewell", "--size", "30")
    assert (home / "farewell-good.svg").exists()
    assert (home / "farewell-poor.svg").exists()


def test_what_is_refused_leaves_nothing(home: Path) -> None:
    """Neither a file nor a registered touchpoint."""
    assert "print it at 17.8 mm or more" in refused("sheet", "codes.csv", "--out", "sheet.pdf", "--size", "10")
    assert "no sheet of labels" in refused("sheet", "codes.csv", "--out", "sheet.pdf", "--labels", "avery")
    (home / "wrong.csv").write_text(CSV.replace("09521234000419", "09521234000418"), encoding="utf-8")
    assert "line 3: gtin:" in refused("sheet", "wrong.csv", "--out", "sheet.pdf")
    assert json.loads(typed("touchpoints", "list", "--json").stdout) == []
    assert sorted(path.name for path in home.iterdir() if path.suffix in {".pdf", ".svg", ".new"}) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("make", "vitrine"), "No touchpoint is called vitrine. Those that are there: touchpoint touchpoints list"),
        (("make", "diver", "--color", "#ff0000"), "reds look white"),
        (("make", "diver", "--color", "reddish"), "write it as #rrggbb"),
        (("make", "diver", "--out", "diver.doc"), "name a file that ends with .svg, .png, .eps, .pdf"),
        (("sheet", "--out", "sheet.pdf"), "use --force to write over"),
        (("verify", "codes.csv"), "neither a PDF nor a picture"),
        (("verify", "nothing.pdf"), "nothing.pdf: No such file"),
        (("export", "--target", "https://x.example/{price}", "--out", "set.json"), "only {id}, {kind}"),
    ],
)
def test_messages_say_what_to_do(home: Path, words: tuple[str, ...], said: str) -> None:
    """Each names what was wrong with what."""
    made("sheet", "codes.csv", "--out", "sheet.pdf")
    assert said in refused(*words)
    assert (home / "sheet.pdf").exists()


def test_a_link_is_explained(home: Path) -> None:
    """Whose it is, whether its signature is right, and what it stands for; the status says whether it counts."""
    made("sheet", "codes.csv", "--out", "sheet.pdf")
    (link, *_) = [
        each["text"] for each in json.loads(made("verify", "sheet.pdf", "--json")) if "catalogue" in each["text"]
    ]
    assert "signed with key 1; touchpoint catalogue-12" in made("check", link)
    assert "not signed" in typed("codes", "check", link.partition("?")[0]).stdout
    forged = typed("codes", "check", link.replace("12?", "13?"))
    assert (forged.exit_code, "its signature is wrong" in forged.stdout) == (1, True)
    assert "not a link under id.acme.example" in typed("codes", "check", "https://evil.example/").stdout
    assert (home / "links.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("home")
def test_what_is_retired_is_not_printed() -> None:
    """Neither alone nor in a list; a sheet of all leaves it out, and its link is explained as counting for nothing."""
    made("sheet", "codes.csv", "--out", "sheet.pdf")
    (code,) = [each for each in json.loads(made("verify", "sheet.pdf", "--json")) if "catalogue-12" in each["text"]]
    retired = typed("touchpoints", "edit", "catalogue-12", "--valid-until", "2020-01-01")
    assert retired.exit_code == 0, retired.output
    assert "catalogue-12" in refused("make", "catalogue-12")
    checked = typed("codes", "check", code["text"])
    assert (checked.exit_code, "which is retired" in checked.stdout) == (1, True)
    made("sheet", "--out", "all.pdf")
    assert "catalogue-12" not in made("verify", "all.pdf")
    assert (
        typed("codes", "check", code["text"].replace("https://id", "https://ID")).stdout.count("signed with key 1") == 1
    )
    assert "ends with .pdf" in refused("sheet", "--out", "sheet.txt")
    assert "check digit" in typed("codes", "check", "https://id.acme.example/01/09521234000524").stdout


def test_a_new_key_leaves_what_is_printed_valid(home: Path) -> None:
    """It signs what is made from now on."""
    made("sheet", "codes.csv", "--out", "old.pdf")
    assert "key 2 signs" in made("key", "links.json")
    made("sheet", "--out", "new.pdf")
    for file, kid in (("old.pdf", "key 1"), ("new.pdf", "key 2")):
        assert kid in made("verify", file)
    assert (home / "links.json").stat().st_mode & 0o777 == 0o600


def test_the_websites_resolver_gets_the_same_touchpoints(home: Path) -> None:
    """A link set (RFC 9264) of unsigned links; the same as CSV."""
    made("sheet", "codes.csv", "--out", "sheet.pdf")
    target = "https://www.acme.example/{kind}/{id}?a={answer}"
    made("export", "--target", target, "--out", "links.set.json")
    (context, *_) = json.loads((home / "links.set.json").read_text(encoding="utf-8"))["linkset"]
    assert context == {
        "anchor": "https://id.acme.example/t/catalogue-12",
        "https://ref.gs1.org/voc/defaultLink": [
            {
                "href": "https://www.acme.example/catalogue/catalogue-12?a=",
                "title": "Frühlingskatalog, Seite 12",
                "touchpoint": ["catalogue-12"],
            }
        ],
    }
    made("export", "--target", target, "--out", "links.csv")
    rows = list(csv.DictReader((home / "links.csv").read_text(encoding="utf-8").splitlines()))
    assert rows[-1]["target"] == "https://www.acme.example/feedback/farewell?a=poor"


def test_a_page_without_a_code_says_so(home: Path) -> None:
    """With what helps."""
    Image.new("L", (200, 200), 255).save(home / "white.png")
    assert "no code was found. Render it at 300 dpi" in refused("verify", "white.png")


def test_without_a_domain_there_are_no_codes(home: Path) -> None:
    """The message says which key is missing."""
    text = (home / "gateway.toml").read_text(encoding="utf-8")
    (home / "gateway.toml").write_text(text.replace('domain = "id.acme.example"\n', ""), encoding="utf-8")
    assert "set [links] domain" in refused("sheet", "--out", "sheet.pdf")


def test_sheets_of_labels_are_named() -> None:
    """With how large a code can be on each."""
    assert "avery-l7160    63.5 x 38.1 mm, 21 a page" in made("labels")
    assert {"name", "labels", "largest_mm"} <= json.loads(made("labels", "--json"))[0].keys()
