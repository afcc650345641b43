"""`touchpoint touchpoints`, as staff type it: what changes, what is refused, what is left when it is interrupted."""

import json
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.app import app
from gateway.clock import Clock
from gateway.store import usage
from gateway.store.database import open_writer, transaction
from gateway.store.schema import CAPTURE
from gateway.store.usage import Use

FEEDBACK = (
    "add",
    "farewell",
    "--kind",
    "feedback",
    "--name",
    "How was it?",
    "--answer",
    "good",
    "--answer",
    "sehr gut",
)
EXCEL = (
    "\ufeffid;kind;name;zone;phase;gtin;reference;serial;campaign;valid_from;valid_until;identifiers\r\n"
    'diver;product;"Taucheruhr; groß";salon;before;09521234000419;;;;01.03.2020;31.12.2999;\r\n'
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gateway's directory, where nothing runs."""
    (tmp_path / "state").mkdir()
    (tmp_path / "gateway.toml").write_text(
        """[gateway]
tenant = "acme"
site = "zrh-1"
id = "gw-1"
state = "./state"
time_zone = "Europe/Zurich"
[mqtt]
host = "127.0.0.1"
[pseudonym]
keys = "./keys.json"
[clock]
source = "trusted"
[links]
domain = "id.acme.example"
""",
        encoding="utf-8",
    )
    monkeypatch.setenv("TOUCHPOINT_CONFIG", str(tmp_path / "gateway.toml"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def typed(*words: str, given: str | None = None) -> Result:
    return CliRunner().invoke(app, ("touchpoints", *words), input=given)


def done(*words: str, given: str | None = None) -> str:
    """Run a command that must succeed; return what it says."""
    result = typed(*words, given=given)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*words: str, code: int = 1, given: str | None = None) -> str:
    """Run a command that must fail; return what it says."""
    result = typed(*words, given=given)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.stderr


def used(home: Path, days_ago: int, touchpoint: str, number: int = 1) -> None:
    """Have a touchpoint touched so many days ago."""
    day = usage.day_of(Clock("trusted").now().wall_ms - days_ago * 86_400_000, None)
    with closing(open_writer(home / "state", CAPTURE)) as database, transaction(database):
        usage.count(database, Counter({Use(touchpoint, day, "tap"): number}))


@pytest.mark.usefixtures("home")
def test_a_touchpoint_from_its_beginning_to_its_end() -> None:
    """Added with a link of its own, changed, retired after a confirmation; always shown as it is."""
    assert done("add", "vitrine-1", "--kind", "display", "--name", "Case 1").splitlines() == [
        "vitrine-1 is added.",
        "  link:https://id.acme.example/t/vitrine-1",
        "Make its code: touchpoint codes make vitrine-1",
        "Print all codes: touchpoint codes sheet --out codes.pdf",
    ]
    assert done("edit", "vitrine-1", "--zone", "salon", "--name", "Case one") == "vitrine-1 is changed: name, zone.\n"
    assert "nothing was changed" in done("edit", "vitrine-1", "--zone", "salon")
    assert done("edit", "vitrine-1", "--zone", "") == "vitrine-1 is changed: zone.\n"
    assert "nothing was changed" in refused("retire", "vitrine-1", given="yes\n")
    assert json.loads(done("show", "vitrine-1", "--json"))["standing"] == "valid"
    assert done("retire", "vitrine-1", given="vitrine-1\n") == "vitrine-1 is retired.\n"
    shown = done("show", "vitrine-1")
    assert shown.startswith("vitrine-1  Case one (retired)\n")
    assert "last touched  never\n" in shown
    assert "defined by    this store\n" in shown
    assert done("edit", "vitrine-1", "--valid-until", "", "--json")
    assert json.loads(done("list", "--json"))[0]["standing"] == "valid"


@pytest.mark.usefixtures("home")
def test_a_feedback_point_is_made_with_its_answers() -> None:
    """Each answer has a link, and another can be added."""
    assert "  link:https://id.acme.example/t/farewell/sehr%20gut#sehr gut\n" in done(*FEEDBACK)
    done("edit", "farewell", "--answer", "poor")
    assert [text.partition("#")[2] for text in json.loads(done("show", "farewell", "--json"))["identifiers"]] == [
        "good", "sehr gut", "poor",
    ]  # fmt: skip
    done("edit", "farewell", "--identifier", "nfc-uid:04a1b2c3#good")
    assert json.loads(done("show", "farewell", "--json"))["identifiers"] == ["nfc-uid:04a1b2c3#good"]


def test_the_list_says_how_each_is_used(home: Path) -> None:
    """When it was last touched, and how often in 30 days; not what it was before."""
    done("add", "a", "--kind", "display", "--name", "A")
    done("add", "b", "--kind", "display", "--name", "B")
    done("add", "c", "--kind", "display", "--name", "C", "--valid-from", "2999-01-01")
    done("add", "d", "--kind", "beacon", "--name", "D", "--identifier", "beacon:d")
    used(home, 3, "a", 5)
    used(home, 60, "a", 7)
    lines = done("list").splitlines()
    assert [line.split()[0] for line in lines] == ["id", "a", "b", "c", "d"]
    assert "  5  A" in lines[1]
    assert "never" in lines[2]
    assert lines[3].endswith("C (not valid yet)")
    assert lines[4].split() == ["d", "beacon", "-", "-", "-", "D"]
    told = json.loads(done("list", "--json"))[:3]
    assert [(each["touches_30_days"], each["last_touched"] is None) for each in told] == [
        (5, False),
        (0, True),
        (0, True),
    ]


def test_excels_german_csv_in_and_out(home: Path) -> None:
    """Semicolons, a byte order mark, dates with dots; what is exported is imported as the same."""
    (home / "excel.csv").write_bytes(EXCEL.encode())
    assert done("import", "excel.csv") == "excel.csv: 1 added, 0 changed, 0 removed, 0 unchanged.\n"
    assert done("export", "out.csv", "--excel") == "1 touchpoint written.\n"
    assert (home / "out.csv").read_bytes().startswith(b"\xef\xbb\xbfid;kind;name;")
    assert done("import", "out.csv") == "out.csv: 0 added, 0 changed, 0 removed, 1 unchanged.\n"
    assert "diver,product,Taucheruhr; groß,salon,before,09521234000419,,,,2020-03-01,2999-12-31," in done("export")
    (home / "again.csv").write_text(done("export"), encoding="utf-8")
    assert "1 unchanged" in done("import", "again.csv")


def test_a_file_that_is_there_is_not_written_over(home: Path) -> None:
    """Unless that was asked for."""
    done("add", "a", "--kind", "display", "--name", "A")
    (home / "out.csv").write_text("mine", encoding="utf-8")
    assert "not written over: out.csv" in refused("export", "out.csv")
    assert (home / "out.csv").read_text(encoding="utf-8") == "mine"
    done("export", "out.csv", "--force")
    assert (home / "out.csv").read_text(encoding="utf-8").startswith("id,kind,")
    assert "no-such/out.csv" in refused("import", "no-such/out.csv")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "a b", "--kind", "display", "--name", "A"), "TOUCHPOINT: must be 1 to 64 letters"),
        (("add", "b", "--kind", "shelf", "--name", "A"), "--kind: must be one of display, "),
        (("add", "b", "--kind", "display"), "--name: must not be empty"),
        (
            ("add", "b", "--kind", "product", "--name", "B", "--gtin", "9521234000418"),
            "--gtin: the check digit is wrong",
        ),
        (("add", "b", "--kind", "display", "--name", "B", "--valid-until", "soon"), "--valid-until: must be a date"),
        (
            ("add", "b", "--kind", "display", "--name", "B", "--identifier", "link:https://o.example/"),
            "not the brand's",
        ),
        (("add", "a", "--kind", "display", "--name", "A"), "a is there already"),
        (("edit", "b", "--zone", "z"), "No touchpoint is called b"),
        (("show", "b"), "No touchpoint is called b"),
        (("retire", "b", "--yes"), "No touchpoint is called b"),
    ],
)
@pytest.mark.usefixtures("home")
def test_what_is_wrong_is_said_by_option(words: tuple[str, ...], said: str) -> None:
    """And nothing is changed."""
    done("add", "a", "--kind", "display", "--name", "A")
    before = done("export")
    assert said in refused(*words)
    assert done("export") == before


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "b", "--kind", "display", "--name", "B", "--answer", "good"), "--kind feedback"),
        (("add", "b", "--kind", "feedback", "--name", "B"), "--answer good"),
    ],
)
@pytest.mark.usefixtures("home")
def test_answers_belong_to_feedback_points(words: tuple[str, ...], said: str) -> None:
    """One without answers, and answers of another kind, are a wrong command line that says what is missing."""
    assert said in refused(*words, code=2)


def test_an_import_that_removes_touchpoints_asks(home: Path) -> None:
    """How many go is said and typed; `--add` and `--yes` ask nothing; a file without touchpoints is refused."""
    for number in range(7):
        done("add", f"v-{number}", "--kind", "display", "--name", "V")
    header = "id,kind,name,zone,phase,gtin,reference,serial,campaign,valid_from,valid_until,identifiers\n"
    (home / "empty.csv").write_text(header, encoding="utf-8")
    assert "holds no touchpoint" in refused("import", "empty.csv")
    (home / "short.csv").write_text(header + "v-0,display,V,,,,,,,,,\n", encoding="utf-8")
    assert "6 touchpoints do not stand in short.csv" in refused("import", "short.csv")
    assert len(json.loads(done("list", "--json"))) == 7
    assert "0 removed" in done("import", "--add", "short.csv")
    assert "6 removed" in done("import", "--yes", "short.csv")


def test_an_edit_names_something() -> None:
    """Else the command line is wrong."""
    assert "Name what to change" in refused("edit", "a", code=2)


def test_broken_files_change_nothing(home: Path) -> None:
    """Whatever is wrong with them is said by line and column."""
    done("add", "a", "--kind", "display", "--name", "A")
    before = done("export")
    for content, said in (
        (b"", "wrong.csv: line 1: the file is empty"),
        (b'id,kind\n"', "wrong.csv: line 2: is not CSV"),
        (EXCEL.replace("419", "418").encode(), "wrong.csv: line 2: gtin: the check digit is wrong"),
        (EXCEL.encode("cp1252", "replace"), "save it as CSV UTF-8"),
        (b"\x00\xff", "save it as CSV UTF-8"),
    ):
        (home / "wrong.csv").write_bytes(content)
        told = refused("import", "wrong.csv")
        assert said in told
        assert "nothing was imported" in told
    assert done("export") == before


def test_an_interrupted_change_says_where_it_stands(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the gateway is asked: the message says that nothing is half done."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    (home / "excel.csv").write_bytes(EXCEL.encode())
    monkeypatch.setattr("gateway.cli.touchpoints.ask_gateway", interrupted)
    assert "all of it was changed or nothing was" in refused("import", "excel.csv", code=130)


def test_an_interrupted_export_leaves_no_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither whole nor in part."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    done("add", "a", "--kind", "display", "--name", "A")
    monkeypatch.setattr("os.replace", interrupted)
    assert typed("export", "out.csv").exit_code != 0
    assert list(home.glob("*out.csv*")) == list(home.glob(".*out.csv*")) == []


@pytest.mark.usefixtures("home")
def test_an_empty_registry_says_how_to_begin() -> None:
    """That is no failure."""
    assert "touchpoint touchpoints import" in done("list")
    assert json.loads(done("list", "--json")) == []
    assert done("export").startswith("id,kind,name,")
