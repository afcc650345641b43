"""The payloads that come down: signed text, JSON of the contract, and what makes either be refused."""

import json
from typing import Any, TypeVar

from pydantic import BaseModel

from gateway.core.contract import Topics
from gateway.core.jws import LONGEST
from gateway.core.order import FUTURE_MS
from gateway.core.sighting import ClockQuality, Moment

AnyModel = TypeVar("AnyModel", bound=BaseModel)


class RefusedError(Exception):
    """A message that is not taken; the text says why, in our own words."""


def text(payload: bytes) -> str:
    """Return a signed message as text. Raises RefusedError."""
    if len(payload) > LONGEST:
        raise RefusedError("it is too long")
    try:
        return payload.decode("ascii")
    except UnicodeDecodeError:
        raise RefusedError("it is no JWS in compact form") from None


def parsed(model: type[AnyModel], payload: bytes) -> AnyModel:
    """Parse a payload. Raises ValidationError, ValueError."""
    return model.model_validate_json(without_doubles(payload))


def without_doubles(payload: bytes) -> bytes:
    """Return JSON in which no object has a key twice: readers differ in which of the two they take (RFC 8259, 4).

    Raises ValueError, RecursionError, RefusedError.
    """
    if len(payload) > LONGEST:
        raise RefusedError("it is too long")
    json.loads(payload, object_pairs_hook=_once)
    return payload


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found


def judgeable(now: Moment) -> None:
    """Refuse to judge dates without a synced clock. Raises RefusedError."""
    if now.quality is ClockQuality.UNSYNCED:
        raise RefusedError("the clock is not synced, so its dates cannot be judged")


def ours(topics: Topics, tenant: str, site: str) -> None:
    """Refuse what is for another site. Raises RefusedError."""
    if (tenant, site) != (topics.tenant, topics.site):
        raise RefusedError("it is for another site")


def not_from_the_future(at_ms: int, now: Moment) -> None:
    """Refuse dates that are still to come. Raises RefusedError."""
    if at_ms > now.wall_ms + FUTURE_MS:
        raise RefusedError("it is from the future")
