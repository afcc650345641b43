"""A gateway that was handed over to another device does not start again: two would fight for one client id."""

from pathlib import Path
from typing import Final

from gateway.config import ConfigError, Problem, Settings
from gateway.sentence import sentence

MARK: Final = "handed-over"


def mark(state: Path) -> Path:
    """Return where it stands that another device has taken over."""
    return state / MARK


def must_be_ours(settings: Settings) -> None:
    """Raise ConfigError, with which systemd does not start a half again, if another device has taken over."""
    path = mark(settings.gateway.state)
    if path.exists():
        wrong = sentence("gateway {id} was handed over to another device").format(id=settings.gateway.id)
        hint = sentence(
            "touchpoint wipe takes everything off this one; if the other never started, remove {path}"
        ).format(path=path)
        raise ConfigError([Problem(str(settings.file), None, "", wrong, hint)])
