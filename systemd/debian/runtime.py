# ruff: noqa: INP001 -- a tool of the package's build, in no Python package
"""Print the lines of requirements.lock that the gateway itself needs, with their hashes: none of tests or demo.

python systemd/debian/runtime.py > build/deb/runtime.txt
"""

import re
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCK = Path(__file__).parents[2] / "requirements.lock"
LEFT_OUT = frozenset({"pip"})
"""sqlite-utils names it for a command of its own, which is not in the package; a gateway installs nothing."""
PIN = re.compile(r"^([A-Za-z0-9._-]+)==\S+.*(?:\n    --hash=.*)*", re.MULTILINE)


def needed(name: str, extras: frozenset[str] = frozenset()) -> set[str]:
    """Return the names of all that a distribution needs on this machine, itself left out."""
    found: set[str] = set()
    waiting = [(name, extras)]
    while waiting:
        each, wanted = waiting.pop()
        for requirement in map(Requirement, requires(each) or ()):
            of = canonicalize_name(requirement.name)
            if of not in found | LEFT_OUT and _applies(requirement, wanted):
                found.add(of)
                waiting.append((of, frozenset(requirement.extras)))
    return found


def _applies(requirement: Requirement, extras: frozenset[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in (*extras, ""))


def pins(names: set[str]) -> list[str]:
    """Return the pins of these distributions, as they stand in the lock file."""
    found = {canonicalize_name(pin[1]): pin[0] for pin in PIN.finditer(LOCK.read_text(encoding="utf-8"))}
    return [found[name] for name in sorted(names)]


if __name__ == "__main__":
    print("\n".join(pins(needed("touchpoint-gateway"))))  # noqa: T201 -- the output
