"""Reading the configuration, and what can be said about it afterwards."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from gateway.config.problem import ConfigError, Problem, line_of, lines_of, problems
from gateway.config.rules import ENOUGH_BITS, bearer_bits
from gateway.config.secret import secret_path
from gateway.config.settings import Settings
from gateway.sentence import sentence
from gateway.store.database import access_hint

DEFAULT: Final = Path("/etc/touchpoint/gateway.toml")
VARIABLE: Final = "TOUCHPOINT_CONFIG"


def find(option: Path | None) -> Path:
    """Return where the configuration is: the option, else $TOUCHPOINT_CONFIG, else /etc/touchpoint/gateway.toml."""
    return option or Path(os.environ.get(VARIABLE) or DEFAULT)


def load(path: Path) -> Settings:
    """Read a configuration. Raises ConfigError with every problem in it."""
    return read_as(path, _read(path))


def read_as(path: Path, text: str) -> Settings:
    """Read a text as the configuration at this path, which need not be there. Raises ConfigError."""
    document = _parse(path, text)
    found = _twice(path, text, document)
    try:
        settings = Settings.model_validate(document, context={"file": path, "directory": path.resolve().parent})
    except ValidationError as error:
        found += problems(str(path), text, Settings, error)
    else:
        if not found:
            return settings
    raise ConfigError(sorted(found, key=lambda problem: problem.line or 0))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        hint = sentence("start from config/gateway.toml, or name the file with --config or {variable}").format(
            variable=VARIABLE
        )
        raise _unreadable(path, sentence("there is no such file"), hint) from None
    except UnicodeDecodeError:
        raise _unreadable(path, sentence("it is not UTF-8 text"), sentence("save it as UTF-8")) from None
    except OSError as error:
        raise _unreadable(
            path,
            sentence("it cannot be read: {error}").format(error=error.strerror),
            sentence("name a file that this user may read"),
        ) from None


def _unreadable(path: Path, what: str, hint: str) -> ConfigError:
    return ConfigError([Problem(str(path), None, "", what, hint)])


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what, line, column = _syntax(str(error), text)
        hint = sentence("see column {column}").format(column=column) if column else None
        raise ConfigError(
            [Problem(str(path), line, "", sentence("not TOML: {what}").format(what=what), hint)]
        ) from None


def _syntax(message: str, text: str) -> tuple[str, int, int]:
    """Take apart what tomllib says: `Invalid value (at line 3, column 8)`, or `(at end of document)`."""
    what, _, place = message.rpartition(" (at ")
    numbers = [int(word) for word in place.rstrip(")").replace(",", "").split() if word.isdecimal()]
    line, column = numbers or (text.count("\n") + 1, 0)
    return what or message, line, column


def _twice(path: Path, text: str, document: Mapping[str, Any]) -> list[Problem]:
    """Find readers of the same name, even where something else is wrong with them."""
    names, lines = _reader_names(document), lines_of(text)
    return [
        Problem(
            str(path), line_of(lines, ("reader", at, "name")), "reader.name", sentence("another reader has this name")
        )
        for at, name in enumerate(names)
        if name is not None and name in names[:at]
    ]


def _reader_names(document: Mapping[str, Any]) -> list[str | None]:
    readers = document.get("reader")
    tables = readers if isinstance(readers, list) else []
    names = [table.get("name") if isinstance(table, dict) else None for table in tables]
    return [name if isinstance(name, str) else None for name in names]


def password(settings: Settings) -> str | None:
    """Read the broker's password. Raises ConfigError."""
    named = settings.mqtt.password_file
    if named is None:
        return None
    path = secret_path(named)
    if path is None:
        raise _no_password(
            settings,
            sentence("systemd gave this process no credential {named}").format(named=named),
            sentence("add LoadCredential= to the unit"),
        )
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise _no_password(settings, sentence("{path} is not UTF-8 text").format(path=path), None) from None
    except OSError as error:
        raise _no_password(
            settings, sentence("{path} cannot be read: {error}").format(path=path, error=error.strerror), None
        ) from None


def _no_password(settings: Settings, what: str, hint: str | None) -> ConfigError:
    return ConfigError([Problem(str(settings.file), None, "mqtt.password_file", what, hint)])


def warnings(settings: Settings) -> list[str]:
    """Return what works, but should be looked at."""
    gateway, mqtt = settings.gateway, settings.mqtt
    said = {
        sentence("mqtt: without ca, events travel to {host} unencrypted").format(host=mqtt.host): mqtt.ca is None,
        sentence("clock: source is trusted, so a wrong clock goes unnoticed"): settings.clock.source == "trusted",
        sentence("gateway: the state directory {state} does not exist yet").format(
            state=gateway.state
        ): not gateway.state.exists(),
        sentence("gateway: the state directory cannot be written: {hint}").format(
            hint=access_hint(gateway.state)
        ): _locked(gateway.state),
    }
    return [*(text for text, applies in said.items() if applies), *_weak(settings)]


def _locked(state: Path) -> bool:
    return state.exists() and not (state.is_dir() and os.access(state, os.W_OK | os.X_OK))


def _weak(settings: Settings) -> list[str]:
    """Name the rules for tokens that can be found by trying."""
    bits = {each: bearer_bits(each.kind, each.prefix, each.token_bits) for each in settings.bearers}
    return [
        sentence("bearer {kind}:{prefix}: tokens with {random} random bits at most can be found by trying").format(
            kind=rule.kind, prefix=rule.prefix, random=random
        )
        for rule, random in bits.items()
        if random < ENOUGH_BITS
    ]
