"""Finding and reading the configuration, and what is said about it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import config
from gateway.config import ConfigError, Problem, Settings

Load = Callable[..., Settings]
TOP = '[gateway]\ntenant = "acme"\nsite = "zrh-1"\nid = "gw-1"\n[mqtt]\nhost = "broker"\n'


def problems(path: Path) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    return caught.value.problems


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gateway.toml"


def test_option_before_variable_before_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """The option wins, then the environment, then /etc."""
    monkeypatch.delenv("TOUCHPOINT_CONFIG", raising=False)
    assert config.find(None) == Path("/etc/touchpoint/gateway.toml")
    monkeypatch.setenv("TOUCHPOINT_CONFIG", "/here.toml")
    assert config.find(None) == Path("/here.toml")
    assert config.find(Path("there.toml")) == Path("there.toml")


def test_settings_know_their_file(load: Load, file: Path) -> None:
    """Later complaints can name the file."""
    assert load("").file == file


def test_every_problem_at_once(file: Path) -> None:
    """Each problem has its line, its key, and a hint where there is one; none hides another."""
    file.write_text(
        '[gateway]\ntenant = "acme"\nid = "gw 1"\n\n[mqtt]\nhost = "broker"\nprot = 8883\nsite = "zrh-1"\n'
        '[[reader]]\nname = "a"\nkind = "nfc"\ntouchpoint = "c"\n[[reader]]\nname = "a"\nkind = "nfc"\n[shop]\n',
        encoding="utf-8",
    )
    assert [str(problem).removeprefix(f"{file}:") for problem in problems(file)] == [
        '1: gateway.site: is missing; for example site = "zrh-1"',
        (
            "3: gateway.id: must be 1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit; for example"
            ' id = "gw-1"'
        ),
        "7: mqtt.prot: unknown key; did you mean mqtt.port?",
        "8: mqtt.site: unknown key; it belongs in [gateway]",
        "13: reader.touchpoint: is missing; say where the nfc reader stands",
        "14: reader.name: another reader has this name",
        "16: shop: unknown key",
    ]


def test_readers_of_the_same_name(load: Load) -> None:
    """Events name their reader: two of the same name are a problem even if nothing else is wrong."""
    reader = '[[reader]]\nname = "n"\nkind = "nfc"\ntouchpoint = "c"\n'
    with pytest.raises(ConfigError, match=r":12: reader\.name: another reader has this name"):
        load(reader + reader)


def test_missing_tables(file: Path) -> None:
    """An empty file lacks two tables, which stand on no line."""
    file.touch()
    assert [(problem.line, problem.key, problem.wrong) for problem in problems(file)] == [
        (None, "gateway", "is missing"),
        (None, "mqtt", "is missing"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "wrong"),
    [
        ("[gateway]\ntenant = acme\n", 2, "Invalid value"),
        ("[gateway\n", 1, "Expected ']' at the end of a table declaration"),
        ('[gateway]\nid = "', 2, "Unterminated string"),
    ],
)
def test_not_toml(file: Path, text: str, line: int, wrong: str) -> None:
    """A syntax error has its line."""
    file.write_text(text, encoding="utf-8")
    (problem,) = problems(file)
    assert (problem.line, problem.wrong) == (line, f"not TOML: {wrong}")


def test_file_that_is_not_there(file: Path) -> None:
    """Whoever starts without a configuration is told how to get one."""
    (problem,) = problems(file)
    assert problem.wrong == "there is no such file"
    assert "config/gateway.toml" in str(problem.hint)


def test_directory(tmp_path: Path) -> None:
    """A directory is no configuration."""
    assert problems(tmp_path)[0].wrong == "it cannot be read: Is a directory"


def test_file_of_somebody_else(file: Path) -> None:
    """A file that this user may not read; root, who may read everything, plays nobody."""
    file.touch(mode=0o200)
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        found = problems(file)
    finally:
        os.seteuid(before)
    assert found[0].wrong == "it cannot be read: Permission denied"


def test_file_in_another_encoding(file: Path) -> None:
    """TOML is UTF-8."""
    file.write_bytes('[gateway]\ntenant = "genève"'.encode("latin-1"))
    assert problems(file)[0].wrong == "it is not UTF-8 text"


@pytest.mark.parametrize("key", ["password", "passphrase", "client_secret"])
def test_secrets_are_not_echoed(file: Path, key: str) -> None:
    """A secret in the file is not repeated; the hint says where it belongs."""
    file.write_text(f'{TOP}{key} = "hunter2"\nusername = 5\n', encoding="utf-8")
    found = problems(file)
    assert "hunter2" not in str(ConfigError(found))
    assert "password_file" in str(found[0].hint)


@given(text=st.text())
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text(file: Path, text: str) -> None:
    """Whatever stands in the file, it loads or says what is wrong."""
    file.write_text(text, encoding="utf-8")
    assert problems(file)


VALUES = st.recursive(
    st.sampled_from(["1", "-1", "0.5", "nan", "true", '""', '"a"', "2026-11-21", '"/a/b"', '"ble"']),
    lambda inner: st.lists(inner, max_size=2).map(lambda each: f"[{', '.join(each)}]"),
    max_leaves=3,
)
KEYS = st.sampled_from(
    ["mqtt.port", "mqtt.ca", "mqtt", "reader", "bearer", "gateway.runtime", "consent.purposes", "links.domain", "x.y"]
)


@given(entries=st.dictionaries(KEYS, VALUES, max_size=4))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value(file: Path, entries: dict[str, str]) -> None:
    """A value of any type for any key is accepted or explained."""
    file.write_text("\n".join(f"{key} = {value}" for key, value in entries.items()), encoding="utf-8")
    assert all(problem.wrong for problem in problems(file))  # [gateway] is missing at least


def test_password(load: Load, tmp_path: Path) -> None:
    """The password is what the file holds, without the end of its line."""
    (tmp_path / "password").write_text(" s3cret \n", encoding="utf-8")
    assert config.password(load("", mqtt='host = "b"')) is None
    assert config.password(load("", mqtt='host = "b"\nusername = "u"\npassword_file = "./password"')) == " s3cret "


def test_password_as_credential(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare name is a systemd credential."""
    settings = load("", mqtt='host = "b"\nusername = "u"\npassword_file = "mqtt"')
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(ConfigError, match="gave this process no credential mqtt; add LoadCredential="):
        config.password(settings)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "mqtt").write_text("s3cret", encoding="utf-8")
    assert config.password(settings) == "s3cret"


@pytest.mark.parametrize(("content", "wrong"), [(None, "No such file"), (b"\xff", "is not UTF-8 text")])
def test_password_that_cannot_be_read(load: Load, tmp_path: Path, content: bytes | None, wrong: str) -> None:
    """The file is named, and why it cannot be read."""
    if content is not None:
        (tmp_path / "password").write_bytes(content)
    settings = load("", mqtt='host = "b"\nusername = "u"\npassword_file = "./password"')
    with pytest.raises(ConfigError, match=f"password.*{wrong}"):
        config.password(settings)


def test_every_kind_of_reader_has_a_driver(load: Load) -> None:
    """No kind of reader draws a warning."""
    nfc = '[[reader]]\nname = "n"\nkind = "nfc"\ntouchpoint = "c"\n'
    ble = '[[reader]]\nname = "b"\nkind = "ble"\nzone = "z"\n'
    played = '[[reader]]\nname = "s"\nkind = "simulated"\nplays = "nfc"\ndevice = "/d"\ntouchpoint = "c"\n'
    assert [said for said in config.warnings(load(nfc + ble + played)) if said.startswith("reader")] == []


def test_warnings(load: Load, tmp_path: Path) -> None:
    """What works and should be looked at: no encryption, a trusted clock, guessable tokens, no state directory."""
    weak = '[clock]\nsource = "trusted"\n[[bearer]]\nkind = "nfc-uid"\nprefix = "04"\nlow_entropy = true\n'
    assert [text.partition(":")[0] for text in config.warnings(load(weak))][:2] == ["mqtt", "clock"]
    said = "bearer nfc-uid:04: tokens with 48 random bits at most can be found by trying"
    assert said in config.warnings(load(weak))
    strong = '[[bearer]]\nkind = "link"\nprefix = "https://id.acme.example/m/"\nlow_entropy = true\n'
    assert not [text for text in config.warnings(load(strong)) if "bearer" in text]
    gateway = f'tenant = "a"\nsite = "z"\nid = "g"\nstate = "{tmp_path}"\nruntime = "/run/t"'
    assert config.warnings(load("", gateway=gateway, mqtt='host = "b"\nca = "/ca.pem"')) == []


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ("[reader]\n", "reader: must be tables, each begun with [[reader]]"),
        ("[pseudonym]\nkeys = 5\n", "pseudonym.keys: must be a valid string"),
        ("ca = 5\n", "mqtt.ca: must be a path in quotation marks"),
        ('ca = "/a\\u0000b"\n', "mqtt.ca: must be a path"),
        ('[consent.purposes]\ntaps = "x"\n', "consent.purposes.taps: must be 'tap', 'scan'"),
    ],
)
def test_in_the_words_of_the_file(load: Load, extra: str, said: str) -> None:
    """What is wrong is said in the words of TOML, not of Python."""
    with pytest.raises(ConfigError) as caught:
        load(extra)
    assert said in str(caught.value)


def test_byte_order_mark(file: Path) -> None:
    """Some editors begin a file with a byte order mark; it changes nothing."""
    file.write_text("\ufeff" + TOP, encoding="utf-8")
    assert config.load(file).gateway.id == "gw-1"
