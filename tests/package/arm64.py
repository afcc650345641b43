"""Whether every library that the gateway needs has a wheel for a Raspberry Pi with 64 bits: downloads them all.

    make arm64

A library without any wheel (pyDes, which nfcpy needs) is built from its source where the package is built; it is pure
Python, which its wheel's name shows there. The exit status is 1 if one is missing.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

PYTHON = ("3.11", "3.13")
"""Of Debian bookworm and trixie, and of the Raspberry Pi OS made of them."""
PLATFORMS = ("manylinux2014_aarch64", "manylinux_2_28_aarch64", "manylinux_2_31_aarch64", "manylinux_2_34_aarch64")
SOURCES = {"pydes"}


def missing(pin: str, python: str, directory: Path) -> bool:
    """Tell whether a pinned library has no wheel for this Python on aarch64."""
    platforms = [option for each in PLATFORMS for option in ("--platform", each)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", *platforms]
    command += ["--python-version", python, "--implementation", "cp", "--dest", str(directory), pin]
    return subprocess.run(command, check=False, capture_output=True).returncode != 0


def main(requirements: Path) -> int:
    """Look for each library; return the exit status."""
    pins = re.findall(r"^[A-Za-z0-9._-]+==[^\s;]+", requirements.read_text(encoding="utf-8"), re.MULTILINE)
    bad = False
    for python in PYTHON:
        with tempfile.TemporaryDirectory() as name:
            without = [pin for pin in pins if missing(pin, python, Path(name))]
            compiled = sorted(path.name for path in Path(name).glob("*aarch64*"))
        unexpected = [pin for pin in without if pin.partition("==")[0] not in SOURCES]
        bad |= bool(unexpected)
        found = f"{len(pins) - len(without)} of {len(pins)} have a wheel, {len(compiled)} of them compiled"
        print(f"Python {python}: {found}; without: {', '.join(without) or 'none'}")  # noqa: T201 -- the report
    return bad


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
