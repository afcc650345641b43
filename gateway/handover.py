"""What a gateway must not start from: one that was handed over to another device, and half of a restored one."""

from pathlib import Path
from typing import Final

from gateway.config import ConfigError, Problem, Settings
from gateway.sentence import sentence

MARK: Final = "handed-over"
RESTORING: Final = "restoring"


def mark(state: Path) -> Path:
    """Return where it stands that another device has taken over."""
    return state / MARK


def restoring(state: Path) -> Path:
    """Return where it stands while a backup's files take their places, which do not fit together meanwhile."""
    return state / RESTORING


def not_ours(settings: Settings) -> list[Problem]:
    """Return why no half would start from what is there; nothing, as a rule."""
    try:
        must_be_ours(settings)
    except ConfigError as error:
        return error.problems
    return []


def must_be_ours(settings: Settings) -> None:
    """Raise ConfigError, with which systemd does not start a half again, if another device has taken over.

    So too if a restore was cut off.
    """
    if restoring(settings.gateway.state).exists():
        wrong = sentence("a restore was cut off, and what is there does not fit together")
        raise ConfigError(
            [Problem(str(settings.file), None, "", wrong, sentence("restore again: touchpoint restore FILE.age"))]
        )
    path = mark(settings.gateway.state)
    if path.exists():
        wrong = sentence("gateway {id} was handed over to another device").format(id=settings.gateway.id)
        hint = sentence(
            "touchpoint wipe takes everything off this one; if the other never started, remove {path}"
        ).format(path=path)
        raise ConfigError([Problem(str(settings.file), None, "", wrong, hint)])
