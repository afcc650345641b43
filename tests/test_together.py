"""Tasks that work together, and which of their failures is told."""

import ast
import asyncio
from pathlib import Path

import pytest

import gateway
from gateway.together import first_failure, first_of

PACKAGE = Path(gateway.__file__).parent


async def test_the_first_failure_is_the_one_that_is_told() -> None:
    """The other parts are ended, and the error comes as itself, not as a group."""
    ended = asyncio.Event()

    async def fails() -> None:
        await asyncio.sleep(0)
        raise ConnectionError("first")

    async def goes_on() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(ConnectionError, match="first"):
        await first_failure(goes_on(), fails())
    assert ended.is_set()


def test_the_first_of_a_kind_is_found_however_deep_it_lies() -> None:
    """Without the groups around it; None if there is none."""
    errors = ExceptionGroup("", [KeyError(), ExceptionGroup("", [OSError("x"), ValueError("first"), ValueError()])])
    assert str(first_of(errors, ValueError)) == "first"
    assert first_of(errors, TypeError) is None


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=str)
def test_nothing_is_raised_out_of_a_starred_except(file: Path) -> None:
    """Debian 12 has Python 3.11.2, which wraps that in another group, and nobody catches it."""
    assert not [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.TryStar)]
