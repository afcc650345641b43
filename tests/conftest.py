"""What tests in several folders need."""

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

signal.signal(signal.SIGINT, signal.default_int_handler)
"""A shell's background job ignores it, as `make test &` is, and so would every program that a test starts."""


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a path short enough for a Unix socket."""
    with tempfile.TemporaryDirectory(prefix="tp-") as made:
        yield Path(made)
