"""Whom the halves run as: the services' own users where they are set up, else whoever asks."""

import grp
import os
import pwd
from pathlib import Path

from gateway.doctor.facts import User

OF_THE_SERVICE = ("bluetooth", "dialout", "input", "plugdev")
"""What systemd/touchpoint-capture.service adds (SupplementaryGroups=)."""


def runs_as(service: str, root: Path = Path("/")) -> User:
    """Return the user of a service with its groups; whoever asks, if there is no such service."""
    try:
        user = pwd.getpwnam(service) if root == Path("/") else None
    except KeyError:
        user = None
    if user is None:
        name = pwd.getpwuid(os.geteuid()).pw_name if _known(os.geteuid()) else str(os.geteuid())
        return User(name, os.geteuid(), frozenset({os.getegid(), *os.getgroups()}))
    added = OF_THE_SERVICE if service.endswith("capture") else ()
    groups = {*os.getgrouplist(user.pw_name, user.pw_gid), *(gid for name in added if (gid := _gid(name)) is not None)}
    return User(user.pw_name, user.pw_uid, frozenset(groups))


def _known(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _gid(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None
