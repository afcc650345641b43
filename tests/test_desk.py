"""What staff ask of the capture half, over its socket and its own files."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.config import load
from gateway.control import RequestError
from gateway.core.pseudonym import derive
from gateway.core.sighting import Scan, Sighting
from gateway.daemon.capture import desk, open_capture
from gateway.desk import Desk
from gateway.sources.source import SourceStatus

TOKEN = "https://id.acme.example/m/Zk3vX9c1QmS7tB0dLw2RfA"
CONFIGURATION = """
[gateway]
tenant = "acme"
site = "zrh-1"
id = "gw-1"
state = "."
[mqtt]
host = "127.0.0.1"
[pseudonym]
keys = "./keys.json"
[clock]
source = "trusted"
[[reader]]
name = "scanner"
kind = "scanner"
device = "/none"
touchpoint = "counter"
[[bearer]]
kind = "link"
prefix = "https://id.acme.example/m/"
"""


async def silent(answer: Mapping[str, Any]) -> None:
    del answer


@pytest.fixture
async def open_desk(directory: Path) -> AsyncIterator[Desk]:
    """The desk of a capture half with keys and one working reader; no source runs."""
    (directory / "gateway.toml").write_text(CONFIGURATION, encoding="utf-8")
    (directory / "keys.json").write_text(
        derive(bytes(32), "acme", "zrh-1", [("2026Q4", 0, None)]).to_json(), encoding="utf-8"
    )
    settings = load(directory / "gateway.toml")
    async with open_capture(settings) as half:
        half.show(SourceStatus("scanner", up=True))
        yield desk(half, settings)


async def act(counter: Desk, name: str, **request: object) -> dict[str, Any]:
    return await counter.handlers()[name](request, silent)


async def test_a_grant_is_renewed_and_a_grant_after_a_withdrawal_is_a_new_record(open_desk: Desk) -> None:
    """The same purposes again: the next revision. After a withdrawal: another record, and the tombstone stays."""
    first = await act(open_desk, "consent-grant", token=TOKEN)
    again = await act(open_desk, "consent-grant", token=TOKEN, notice="2", language="de")
    assert (again["record_id"], again["revision"], again["state"]) == (first["record_id"], 2, "renewed")
    assert (again["notice_version"], again["language"]) == ("2", "de")
    assert await act(open_desk, "consent-withdraw", token=TOKEN) == {"withdrawn": 1, "possibly_sent": 0}
    assert await act(open_desk, "consent-withdraw", token=TOKEN) == {"withdrawn": 0, "possibly_sent": 0}
    third = await act(open_desk, "consent-grant", token=TOKEN)
    assert third["record_id"] != first["record_id"]
    shown = (await act(open_desk, "consent-show", token=TOKEN))["records"]
    assert sorted(record["state"] for record in shown) == ["given", "withdrawn"]
    assert "handles" not in shown[0]


async def test_what_is_no_token_is_refused(open_desk: Desk) -> None:
    """Neither a touchpoint nor any text is a customer; nothing of it is repeated in the message."""
    with pytest.raises(RequestError, match="not a customer's token") as refused:
        await act(open_desk, "consent-grant", token="https://elsewhere.example/secret-text")  # noqa: S106
    assert "secret-text" not in str(refused.value)


async def test_without_keys_no_consent_is_recorded(open_desk: Desk) -> None:
    """A handle cannot be made, and the message says what to do."""
    open_desk.capture.path.subjects.ring = None
    with pytest.raises(RequestError, match="touchpoint keys"):
        await act(open_desk, "consent-grant", token=TOKEN)


async def test_the_token_is_presented_at_a_reader(open_desk: Desk) -> None:
    """The next sighting of the borrowed reader is the token; the reader is then given back."""
    granting = asyncio.ensure_future(act(open_desk, "consent-grant"))
    while "scanner" not in open_desk.capture._borrowed:  # noqa: SLF001, ASYNC110  # what the source looks at
        await asyncio.sleep(0)
    with pytest.raises(RequestError, match="lent to another command"):
        await act(open_desk, "consent-show")
    assert open_desk.capture._lend(Sighting("scanner", Scan(TOKEN)))  # noqa: SLF001
    assert (await granting)["state"] == "given"
    assert not open_desk.capture._lend(Sighting("scanner", Scan(TOKEN)))  # noqa: SLF001


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"reader": "salon"}, "no reader salon; a token can be presented at: scanner"),
        ({"seconds": 0.01}, "nothing was presented at scanner"),
    ],
)
async def test_a_presentation_that_cannot_be(open_desk: Desk, request_: dict[str, object], message: str) -> None:
    """Each with what to do next."""
    with pytest.raises(RequestError, match=message):
        await act(open_desk, "consent-grant", **request_)


async def test_a_reader_that_is_down_cannot_be_borrowed(open_desk: Desk) -> None:
    """The message says why it is down."""
    open_desk.capture.show(SourceStatus("scanner", up=False, reason="unplugged"))
    with pytest.raises(RequestError, match="scanner is not working: unplugged"):
        await act(open_desk, "consent-grant")
