"""Telling a row that reads as it was written from one that the disk has changed: SQLite has no checksums of its own."""

import zlib


def checksum(event: str, sequence: int) -> int:
    """Return the CRC-32 of an event's text (ISO 3309), which its row carries: begun with its sequence, to bind both."""
    return zlib.crc32(event.encode(), sequence & 0xFFFFFFFF)


def whole(event: object, expected: object, sequence: int) -> str | None:
    """Return the text that a row holds, None if it is not what was written. Rows of the first schema carry no sum.

    SQLite checks types when it writes, not when it reads: a changed bit may turn a text into NULL.
    """
    if not isinstance(event, bytes):
        return None
    if expected is not None and zlib.crc32(event, sequence & 0xFFFFFFFF) != expected:
        return None
    try:
        return event.decode()
    except UnicodeDecodeError:
        return None
