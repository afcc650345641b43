"""German and French are complete: every text of the source, with its placeholders, in what the program looks up."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.language import DOMAIN, HERE, SENTENCE
from tests.language.catalogues import LANGUAGES, PACKAGE, compiled, extracted, mo_path, po_path, translated

PLACEHOLDER = re.compile(r"\{+[^{}]*\}+")
MARKS = {"_": 1, "several": 2, "later": 1, "sentence": 1}
"""How many texts each takes."""
SHOWN_TO_PEOPLE = {"echo", "fail", "confirm", "BadParameter"}
SAME_IN_ENGLISH = {
    "de": {"Option", "Broker", "Name", "Zone", "Phase"},
    "fr": {"Options", "Arguments", "zone", "phase"},
}
LINES_OF_DATA = re.compile(r"^[^A-Za-z]*$")
"""Names, numbers and signs in columns, or a command to be typed: nothing to translate."""


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated_and_none_is_left_over(language: str) -> None:
    """What the source says now and what the catalogue has are the same; nothing is empty, doubtful or obsolete."""
    there = translated(language)
    texts = {(message.context, message.id) for message in extracted() if message.id}
    held = {(message.context, message.id): message for message in there if message.id}
    assert texts - held.keys() == set(), "make catalogues, then translate what is empty"
    assert held.keys() - texts == set(), "make catalogues"
    assert not there.obsolete
    assert [text for text, each in held.items() if each.fuzzy or not all(_forms(each.string))] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_has_the_placeholders_of_its_text(language: str) -> None:
    """Each form of a translation is filled in with what the English one is; a form of one may say it in words."""
    wrong = []
    for message in translated(language):
        wanted = {frozenset(PLACEHOLDER.findall(text)) for text in _forms(message.id)}
        wrong += [form for form in _forms(message.string) if message.id and _named(form) not in wanted]
    assert wrong == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_the_program_looks_up_is_what_was_translated(language: str) -> None:
    """The compiled catalogue is that of the .po file: make catalogues."""
    assert mo_path(language).read_bytes() == compiled(translated(language))


def test_german_is_spelled_as_in_switzerland() -> None:
    """No sharp s, and guillemets instead of inverted commas from below."""
    assert not set("ß„“") & set(po_path("de").read_text(encoding="utf-8"))


def _forms(text: object) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else tuple(text) if isinstance(text, list | tuple) else ("",)


def _named(form: str) -> frozenset[str]:
    return frozenset(PLACEHOLDER.findall(form))


@pytest.mark.parametrize("file", sorted((PACKAGE / "cli").glob("*.py")), ids=lambda file: file.stem)
def test_what_a_command_says_goes_through_the_catalogue(file: Path) -> None:
    """No literal text of words is echoed, or given as help, without `_`, `several` or `later`."""
    assert list(_literals(ast.parse(file.read_text(encoding="utf-8")))) == []


def _literals(tree: ast.Module) -> Iterator[str]:
    for call in ast.walk(tree):
        if isinstance(call, ast.Call):
            name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
            said = call.args[:1] if name in SHOWN_TO_PEOPLE else []
            said += [each.value for each in call.keywords if each.arg in {"help", "short_help"}]
            yield from (f"line {each.lineno}: {_words(each)}" for each in said if _words(each))


def _words(node: ast.expr) -> str:
    """Return the words of a literal text; none of one that only sets other texts in columns."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    text = " ".join(each.value for each in parts if isinstance(each, ast.Constant) and isinstance(each.value, str))
    return "" if LINES_OF_DATA.match(text.replace("touchpoint", "")) else text


def test_every_text_that_is_marked_is_extracted() -> None:
    """None is hidden in an f-string or behind a name, where Babel finds none and no catalogue would have it."""
    held = {(message.context, text) for message in extracted() for text in _forms(message.id)}
    assert [each for file in sorted(PACKAGE.rglob("*.py")) for each in _hidden(file, held)] == []


def _hidden(file: Path, held: set[tuple[str | None, str]]) -> Iterator[str]:
    """Yield where a file marks a literal text that is not among those of the source."""
    for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in MARKS:
            context = SENTENCE if call.func.id == "sentence" else None
            for text in call.args[: MARKS[call.func.id]]:
                where = f"{file.relative_to(PACKAGE)}, line {call.lineno}"
                if isinstance(text, ast.Constant) and (context, str(text.value)) not in held:
                    yield f"{where}: {text.value!r}"
                elif not isinstance(text, ast.Constant) and call.func.id != "_":  # which looks up what is marked
                    yield f"{where}: no literal"


@pytest.fixture(scope="module")
def english() -> dict[str, str]:
    return _helps("en")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_help_of_every_command_is_translated(language: str, english: dict[str, str]) -> None:
    """Nothing in the help of any command is the same as in English."""
    spoken = _helps(language)
    assert spoken.keys() == english.keys()
    same = [f"{where}: {text}" for where, text in spoken.items() if text == english[where]]
    assert [each for each in same if each.partition(": ")[2] not in SAME_IN_ENGLISH[language]] == []


def _helps(language: str) -> dict[str, str]:
    """Return every text of help, by where it stands, of the command line as it starts in a language."""
    done = subprocess.run(  # our own program
        [sys.executable, "-c", WALK], env={**os.environ, "LC_ALL": language}, capture_output=True, check=True, text=True
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


WALK = """
import json, os
from gateway.language import asked_for, speak
speak(asked_for([], os.environ))
import typer
from gateway.cli.app import app
texts = {}
def walk(command, path):
    texts[path] = command.help or ""
    texts[path + " (in the list)"] = command.get_short_help_str(200)
    for each in command.params:
        if getattr(each, "help", None) and "completion" not in each.name:
            texts[f"{path} {each.name}"] = each.help
    for name, below in getattr(command, "commands", {}).items():
        walk(below, f"{path} {name}")
walk(typer.main.get_command(app), "touchpoint")
print(json.dumps(texts))
"""


def _touchpoint(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LC_ALL": "", "LANG": "", **environment}
    command = [sys.executable, "-m", "gateway", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # as above


@pytest.mark.parametrize(
    ("words", "environment", "usage"),
    [
        (["--lang", "de", "codes", "--help"], {}, "Aufruf: touchpoint codes [OPTIONEN]"),
        (["--lang=fr", "codes", "--help"], {}, "Usage\N{NO-BREAK SPACE}: touchpoint codes [OPTIONS] COMMANDE"),
        (["codes", "--help"], {"LANG": "de_CH.UTF-8"}, "Aufruf: "),
        (["codes", "--help"], {"LANG": "de_CH.UTF-8", "LC_ALL": "fr_CH"}, "Usage\N{NO-BREAK SPACE}: "),
        (["--lang", "en", "codes", "--help"], {"LANG": "de_CH.UTF-8"}, "Usage: touchpoint codes [OPTIONS] COMMAND"),
        (["codes", "--help"], {"LANG": "it_CH.UTF-8"}, "Usage: touchpoint codes [OPTIONS] COMMAND"),
    ],
)
def test_the_language_is_that_of_lang_or_of_the_locale(
    words: list[str], environment: dict[str, str], usage: str
) -> None:
    """--lang goes before LC_ALL, that before LANG; a language that is not spoken here is answered in English."""
    assert _touchpoint(*words, **environment).stdout.startswith(usage)


@pytest.mark.parametrize(
    ("language", "words", "wrong"),
    [
        ("de", ["nothing"], "Fehler: Kein Befehl 'nothing'."),
        ("de", ["codes", "make"], "Fehler: Das Argument 'TOUCHPOINT' fehlt."),
        (
            "de",
            ["codes", "make", "--size", "3", "x"],
            "Fehler: Ungültiger Wert für '--size': Der Wert muss mindestens 5 sein",
        ),
        ("de", ["codes", "make", "--level", "Z", "x"], "'Z' ist keines von 'L', 'M', 'Q', 'H'."),
        ("fr", ["codes", "make", "--frob"], "Erreur\N{NO-BREAK SPACE}: Pas d'option --frob"),
        ("fr", ["training", "on", "--minutes"], "L'option '--minutes' demande un argument."),
        ("en", ["nothing"], "Error: No such command 'nothing'."),
    ],
)
def test_a_wrong_command_line_is_explained_in_the_language(language: str, words: list[str], wrong: str) -> None:
    """With exit status 2, and nothing of Typer's English in it."""
    done = _touchpoint("--lang", language, *words)
    assert done.returncode == 2
    assert wrong in done.stderr


def test_a_language_that_is_not_there_is_refused() -> None:
    """With exit status 2, in English, and the ones that are there."""
    done = _touchpoint("--lang", "it", "status")
    assert done.returncode == 2
    assert "'it' is not one of 'de', 'fr', 'en'" in done.stderr


CONFIGURATION = """
[gateway]
tenant = "acme"
site = "zrh-1"
id = "gw-1"
state = "state"
[mqtt]
host = "127.0.0.1"
[pseudonym]
keys = "./none.json"
[[reader]]
name = "counter-nfc"
kind = "nfc"
device = "usb"
touchpoint = "counter"
"""


@pytest.mark.parametrize("words", [["check"], ["readers", "list"], ["status"]], ids=" ".join)
def test_json_is_the_same_in_every_language(words: list[str], tmp_path: Path) -> None:
    """Keys and values, warnings and problems included: what a script reads does not depend on the locale."""
    file = tmp_path / "gateway.toml"
    file.write_text(CONFIGURATION)
    said = [_touchpoint("--lang", each, *words, "--config", str(file), "--json").stdout for each in ("en", *LANGUAGES)]
    english, *others = [re.sub(r'"now_ms": \d+', "", each) for each in said]
    assert len(english) > len("{}")
    assert others == [english] * len(LANGUAGES)


def test_catalogues_are_where_the_program_looks() -> None:
    """Each language has both files in the package, which the wheel takes along."""
    for language in LANGUAGES:
        assert (HERE / language / "LC_MESSAGES" / f"{DOMAIN}.mo").is_file()
