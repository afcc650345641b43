"""The package that `make deb` has built, and others made of it that are newer, cannot start, or change a database."""

import shutil
import subprocess
import sys
from pathlib import Path

DIST = Path(__file__).parents[2] / "dist"
MIGRATION = """

def _capture_next(database: "Database") -> None:
    database.conn.execute("CREATE TABLE from_the_future (text TEXT)")


CAPTURE_STEPS = (*CAPTURE_STEPS, _capture_next)
CAPTURE = Schema("capture.db", len(CAPTURE_STEPS), lambda connection: _migrate(connection, "capture", CAPTURE_STEPS))
"""


def built() -> Path:
    """Return the package in dist/."""
    packages = sorted(DIST.glob("touchpoint-gateway_*.deb"), key=lambda path: path.stat().st_mtime)
    if not packages:
        sys.exit("there is no package in dist/: make deb")
    return packages[-1]


def version(package: Path) -> str:
    """Return the version of a package."""
    return field(package, "Version")


def field(package: Path, name: str) -> str:
    """Return a field of a package's control file."""
    said = subprocess.run(["dpkg-deb", "--field", package, name], check=True, capture_output=True, text=True)
    return said.stdout.strip()


def variant(
    package: Path, directory: Path, to: str, *, broken: str | None = None, how: str = "exit 1", migrates: bool = False
) -> Path:
    """Make a package of another version; one half of it may do something else, or its outbox be of a newer schema."""
    tree, of = directory / f"tree-{to}", version(package)
    subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)
    for name in ("control", "preinst", "postinst", "md5sums"):
        _replace(tree / "DEBIAN" / name, of, to)
    (tree / "opt/touchpoint" / of).rename(tree / "opt/touchpoint" / to)
    program = tree / "opt/touchpoint" / to / "bin/touchpoint"
    _replace(program, of, to)
    if broken is not None:
        text = program.read_text(encoding="utf-8")
        program.rename(program.with_name("works"))
        program.write_text(f'#!/bin/sh\n[ "$1" != {broken} ] || {how}\nexec "${{0%/*}}/works" "$@"\n', encoding="utf-8")
        program.chmod(0o755)
        assert text.startswith("#!/opt")
    if migrates:
        (schema,) = (tree / "opt/touchpoint" / to).glob("lib/python3.*/site-packages/gateway/store/schema.py")
        with schema.open("a", encoding="utf-8") as file:
            file.write(MIGRATION)
        for compiled in (schema.parent / "__pycache__").glob("schema.*"):
            compiled.unlink()
    made = directory / f"touchpoint-gateway_{to}.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", tree, made], check=True, capture_output=True
    )
    shutil.rmtree(tree)
    return made


def _replace(path: Path, one: str, other: str) -> None:
    path.write_text(path.read_text(encoding="utf-8").replace(one, other), encoding="utf-8")
