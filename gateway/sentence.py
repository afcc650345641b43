"""What the gateway says of itself in English: for the log, the state topic and scripts, and translated for people.

    raise DeviceLostError(sentence("{device} is gone: unplugged").format(device=device))

Whoever shows it to a person says it in that person's language (`gateway.language.said`), which finds the sentence again
by its text: it may have travelled through a file, a socket or an exception meanwhile. What libraries say stays English.
"""

from typing import Final


def sentence(text: str) -> str:
    """Return a text, with places for what differs, as it is; the catalogues hold it."""
    return text


SYSTEM: Final = (
    sentence("No such file or directory"),
    sentence("Permission denied"),
    sentence("Operation not permitted"),
    sentence("Is a directory"),
    sentence("Not a directory"),
    sentence("No space left on device"),
    sentence("Read-only file system"),
    sentence("Input/output error"),
    sentence("Device or resource busy"),
    sentence("No such device"),
    sentence("Connection refused"),
    sentence("Connection reset by peer"),
    sentence("Connection timed out"),
    sentence("No route to host"),
    sentence("Network is unreachable"),
    sentence("Name or service not known"),
    sentence("Temporary failure in name resolution"),
    sentence("unable to open database file"),
    sentence("database is locked"),
    sentence("database or disk is full"),
    sentence("disk I/O error"),
    sentence("attempt to write a readonly database"),
    sentence("file is not a database"),
    sentence("database disk image is malformed"),
)
"""What the system (strerror(3), gai_strerror(3)) and SQLite say most often in the place of a reason."""
