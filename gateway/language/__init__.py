"""The language that the command line speaks: English in the source, German and French from catalogues beside this file.

    from gateway.language import _, several

    typer.echo(_("{count} tags written.").format(count=3))
    typer.echo(several("{count} tag written.", "{count} tags written.", 3))   # which form: the catalogue knows

GNU gettext, through the standard library, with one domain for all of the process: Click says its "Usage" and "No such
option" through it as well. What is read at import, such as help texts, is translated then: `speak` comes before.
What the daemon answers is in the language of whoever asks (`spoken_to`); what it logs is in English.
"""

import gettext
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Final

DOMAIN: Final = "touchpoint"
HERE: Final = Path(__file__).parent
SPOKEN: Final = ("en", "de", "fr")
_asker: ContextVar[str | None] = ContextVar("language of whoever asks", default=None)


def asked_for(arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return which of SPOKEN to speak: what `--lang` says, else the locale (POSIX, 8.2), else English.

    `--lang` counts before the first word of a command: `touchpoint --lang de tags write`.
    """
    for at, argument in enumerate(arguments):
        if argument.startswith("--lang="):
            return _spoken(argument.removeprefix("--lang="))
        if argument == "--lang" and at + 1 < len(arguments):
            return _spoken(arguments[at + 1])
        if not argument.startswith("-"):
            break
    named = next((environment[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environment.get(name)), "en")
    return _spoken(named)


def _spoken(name: str) -> str:
    """Return the language of a locale's name, `de` of `de_CH.UTF-8`; English for what is not spoken here."""
    language = name[:2].lower()
    return language if language in SPOKEN else "en"


def speak(language: str) -> None:
    """Have the process, and what it starts, speak one of SPOKEN."""
    os.environ["LANGUAGE"] = language  # what GNU gettext looks at first
    gettext.bindtextdomain(DOMAIN, str(HERE))
    gettext.textdomain(DOMAIN)


def spoken() -> str:
    """Return which of SPOKEN the process speaks, or whoever asks it something."""
    return _asker.get() or _spoken(os.environ.get("LANGUAGE", "en"))


@contextmanager
def spoken_to(language: object) -> Iterator[None]:
    """Speak another language to somebody who asks, in this task alone; whatever is not spoken is English."""
    before = _asker.set(_spoken(str(language)))
    try:
        yield
    finally:
        _asker.reset(before)


def _(text: str) -> str:
    """Return a text in the language that is spoken."""
    return _catalogue().gettext(text) if _asker.get() else gettext.gettext(text)


def several(one: str, many: str, count: int) -> str:
    """Return the form of a text that a number takes, with `{count}` filled in."""
    form = _catalogue().ngettext if _asker.get() else gettext.ngettext
    return form(one, many, count).format(count=count)


def later(text: str) -> str:
    """Mark a text for the catalogues that `_` translates when it is shown."""
    return text


def _catalogue() -> gettext.NullTranslations:
    return gettext.translation(DOMAIN, HERE, [_asker.get() or "en"], fallback=True)
