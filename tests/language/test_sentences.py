"""What is said below the commands: marked where it is said, found again by its text, and never shown in English."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.language import SENTENCE, said, spoken_to
from tests.language.catalogues import LANGUAGES, PACKAGE, extracted

MARKS = {"_", "several", "later", "sentence"}
SHOWN_TO_PEOPLE = {
    "AgeError", "BackupError", "BatchError", "BenchError", "BrokerError", "ConfigError", "CorruptError",
    "DeviceLostError", "EnrolmentError", "FullError", "GatewayError", "HeldError", "KeyFileError", "MadeError",
    "MqttError", "Problem", "PublishRefusedError", "RequestError", "SignatureError", "SourceStatus", "Step",
    "StoreError", "SubscribeRefusedError", "SymbolError", "TagError", "WitnessError", "wrong",
}  # fmt: skip
NAMES = {"send from", "set aside", "listen at", "replay into", "Packet too large"}
"""First words of a StoreError, which make its sentence; what MQTT calls a reason code."""
FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.relative_to(PACKAGE).parts[0] != "language"]
ENGLISH = r"(?<![-\w/.])(the|this|that|is|are|cannot|must|there|which|with|has|been|nothing|file)(?![-\w/.=])"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_what_people_are_shown_is_marked_where_it_is_said(file: Path) -> None:
    """No exception or reason that reaches a person carries a text that no catalogue has."""
    assert list(_naked(ast.parse(file.read_text(encoding="utf-8")))) == []


def _naked(tree: ast.Module) -> Iterator[str]:
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and _name(call) in SHOWN_TO_PEOPLE:
            for argument in (*call.args, *(each.value for each in call.keywords)):
                yield from (f"line {call.lineno}: {text}" for text in _words(argument) if text not in NAMES)


def _words(node: ast.AST) -> Iterator[str]:
    """Yield every text of several words in a tree that is not given to one of MARKS."""
    if isinstance(node, ast.Call) and _name(node) in MARKS:
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(_alphabetic(node.value)) > 1:
        yield node.value
    for child in ast.iter_child_nodes(node):
        yield from _words(child)


def _alphabetic(text: str) -> list[str]:
    return [word for word in text.split() if word.isalpha()]


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


SENTENCES = sorted(str(message.id) for message in extracted() if message.id and message.context == SENTENCE)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_sentence_is_found_again_by_its_text(language: str) -> None:
    """Whatever stands in its places, and inside another sentence; in English it stays as it is."""
    lost = "/dev/ttyACM0 is gone: unplugged"
    nested = f"cannot open /var/lib/x/capture.db: {lost}. Free some space on that disk"
    assert said(nested) == nested
    with spoken_to(language):
        outer, inner = said(nested), said(lost)
        assert inner != lost
        assert inner in outer
        assert "/var/lib/x/capture.db" in outer
        assert said("nobody knows this") == "nobody knows this"


@given(st.sampled_from(SENTENCES), st.text("abc{}%./:0", min_size=1, max_size=8), st.sampled_from(LANGUAGES))
def test_every_sentence_is_said(sentence: str, filling: str, language: str) -> None:
    """None is shadowed by a wider one so that nothing of it is translated, and none raises, whatever fills it."""
    text = "".join(filling if part.startswith("{") else part for part in _parts(sentence))
    with spoken_to(language):
        assert said(text) != text or sentence in SAME


SAME = {"{name}: {error}"}


def _parts(template: str) -> list[str]:
    """Split a template at its places."""
    return re.split(r"(\{[^{}]*\})", template)


WRONG = """
import json, os, sys
from pathlib import Path
from gateway.language import speak
speak(os.environ["SPOKEN"])
from typer.testing import CliRunner
from gateway.cli.app import app
os.chdir(sys.argv[1])
GATEWAY = '[gateway]\\ntenant = "acme"\\nsite = "zrh-1"\\nid = "gw-1"\\nstate = "state"\\n'
GOOD = GATEWAY + '[mqtt]\\nhost = "127.0.0.1"\\nport = 9\\n'
Path("good.toml").write_text(GOOD)
Path("bad.toml").write_text(GOOD.replace("acme", "ac me").replace("port = 9", "port = 99999\\nprt = 1\\npassword = 1")
    + '[clock]\\nsource = "sundial"\\n[[reader]]\\nname = "a"\\nkind = "nfc"\\ndevice = "x"\\n')
Path("toml.toml").write_text("[gateway")
Path("tls.toml").write_text(GOOD + 'ca = "none.pem"\\ncertificate = "good.toml"\\nkey = "good.toml"\\n')
Path("ring.toml").write_text(GOOD + '[pseudonym]\\nkeys = "./toml.toml"\\n')
Path("pem").write_text("nothing")
said = {}
for words in (
    "check --config bad.toml", "check --config none.toml", "check --config tls.toml",
    "check --config ring.toml", "outbox show --config good.toml", "outbox verify --config good.toml",
    "audit verify --config good.toml", "readers list --config good.toml", "status --config good.toml",
    "keys show --config ring.toml", "keys derive --root pem --out out.json --tenant acme --site zrh-1",
    "setup --certificate pem --config good.toml", "restore pem --config other.toml --identity pem",
    "consent show --config good.toml", "tags inventory --config good.toml", "codes sheet none.csv --config good.toml",
):
    result = CliRunner().invoke(app, words.split())
    said[words] = result.output if result.exit_code else "no error"
print(json.dumps(said))
"""


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_english_is_on_the_screen_when_something_is_wrong(language: str, tmp_path: Path) -> None:
    """Configuration, keys, certificates, store, readers: each mistake is explained in the language that is spoken."""
    done = subprocess.run(
        [sys.executable, "-c", WRONG, str(tmp_path)],
        env={**os.environ, "SPOKEN": language, "TOUCHPOINT_CONFIG": str(tmp_path / "good.toml")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shown: dict[str, str] = json.loads(done.stdout)
    assert {words: text for words, text in shown.items() if re.search(ENGLISH, text)} == {}
    assert sum(len(text) > 20 for text in shown.values()) >= 12
