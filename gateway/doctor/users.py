"""Whom the halves run as: the services' own users where they are set up, else whoever asks."""

import os
import pwd
from pathlib import Path

from gateway.doctor.facts import User


def runs_as(service: str, root: Path = Path("/")) -> User:
    """Return the user of a service with its groups; whoever asks, if there is no such service."""
    try:
        user = pwd.getpwnam(service) if root == Path("/") else None
    except KeyError:
        user = None
    if user is None:
        name = pwd.getpwuid(os.geteuid()).pw_name if _known(os.geteuid()) else str(os.geteuid())
        return User(name, os.geteuid(), frozenset({os.getegid(), *os.getgroups()}))
    return User(user.pw_name, user.pw_uid, frozenset(os.getgrouplist(user.pw_name, user.pw_gid)))


def _known(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True
