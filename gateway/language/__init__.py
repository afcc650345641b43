"""The language that the command line speaks: English in the source, German and French from catalogues beside this file.

    from gateway.language import _, several

    typer.echo(_("{count} tags written.").format(count=3))
    typer.echo(several("{count} tag written.", "{count} tags written.", 3))   # which form: the catalogue knows

GNU gettext, through the standard library, with one domain for all of the process: Click says its "Usage" and "No such
option" through it as well. What is read at import, such as help texts, is translated then: `speak` comes before.
What the daemon answers is in the language of whoever asks (`spoken_to`); what it logs is in English. What it says of
itself, below the commands, is an English `gateway.sentence`; whoever shows that to a person says it again (`said`).
Where JSON is asked for, the command speaks English; a customer's receipt speaks the language of the notice.
"""

import gettext
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Final

DOMAIN: Final = "touchpoint"
HERE: Final = Path(__file__).parent
SPOKEN: Final = ("en", "de", "fr")
SENTENCE: Final = "sentence"
"""The context, in the catalogues, of what the gateway says of itself."""
_PLACE: Final = re.compile(r"(?<!\{)\{([a-z_]+)(?:![rs])?(?::[^{}]*)?\}")
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
    return _catalogue(spoken()).gettext(text)


def several(one: str, many: str, count: int, **values: object) -> str:
    """Return the form of a text that a number takes, with `{count}` and whatever else stands in it filled in."""
    return _catalogue(spoken()).ngettext(one, many, count).format(count=count, **values)


def later(text: str) -> str:
    """Mark a text for the catalogues that `_` translates when it is shown."""
    return text


def said(text: object) -> str:
    """Return what the gateway has said of itself (`gateway.sentence`) in the language that is spoken.

    A text that is none of its sentences is returned as it is.
    """
    english = str(text)
    for sentence, telling, translation in _sentences(spoken()):
        if telling in english and (found := _pattern(sentence).fullmatch(english)):
            return translation.format(**{name: said(value) for name, value in found.groupdict().items()})
    return english


@cache
def _sentences(language: str) -> tuple[tuple[str, str, str], ...]:
    """Return every sentence, its longest part without a place, and its translation; those that say the most first."""
    catalogue = _catalogue(language)
    prefix = catalogue.CONTEXT % (SENTENCE, "") if isinstance(catalogue, gettext.GNUTranslations) else ""
    texts = vars(catalogue).get("_catalog", {}).items()  # gettext itself only looks up one text after the other
    ours = ((text, each) for text, each in texts if prefix and isinstance(text, str) and text.startswith(prefix))
    own: dict[str, str] = {text.removeprefix(prefix): each for text, each in ours}
    ordered = sorted(own, key=lambda text: -sum(map(len, _literals(text))))
    return tuple((text, max(_literals(text), key=len), _PLACE.sub(r"{\1}", own[text])) for text in ordered)


def _literals(sentence: str) -> list[str]:
    """Return what stands around the places."""
    return [part.replace("{{", "{").replace("}}", "}") for part in _PLACE.split(sentence)[::2]]


@cache
def _pattern(sentence: str) -> re.Pattern[str]:
    """Return what fits a sentence, with groups for its places."""
    seen: set[str] = set()

    def group(place: re.Match[str]) -> str:
        again = place[1] in seen
        seen.add(place[1])
        return f"(?P={place[1]})" if again else f"(?P<{place[1]}>.*?)"

    groups = map(group, _PLACE.finditer(sentence))
    return re.compile("".join(re.escape(part) + next(groups, "") for part in _literals(sentence)), re.DOTALL)


@cache
def _catalogue(language: str) -> gettext.NullTranslations:
    return gettext.translation(DOMAIN, HERE, [language], fallback=True)
