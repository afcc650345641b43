"""Who is spoken to in which language: the process, and whoever asks it something."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway import language
from gateway.control import RequestError, ask, serve
from gateway.language import _, asked_for, several, spoken, spoken_to

AGAIN = "Present the token at {reader} now."


@pytest.mark.parametrize(
    ("arguments", "environment", "wanted"),
    [
        ([], {}, "en"),
        (["--lang", "de"], {}, "de"),
        (["--lang=fr", "status"], {"LANG": "de_CH"}, "fr"),
        (["status", "--lang", "de"], {}, "en"),
        ([], {"LC_ALL": "fr_CH.UTF-8", "LANG": "de_CH"}, "fr"),
        ([], {"LC_MESSAGES": "de_CH"}, "de"),
        ([], {"LANG": "C"}, "en"),
    ],
)
def test_which_language_is_asked_for(arguments: list[str], environment: dict[str, str], wanted: str) -> None:
    """By --lang before the command, else by the locale, else English."""
    assert asked_for(arguments, environment) == wanted


def test_one_task_is_spoken_to_and_nobody_else() -> None:
    """A text is in the language of whoever asks while they are answered, and as before afterwards."""
    with spoken_to("de"):
        assert spoken() == "de"
        assert _(AGAIN) == "Weisen Sie jetzt die Kundenkarte an {reader} vor."
        assert several("{count} touchpoint written.", "{count} touchpoints written.", 1) == "1 Touchpoint geschrieben."
        with spoken_to("zz"):
            assert _(AGAIN) == AGAIN
    assert _(AGAIN) == AGAIN


def test_a_running_gateway_answers_in_the_language_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal comes in the asker's language, though the gateway itself speaks English."""

    async def refuse(_request: object, _tell: object) -> dict[str, object]:
        raise RequestError(_("the daemon is not running"))

    async def asked(speaking: str) -> str:
        monkeypatch.setattr(language, "spoken", lambda: speaking)
        monkeypatch.setattr("gateway.control.spoken", lambda: speaking)
        async with serve(tmp_path, {"refuse": refuse}, None):
            with pytest.raises(RequestError) as refused:
                await ask(tmp_path, {"ask": "refuse"})
        return str(refused.value)

    assert asyncio.run(asked("fr")) == "le service n'est pas en marche"
    assert asyncio.run(asked("en")) == "the daemon is not running"


def test_the_language_of_a_notice_is_not_that_of_the_command(tmp_path: Path) -> None:
    """A request keeps its own `language`, in which a customer was shown the notice."""

    async def tell(request: Mapping[str, object], _tell: object) -> dict[str, object]:
        return {"language": request.get("language")}

    async def asked(**more: str) -> object:
        async with serve(tmp_path, {"tell": tell}, None):
            return (await ask(tmp_path, {"ask": "tell", **more}))["language"]

    assert asyncio.run(asked(language="fr-CH")) == "fr-CH"
    assert asyncio.run(asked()) is None
