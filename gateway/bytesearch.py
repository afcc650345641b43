"""Searching bytes for identifiers that must not be there, in whatever spelling they may have got there.

    needles = Needles([("Anna's token", b"..."), ("a phone's address", bytes.fromhex("c40000000001"))])
    needles.find(data)                    # the labels of what stands in these bytes
    search_files(directory, needles)      # every regular file below a directory
    prove_absent(directories, identifiers)  # the same over several, with what could not be read

An identifier is searched as it is and backwards (BLE sends addresses with the last byte first), as UTF-16, in
hexadecimal with and without separators, in base64 at each of its three alignments, percent-encoded and escaped for
JSON. Labels go into reports, so they name an identifier without containing it.
"""

import json
import os
import stat
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from urllib.parse import quote_from_bytes

SHORTEST = 6
"""Bytes. Anything shorter is found in random data by chance."""
CHUNK = 1 << 20
FEW = 256
"""Up to so many spellings are looked for one after the other: the interpreter's own search is that much faster."""
TOGETHER = 1_000
"""So many identifiers are searched for in one go; their spellings fit in some ten megabytes."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An identifier in a file: which, where, and in what spelling."""

    path: Path
    label: str
    encoding: str


@dataclass(frozen=True, slots=True)
class Proof:
    """What a search has come to: nothing was found in so many files, as far as they could be read."""

    files: int
    findings: list[Finding]
    unread: list[Path]
    """Files and directories of which nothing is known."""

    @property
    def holds(self) -> bool:
        """Tell whether everything was read and nothing found."""
        return not self.findings and not self.unread


class Needles:
    """What is searched for: labels and raw bytes. Raises ValueError for bytes too short to prove anything.

    The cost of a search depends on the data alone, not on the number of needles (unless they are few): at each position
    one fixed-length window is looked up in a table.
    """

    def __init__(self, identifiers: Iterable[tuple[str, bytes]]) -> None:
        self._by_window: dict[bytes, list[tuple[bytes, str, str]]] = {}
        self.longest = SHORTEST
        for label, raw in identifiers:
            if len(raw) < SHORTEST:
                raise ValueError(f"{label}: {len(raw)} bytes are too few to be searched for, {SHORTEST} are needed")
            for encoding, spelled in spellings(raw).items():
                self._add(label, encoding, spelled)

    def _add(self, label: str, encoding: str, spelled: bytes) -> None:
        self.longest = max(self.longest, len(spelled))
        self._by_window.setdefault(spelled[:SHORTEST], []).append((spelled, label, encoding))

    def find(self, data: bytes) -> set[str]:
        """Return the labels of the identifiers that stand in the data."""
        return {label for label, _ in self.spelled_in(data)}

    def spelled_in(self, data: bytes) -> set[tuple[str, str]]:
        """Return label and encoding of everything that stands in the data."""
        windows = self._by_window
        if len(windows) <= FEW:
            return {
                (label, encoding)
                for candidates in windows.values()
                for spelled, label, encoding in candidates
                if spelled in data
            }
        return {
            (label, encoding)
            for start in range(len(data) - SHORTEST + 1)
            if (candidates := windows.get(data[start : start + SHORTEST])) is not None
            for spelled, label, encoding in candidates
            if data.startswith(spelled, start)
        }


def spellings(raw: bytes) -> dict[str, bytes]:
    """Return the bytes that each encoding makes of `raw`, by its name; what two make alike has the first one's."""
    names: dict[bytes, str] = {}
    for encoding, spelled in _spellings(raw):
        names.setdefault(spelled, encoding)
    return {encoding: spelled for spelled, encoding in names.items()}


def _spellings(raw: bytes) -> Iterator[tuple[str, bytes]]:
    for order, octets in (("", raw), ("reversed ", raw[::-1])):
        yield f"{order}raw", octets
        yield from ((f"{order}{name}", text.encode()) for name, text in _hexadecimal(octets))
        yield from ((f"{order}{name}", text) for name, text in _base64(octets))
    yield from _as_text(raw)


def _hexadecimal(octets: bytes) -> Iterator[tuple[str, str]]:
    for name, separator in (("hex", ""), ("colon hex", ":"), ("dash hex", "-"), ("underscore hex", "_")):
        text = octets.hex(separator) if separator else octets.hex()
        yield f"lower {name}", text
        yield f"upper {name}", text.upper()


def _base64(octets: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the characters that depend on these octets alone, whatever stands before and behind them (RFC 4648)."""
    for before in range(3):
        first, last = -(-8 * before // 6), 8 * (before + len(octets)) // 6
        text = b64encode(bytes(before) + octets)[first:last]
        yield f"base64 at {before}", text
        yield f"base64url at {before}", text.translate(bytes.maketrans(b"+/", b"-_"))


def _as_text(raw: bytes) -> Iterator[tuple[str, bytes]]:
    percent = quote_from_bytes(raw, safe="")
    yield "percent", percent.encode()
    yield "lower percent", _lower_escapes(percent).encode()
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return
    yield "UTF-16 LE", text.encode("utf-16-le")
    yield "UTF-16 BE", text.encode("utf-16-be")
    escaped = json.dumps(text)[1:-1]
    yield "JSON", escaped.encode()
    yield "JSON with escaped slashes", escaped.replace("/", r"\/").encode()


def _lower_escapes(percent: str) -> str:
    first, *rest = percent.split("%")
    return "%".join([first, *(part[:2].lower() + part[2:] for part in rest)])


def search_files(directory: Path, needles: Needles) -> list[Finding]:
    """Search every regular file below a directory; FIFOs, sockets and terminals hold nothing to read.

    A file that goes away meanwhile is passed over; a file or directory that may not be read raises OSError, since
    silence about it would count as innocence.
    """
    return [
        Finding(path, label, encoding)
        for path in _files(directory)
        for label, encoding in sorted(_spelled_in_file(path, needles))
    ]


def prove_absent(directories: Iterable[Path], identifiers: Iterable[tuple[str, bytes]]) -> Proof:
    """Search every regular file below some directories for some identifiers. Raises ValueError for too short ones."""
    files, unread = _all_files(directories)
    findings: list[Finding] = []
    for some in _batched(identifiers, TOGETHER) if files else ():
        needles = Needles(some)
        for path in files:
            try:
                found = sorted(_spelled_in_file(path, needles))
            except OSError:
                unread.add(path)
            else:
                findings += [Finding(path, label, encoding) for label, encoding in found]
    return Proof(len(files), findings, sorted(unread))


def _batched(identifiers: Iterable[tuple[str, bytes]], size: int) -> Iterator[list[tuple[str, bytes]]]:
    """Yield the identifiers in lists of at most `size` (itertools.batched is of Python 3.12)."""
    rest = iter(identifiers)
    while some := list(islice(rest, size)):
        yield some


def _all_files(directories: Iterable[Path]) -> tuple[list[Path], set[Path]]:
    """List the regular files below some directories, each once, and the directories that cannot be listed."""
    files: set[Path] = set()
    unread: set[Path] = set()
    for directory in directories:
        files.update(_files(directory.resolve(), lambda error: unread.add(Path(error.filename))))
    return sorted(files), unread


def _raise(error: OSError) -> None:
    raise error


def _files(directory: Path, unlisted: Callable[[OSError], None] = _raise) -> list[Path]:
    """List the regular files below a directory, none if it is not there."""

    def failed(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            unlisted(error)

    found = [Path(parent, name) for parent, _, names in os.walk(directory, onerror=failed) for name in names]
    return sorted(path for path in found if _is_regular(path))


def _is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _spelled_in_file(path: Path, needles: Needles) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    try:
        for piece in _pieces(path, needles.longest - 1):
            found |= needles.spelled_in(piece)
    except FileNotFoundError:
        pass  # deleted since it was listed, like a write-ahead log at a checkpoint
    return found


def _pieces(path: Path, overlap: int) -> Iterator[bytes]:
    """Yield the file in chunks, each with the end of the one before, so that no needle is cut in two."""
    with path.open("rb") as file:
        tail = b""
        while chunk := file.read(CHUNK):
            yield tail + chunk
            tail = (tail + chunk)[-overlap:]
