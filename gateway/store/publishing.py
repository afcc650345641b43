"""The border between what may still be changed and what is on its way: one lock that both halves take for a moment.

The uplink says how far it will publish, and only then reads the rows. Capture looks how far that is, and changes only
rows behind it. Each does so under this lock, capture until its change is committed: so a row that is sent is the row
that stands in the file. The kernel lets go of the lock of a process that dies (flock(2)).
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.sentence import sentence
from gateway.store.database import StoreError, access_hint, shared_by_both

FILE = "publishing.lock"


@contextmanager
def border(directory: Path) -> Iterator[None]:
    """Hold the border still. Waits while the other half holds it, which lasts a commit. Raises StoreError."""
    path = directory / FILE
    try:
        with shared_by_both():
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
    except OSError as error:
        raise StoreError("lock", path, error.strerror or sentence("unknown error"), access_hint(directory)) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
