"""The registry as a CSV file, which marketing keeps in a spreadsheet: text to touchpoints and back.

RFC 4180 in UTF-8, with or without a byte order mark; separated by commas, or by semicolons as spreadsheets do where
the comma is the decimal sign. One row a touchpoint; `config/README.md` describes the columns.
"""

import csv
import io
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.core import brandlink
from gateway.core.registry import BearerRule, Touchpoint, split
from gateway.store import registry_cell as cell

_READ: Mapping[str, Callable[[str], Any]] = {
    "id": cell.name,
    "kind": cell.kind,
    "name": cell.label,
    "zone": cell.label,
    "phase": cell.phase,
    "gtin": cell.gtin,
    "reference": cell.label,
    "serial": cell.label,
    "campaign": cell.label,
    "valid_from": cell.valid_from,
    "valid_until": cell.valid_until,
}
HEADER = (*_READ, "identifiers")
_NEEDED = {"id", "kind", "name"}

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RegistryError:
    """One thing that is wrong in a file."""

    line: int
    """From 1, the header's."""
    column: str
    """By name; empty when the line as a whole is meant."""
    wrong: str

    def __str__(self) -> str:
        return ": ".join(part for part in (f"line {self.line}", self.column, self.wrong) if part)


class RegistryErrors(Exception):  # noqa: N818  # it is all of them
    """A file that is no registry; holds everything that is wrong in it, in the order of the lines."""

    def __init__(self, errors: Iterable[RegistryError]) -> None:
        self.errors = sorted(errors, key=lambda error: error.line)
        super().__init__("\n".join(map(str, self.errors)))


def parse(text: str, rules: Sequence[BearerRule] = (), domain: str | None = None) -> list[Touchpoint]:
    """Read a file. Raises RegistryErrors with everything that is wrong in it.

    An identifier that is a customer's token by one of the rules is wrong: a touchpoint of the store wins over a rule.
    Where a row has no identifiers, its link under the domain is made (`core.brandlink`).
    """
    rows, errors = _rows(text.removeprefix("\ufeff"))
    read = [(line, *_values(line, row, domain)) for line, row in rows]
    errors += [error for _, _, wrong in read for error in wrong]
    errors += _repeated("id", ((line, values.get("id")) for line, values, _ in read))
    errors += _repeated("identifiers", ((line, each) for line, values, _ in read for each in _keys(values)))
    errors += [error for line, values, _ in read for error in _tokens(line, values, rules)]
    if errors:
        raise RegistryErrors(errors)
    return [_touchpoint(values) for _, values, _ in read]


def format(touchpoints: Iterable[Touchpoint]) -> str:  # noqa: A001  # read as `registry_csv.format`, beside `parse`
    """Return the file that `parse` reads as these touchpoints."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(HEADER)
    writer.writerows(_cells(touchpoint) for touchpoint in touchpoints)
    return text.getvalue()


def _rows(text: str) -> tuple[list[tuple[int, Row]], list[RegistryError]]:
    """Return the rows that fit the header, each with its line, and what is wrong with the file as a table."""
    records, errors = _records(text)
    if not records:
        return [], errors or [RegistryError(1, "", f"the file is empty; it begins with {','.join(HEADER)}")]
    (line, header), *rest = records
    wrong = [RegistryError(line, column, what) for column, what in _wrong_columns(header)]
    if wrong:
        return [], wrong + errors
    fitting: list[tuple[int, Row]] = [
        (at, dict(zip(header, cells, strict=True))) for at, cells in rest if len(cells) == len(header)
    ]
    errors += [
        RegistryError(at, "", f"has {len(cells)} cells, the header has {len(header)}")
        for at, cells in rest
        if len(cells) != len(header)
    ]
    return fitting, errors


def _records(text: str) -> tuple[list[tuple[int, list[str]]], list[RegistryError]]:
    """Split the text into records of stripped cells, each with the line it begins on; empty lines are left out."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    records: list[tuple[int, list[str]]] = []
    line = 1
    try:
        for cells in reader:
            if any(cells):
                records.append((line, [each.strip() for each in cells]))
            line = reader.line_num + 1
    except csv.Error as error:
        return records, [RegistryError(line, "", f"is not CSV: {error}")]
    return records, []


def _delimiter(text: str) -> str:
    header = text.lstrip().partition("\n")[0]
    return ";" if header.count(";") > header.count(",") else ","


def _wrong_columns(header: list[str]) -> Iterator[tuple[str, str]]:
    if not any(column in HEADER for column in header):
        yield "", f"is no header, but must be: {','.join(HEADER)}"  # and what it is may be anything: not shown
        return
    yield from ((column, "unknown column") for column in header if column not in HEADER)
    yield from ((column, "this column is missing") for column in HEADER if column not in header)
    yield from ((column, "this column is there twice") for column in HEADER if header.count(column) > 1)


def _values(line: int, row: Row, domain: str | None) -> tuple[dict[str, Any], list[RegistryError]]:
    """Read the cells of a row; the ones that are wrong are left out."""
    values: dict[str, Any] = {}
    errors: list[RegistryError] = []
    for column in HEADER:
        try:
            values[column] = _value(column, row)
        except ValueError as error:
            errors.append(RegistryError(line, column, str(error)))
    begins, ends = values.get("valid_from"), values.get("valid_until")
    if begins is not None and ends is not None and begins >= ends:
        errors.append(RegistryError(line, "valid_until", "is not after valid_from"))
    if not errors and domain is not None:
        values["identifiers"] = brandlink.identifiers(_touchpoint(values), domain)
    elif any(each.startswith("#") for each in values.get("identifiers", ())):
        wrong = "an answer alone asks for a link to be made: set [links] domain in the configuration"
        errors.append(RegistryError(line, "identifiers", wrong))
    return values, errors


def _value(column: str, row: Row) -> object:
    if column == "identifiers":
        return cell.identifiers(row[column], feedback=row["kind"] == "feedback")
    if not row[column] and column not in _NEEDED:
        return None
    return _READ[column](row[column])


def _keys(values: Mapping[str, Any]) -> list[Hashable]:
    """Return what must not stand in the file twice: identifiers, whatever answer they stand for."""
    return [split(text, feedback=values.get("kind") == "feedback")[0] for text in values.get("identifiers", ())]


def _tokens(line: int, values: Mapping[str, Any], rules: Sequence[BearerRule]) -> Iterator[RegistryError]:
    for at, text in enumerate(values.get("identifiers", ()), 1):
        identifier, _ = split(text, feedback=values.get("kind") == "feedback")
        if any(rule.covers(identifier) for rule in rules):
            wrong = f"identifier {at}: is a customer's token by a [[bearer]] rule of the configuration"
            yield RegistryError(line, "identifiers", wrong)


def _repeated(column: str, entries: Iterable[tuple[int, Hashable]]) -> Iterator[RegistryError]:
    first: dict[Hashable, int] = {}
    for line, value in entries:
        if value is not None and value in first:
            yield RegistryError(line, column, f"is already on line {first[value]}")
        first.setdefault(value, line)


def _touchpoint(values: Mapping[str, Any]) -> Touchpoint:
    renamed = {"valid_from": "valid_from_ms", "valid_until": "valid_until_ms"}
    return Touchpoint(**{renamed.get(column, column): value for column, value in values.items()})


def _cells(touchpoint: Touchpoint) -> list[str]:
    plain = [getattr(touchpoint, column) or "" for column in HEADER[:-3]]
    return [
        *plain,
        cell.date_cell(touchpoint.valid_from_ms),
        cell.date_cell(touchpoint.valid_until_ms, until=True),
        cell.identifier_cell(touchpoint.identifiers, feedback=touchpoint.kind == "feedback"),
    ]
