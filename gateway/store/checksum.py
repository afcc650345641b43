"""Telling a row that reads as it was written from one that the disk has changed: SQLite has no checksums of its own."""

import zlib


def checksum(event: str) -> int:
    """Return the CRC-32 of an event's text (ISO 3309), which its row carries."""
    return zlib.crc32(event.encode())


def whole(event: bytes, expected: int | None) -> str | None:
    """Return the text that a row holds, None if it is not what was written. Rows of the first schema carry no sum."""
    if expected is not None and zlib.crc32(event) != expected:
        return None
    try:
        return event.decode()
    except UnicodeDecodeError:
        return None
