"""Customers' tokens, presented at a reader: borrowed from the path for as long as it takes, and never typed."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.capture import Capture, report_tag
from gateway.control import RequestError, Tell
from gateway.core import decode
from gateway.core.authenticity import Reading
from gateway.core.record import TOKENS
from gateway.core.registry import Bearer
from gateway.core.sighting import Advertisement, Identifier, Scan, Sighting
from gateway.language import _, said

PRESENT_SECONDS = 60.0
"""So long each token is waited for."""


@dataclass(frozen=True, slots=True)
class Presented:
    """The tokens of one customer, each once, and the reader at which they were presented; None for a test's text."""

    tokens: tuple[Identifier, ...] = field(repr=False)
    reader: str | None


async def presented(capture: Capture, request: Mapping[str, Any], tell: Tell, tokens: int = 1) -> Presented:
    """Wait for so many different tokens of one customer; they go no further than their handles. Raises RequestError.

    A token that is presented once more is told and not counted.
    """
    given = _given(request)
    if given is not None:
        found = tuple(dict.fromkeys(_token(capture, _typed(text)) for text in given))
        return Presented(found, None)
    reader = _reader(capture, request.get("reader"))
    found = ()
    for number in range(1, tokens + 1):
        await tell({"present": reader, "number": number, "of": tokens})
        found = (*found, await _next(capture, reader, found, tell, _seconds(request)))
    return Presented(found, reader)


async def _next(
    capture: Capture, reader: str, before: tuple[Identifier, ...], tell: Tell, seconds: float
) -> Identifier:
    """Wait for a token that was not presented before."""
    told = False
    try:
        async with asyncio.timeout(seconds):
            while True:
                reading = _reading(capture, await capture.borrow(reader))
                token = _token(capture, reading)
                if token not in before:
                    await _believe(capture, reading, reader)
                    return token
                if not told:  # a card that is left on the reader is read several times a second
                    await tell({"again": reader})
                    told = True
    except TimeoutError:
        nothing = (
            _("nothing else was presented at {reader}, and nothing is recorded; start the command again")
            if before
            else _("nothing was presented at {reader}, and nothing is recorded; start the command again")
        )
        raise RequestError(nothing.format(reader=reader)) from None


def _given(request: Mapping[str, Any]) -> Sequence[str] | None:
    """Return the tokens that a test gives as text."""
    text = request.get("token")
    if text is None:
        return None
    texts = text if isinstance(text, list) else [text]
    if not 1 <= len(texts) <= TOKENS:
        raise RequestError(_("1 to {most} tokens can be presented in one go").format(most=TOKENS))
    return [str(each) for each in texts]


def _seconds(request: Mapping[str, Any]) -> float:
    seconds = request.get("seconds") or PRESENT_SECONDS
    return float(seconds) if isinstance(seconds, int | float) else PRESENT_SECONDS


def _token(capture: Capture, reading: Reading) -> Identifier:
    """Return what of a reading is a customer's token. Raises RequestError."""
    for identifier in reading.candidates:
        if isinstance(capture.path.registry.lookup(identifier), Bearer):
            return identifier
    raise RequestError(_("that is not a customer's token: no [[bearer]] of the configuration covers it"))


async def _believe(capture: Capture, reading: Reading, reader: str) -> None:
    """Accept a token's message, which cannot be shown a second time from then on. Raises RequestError, StoreError.

    A copy and a forgery are counted and present nobody.
    """
    if reading.verdict is not None:
        capture.tally(f"sun:{reading.verdict}")
    if reading.refused:
        report_tag(reading.verdict, reader)
        raise RequestError(
            _("that token is {verdict}, and nothing is recorded: it must be the card itself, read anew").format(
                verdict=reading.verdict
            )
        )
    if reading.spent is not None:
        await capture.spend(reading.spent)


def _reader(capture: Capture, name: object) -> str:
    """Choose the reader at which the token is presented: the one that was named, or the only one there is."""
    counters = [reader.name for reader in capture.path.readers.values() if reader.channel != "ble"]
    if name is not None and name not in counters:
        raise RequestError(
            _("no reader {name}; a token can be presented at: {counters}").format(
                name=name, counters=", ".join(counters) or _("none")
            )
        )
    if name is None and len(counters) != 1:
        raise RequestError(
            _("say at which reader, with --reader: {counters}").format(
                counters=", ".join(counters) or _("none is configured")
            )
        )
    chosen = counters[0] if name is None else str(name)
    status = capture.readers.get(chosen)
    if status is None or not status.up:
        raise RequestError(
            _("reader {name} is not working: {reason}").format(
                name=chosen, reason=said(status.reason) if status else _("the daemon is not running")
            )
        )
    return chosen


def _reading(capture: Capture, sighting: Sighting) -> Reading:
    if isinstance(sighting.payload, Advertisement):
        return Reading(())
    return capture.path.authenticator.read(sighting.payload)


def _typed(text: str) -> Reading:
    """Read a token given as text: what a scanner would read, or `kind:value`. Nothing of it is proven."""
    kind, _, value = text.strip().partition(":")
    return Reading((*decode.scan(Scan(text.strip())), Identifier(kind, value)))
