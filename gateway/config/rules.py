"""Rules of the configuration that come from elsewhere: the kernel's, the identifiers', the arithmetic of guessing."""

import re
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from gateway.core.decode import link
from gateway.core.event import NAME
from gateway.sentence import sentence

SOCKET_PATH = 107
"""Bytes that the path of a Unix socket may have (unix(7): sun_path holds 108 with its end)."""
LAST_PORT = 65_535
ENOUGH_BITS = 128
"""What a token needs at random, so that nobody can undo its hash by trying all."""
_BITS_A_DIGIT = 4
_LABEL = "[A-Za-z0-9_][A-Za-z0-9_-]{0,62}"
LONGEST_HOST = 253
"""Characters of a name in the DNS (RFC 1035, 3.1, as text)."""
_DIGITS = {"ibeacon": 40, "altbeacon": 40, "eddystone-uid": 32, "eddystone-eid": 16, "nfc-uid": 14, "sun": 14}
"""Hexadecimal digits of a whole identifier; a UID mostly has seven bytes."""
_MAJOR_AND_MINOR_BITS = 32
"""All that differs between the iBeacons of a fleet."""


def is_name(value: str) -> bool:
    """Tell whether a name can stand in a topic."""
    return re.fullmatch(NAME, value) is not None


def is_host(value: str) -> bool:
    """Tell whether this is a host's name (RFC 1123, 2.1; `_` is found in local networks) or its address, and no URL."""
    with suppress(ValueError):
        return bool(ip_address(value))
    return len(value) <= LONGEST_HOST and re.fullmatch(rf"{_LABEL}(\.{_LABEL})*\.?", value) is not None


def socket_fault(directory: Path) -> str | None:
    """Say what is wrong with a directory of sockets; None if nothing."""
    length = len(bytes(directory / "control.sock"))
    return (
        sentence("the path of the socket in it has {length} bytes, {socket_path} are allowed").format(
            length=length, socket_path=SOCKET_PATH
        )
        if length > SOCKET_PATH
        else None
    )


def loopback(listen: str) -> tuple[str, int] | None:
    """Return address and port of `127.0.0.1:9464` or `[::1]:9464`; None if others could reach it, or it is neither."""
    host, _, port = listen.rpartition(":")
    if not re.fullmatch("[1-9][0-9]{0,4}", port) or int(port) > LAST_PORT:
        return None
    if bracketed := re.fullmatch(r"\[([0-9a-f:]+)\]", host):
        host = bracketed[1]
    elif ":" in host:
        return None
    try:
        return (host, int(port)) if ip_address(host).is_loopback else None
    except ValueError:
        return None


def prefix_fault(kind: str | None, prefix: str) -> tuple[str, str] | None:
    """Say why no identifier of this kind begins so, or too many do, and what would be right; None if it is fine."""
    if kind == "link" and (link.canonical(prefix) != prefix or prefix.count("/") < 3):  # noqa: PLR2004  # https://host/
        return sentence("is not a link in canonical text with a path"), sentence(
            'for example prefix = "https://id.acme.example/m/"'
        )
    if kind in {"altbeacon", "eddystone-uid"} and not prefix:
        return sentence("is empty, so every such beacon would be a customer's"), sentence("the brand's namespace")
    if kind in _DIGITS and not re.fullmatch("[0-9a-f/-]*", prefix):
        return sentence("is not lower-case hexadecimal"), sentence("for example 04a1b2")
    return None


def bearer_bits(kind: str, prefix: str, token_bits: int) -> int:
    """Return how many random bits a token can carry after the prefix, at best."""
    if kind == "link":
        return token_bits
    fixed = len(re.sub("[^0-9a-f]", "", prefix))
    free = max(0, _DIGITS.get(kind, 0) - fixed) * _BITS_A_DIGIT
    return min(free, _MAJOR_AND_MINOR_BITS) if kind == "ibeacon" else free
