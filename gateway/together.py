"""Tasks that work together: which of their failures is told.

`except*` is not used for it: before Python 3.11.4 what is raised in one comes out inside another group (cpython,
gh-103590).
"""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

Failure = TypeVar("Failure", bound=Exception)


async def first_failure(*parts: Awaitable[Any]) -> None:
    """Run the parts side by side until one fails, end the others, and raise that one's error."""
    try:
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(_whole(part))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def _whole(part: Awaitable[Any]) -> None:
    await part


def first_of(errors: BaseExceptionGroup[BaseException], *kinds: type[Failure]) -> Failure | None:
    """Return the first error of these kinds, without the groups around it; None if there is none."""
    found: BaseExceptionGroup[Failure] | Failure | None = errors.subgroup(kinds)
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
