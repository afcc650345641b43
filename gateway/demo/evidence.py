"""Looking for raw identifiers in everything that the day left behind: every file, and every byte on the line."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from gateway.bytesearch import Needles, search_files, spellings
from gateway.demo.boutique import Secret
from gateway.demo.line import Line

PLANTED = "planted-for-the-search"


@dataclass(slots=True)
class Evidence:
    """What a byte search found so far. Files are searched several times a day, since some do not live to its end."""

    directory: Path
    line: Line
    secrets: list[Secret] = field(repr=False)
    needles: Needles = field(init=False, repr=False)
    found: set[str] = field(default_factory=set)
    proven: bool = False

    def __post_init__(self) -> None:
        self.needles = Needles(self.secrets)

    def prove(self, places: Iterable[Path]) -> None:
        """Plant every identifier in a file of each directory and in a buffer: the search must find each of them."""
        labels = {label for label, _ in self.secrets}
        planted = b"\n".join(dict.fromkeys(_disguised(raw, at) for at, (_, raw) in enumerate(self.secrets)))
        in_files = [self._found_in_file(place / PLANTED, planted) == labels for place in places]
        self.proven = all(in_files) and self.needles.find(planted) == labels

    def _found_in_file(self, file: Path, planted: bytes) -> set[str]:
        try:
            file.write_bytes(planted)
            return {each.label for each in search_files(self.directory, self.needles) if each.path == file}
        finally:
            file.unlink(missing_ok=True)

    def search_files(self) -> None:
        """Search every file below the directory: databases and their logs, our log, the broker's files."""
        for finding in search_files(self.directory, self.needles):
            self.found.add(f"{finding.label} in {finding.path.relative_to(self.directory)}, as {finding.encoding}")

    def search_all(self) -> None:
        """Search the files and the line."""
        self.search_files()
        self.search_line()

    def search_line(self) -> None:
        """Search what passed on the line, both ways."""
        for way, passed in (("to the broker", self.line.up), ("from the broker", self.line.down)):
            self.found |= {f"{label} on the line {way}" for label in self.needles.find(bytes(passed))}


def _disguised(raw: bytes, number: int) -> bytes:
    """Spell an identifier in one of its encodings, another one for each number."""
    spelled = list(spellings(raw).values())
    return spelled[number % len(spelled)]
