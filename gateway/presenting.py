"""Customers' tokens, presented at a reader: borrowed from the path for as long as it takes, and never typed."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.capture import Capture
from gateway.control import RequestError, Tell
from gateway.core import decode
from gateway.core.record import TOKENS
from gateway.core.registry import Bearer
from gateway.core.sighting import Advertisement, Identifier, Scan, Sighting, Tag

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
                token = _token(capture, _candidates(await capture.borrow(reader)))
                if token not in before:
                    return token
                if not told:  # a card that is left on the reader is read several times a second
                    await tell({"again": reader})
                    told = True
    except TimeoutError:
        raise RequestError(
            f"nothing {'else ' if before else ''}was presented at {reader}, and nothing is recorded; "
            "start the command again"
        ) from None


def _given(request: Mapping[str, Any]) -> Sequence[str] | None:
    """Return the tokens that a test gives as text."""
    text = request.get("token")
    if text is None:
        return None
    texts = text if isinstance(text, list) else [text]
    if not 1 <= len(texts) <= TOKENS:
        raise RequestError(f"1 to {TOKENS} tokens can be presented in one go")
    return [str(each) for each in texts]


def _seconds(request: Mapping[str, Any]) -> float:
    seconds = request.get("seconds") or PRESENT_SECONDS
    return float(seconds) if isinstance(seconds, int | float) else PRESENT_SECONDS


def _token(capture: Capture, candidates: tuple[Identifier, ...]) -> Identifier:
    """Return what of a reading is a customer's token. Raises RequestError."""
    for identifier in candidates:
        if isinstance(capture.path.registry.lookup(identifier), Bearer):
            return identifier
    raise RequestError("that is not a customer's token: no [[bearer]] of the configuration covers it")


def _reader(capture: Capture, name: object) -> str:
    """Choose the reader at which the token is presented: the one that was named, or the only one there is."""
    counters = [reader.name for reader in capture.path.readers.values() if reader.channel != "ble"]
    if name is not None and name not in counters:
        raise RequestError(f"no reader {name}; a token can be presented at: {', '.join(counters) or 'none'}")
    if name is None and len(counters) != 1:
        raise RequestError(f"say at which reader, with --reader: {', '.join(counters) or 'none is configured'}")
    chosen = counters[0] if name is None else str(name)
    status = capture.readers.get(chosen)
    if status is None or not status.up:
        raise RequestError(
            f"reader {chosen} is not working: {status.reason if status else 'the daemon is not running'}"
        )
    return chosen


def _candidates(sighting: Sighting) -> tuple[Identifier, ...]:
    match sighting.payload:
        case Tag() as tag:
            return decode.tag(tag)
        case Scan() as scan:
            return decode.scan(scan)
        case Advertisement():
            return ()


def _typed(text: str) -> tuple[Identifier, ...]:
    """Read a token given as text: what a scanner would read, or `kind:value`."""
    kind, _, value = text.strip().partition(":")
    return (*decode.scan(Scan(text.strip())), Identifier(kind, value))
