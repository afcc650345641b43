"""The beacons that concern us: whose frames are read at all.

Nearly every advertisement in a street is a stranger's. Whether a frame can be one of ours is seen from the octets of
its namespace, before anything is made of it (privacy by design: what is nobody's business is never even decoded).
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass

Octets = frozenset[bytes] | None
"""Namespaces as they stand in the frame; None: any."""
_UUID, _ORGANISATION, _NAMESPACE, _EID = 16, 16, 10, 8


@dataclass(frozen=True, slots=True)
class Namespaces:
    """What to read: of iBeacon the UUID, of AltBeacon the first 16 octets, of Eddystone-UID the namespace."""

    ibeacon: Octets = None
    altbeacon: Octets = None
    eddystone_uid: Octets = None
    eddystone_eid: Octets = None
    """Ephemeral identifiers have no namespace: each as a whole."""
    links: tuple[str, ...] | None = None
    """Of links in Eddystone-URL how they begin: scheme, host and a slash; None: any."""
    own: Container[bytes] = frozenset()
    """The ephemeral identifiers that the store's own beacons send about now (`gateway.core.ephemeral`)."""


ANY = Namespaces()


def namespaces(identifiers: Iterable[tuple[str, str]], prefixes: Iterable[tuple[str, str]]) -> Namespaces:
    """Return the namespaces of these identifiers (kind, value) and of all that begin with these prefixes."""
    wanted = [*identifiers, *prefixes]
    return Namespaces(
        ibeacon=_octets(wanted, "ibeacon", _UUID),
        altbeacon=_octets(wanted, "altbeacon", _ORGANISATION),
        eddystone_uid=_octets(wanted, "eddystone-uid", _NAMESPACE),
        eddystone_eid=_octets(wanted, "eddystone-eid", _EID),
        links=tuple({"/".join(value.split("/")[:3]) + "/" for kind, value in wanted if kind == "link"}),
    )


def _octets(wanted: Iterable[tuple[str, str]], kind: str, length: int) -> Octets:
    """Return the first octets of each value of a kind; None if one of them is shorter: then it can be any."""
    digits = [value.replace("-", "").partition("/")[0][: 2 * length] for each, value in wanted if each == kind]
    try:
        octets = frozenset(bytes.fromhex(text) for text in digits)
    except ValueError:
        return None
    return octets if all(len(each) == length for each in octets) else None
