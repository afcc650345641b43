"""The registry as a CSV file, which marketing keeps in a spreadsheet: text to touchpoints and back.

RFC 4180 in UTF-8, with or without a byte order mark; separated by commas, or by semicolons as spreadsheets do where
the comma is the decimal sign. One row a touchpoint; `config/README.md` describes the columns.
"""

import csv
import io
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from gateway.core import brandlink
from gateway.core.registry import BearerRule, Touchpoint, split
from gateway.core.sighting import Identifier
from gateway.language import _
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

    line: int | None
    """From 1, the header's; None for what stands in no file."""
    column: str
    """By name; empty when the line as a whole is meant."""
    wrong: str

    def __str__(self) -> str:
        place = "" if self.line is None else _("line {line}").format(line=self.line)
        return ": ".join(part for part in (place, self.column, self.wrong) if part)


class RegistryErrors(Exception):  # noqa: N818  # it is all of them
    """A file that is no registry; holds everything that is wrong in it, in the order of the lines."""

    def __init__(self, errors: Iterable[RegistryError]) -> None:
        self.errors = sorted(errors, key=lambda error: error.line or 0)
        super().__init__("\n".join(map(str, self.errors)))


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a touchpoint of this store must not be, and where its link is made."""

    tokens: Sequence[BearerRule] = ()
    """An identifier that is a customer's token is wrong: a touchpoint of the store wins over a rule."""
    domain: str | None = None
    """The brand's, under which the link of whatever has no identifiers is made (`core.brandlink`)."""
    other_domains: Sequence[str] = ()
    """Of the brand, too: with a domain, links of any that is not the brand's are wrong."""

    def fault(self, identifier: Identifier) -> str | None:
        """Say why an identifier belongs to no touchpoint; None if it may."""
        if any(rule.covers(identifier) for rule in self.tokens):
            return _("is a customer's token by a [[bearer]] rule of the configuration")
        if identifier.kind != "link" or self.domain is None:
            return None
        if urlsplit(identifier.value).hostname in {self.domain, *self.other_domains}:
            return None
        wrong = _("is a link of a domain that is not the brand's: {domain}, or one of [links] other_domains")
        return wrong.format(domain=self.domain)


def parse(text: str, bounds: Bounds = Bounds()) -> list[Touchpoint]:
    """Read a file. Raises RegistryErrors with everything that is wrong in it."""
    rows, errors = _rows(text.removeprefix("\ufeff"))
    return _checked([(line, *_values(line, row, bounds.domain)) for line, row in rows], errors, bounds)


def read(cells: Row, bounds: Bounds = Bounds()) -> Touchpoint:
    """Read one touchpoint by its cells; those that are not there are empty. Raises RegistryErrors, without lines."""
    row = {column: cells.get(column, "").strip() for column in HEADER}
    return _checked([(None, *_values(None, row, bounds.domain))], [], bounds)[0]


def cells(touchpoint: Touchpoint) -> dict[str, str]:
    """Return the cells that `read` reads as this touchpoint."""
    return dict(zip(HEADER, _cells(touchpoint), strict=True))


def format(touchpoints: Iterable[Touchpoint], delimiter: str = ",") -> str:  # noqa: A001  # read as `registry_csv.format`
    """Return the file that `parse` reads as these touchpoints."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(HEADER)
    writer.writerows(_cells(touchpoint) for touchpoint in touchpoints)
    return text.getvalue()


def _checked(
    read: Sequence[tuple[int | None, dict[str, Any], list[RegistryError]]], errors: list[RegistryError], bounds: Bounds
) -> list[Touchpoint]:
    errors += [error for _line, _values, wrong in read for error in wrong]
    errors += _repeated("id", ((line, values.get("id")) for line, values, _wrong in read))
    errors += _repeated("identifiers", ((line, each) for line, values, _wrong in read for each in _keys(values)))
    errors += [error for line, values, _wrong in read for error in _out_of_bounds(line, values, bounds)]
    if errors:
        raise RegistryErrors(errors)
    return [_touchpoint(values) for _line, values, _wrong in read]


def _rows(text: str) -> tuple[list[tuple[int, Row]], list[RegistryError]]:
    """Return the rows that fit the header, each with its line, and what is wrong with the file as a table."""
    records, errors = _records(text)
    if not records:
        return [], errors or [
            RegistryError(1, "", _("the file is empty; it begins with {header}").format(header=",".join(HEADER)))
        ]
    (line, header), *rest = records
    wrong = [RegistryError(line, column, what) for column, what in _wrong_columns(header)]
    if wrong:
        return [], wrong + errors
    fitting: list[tuple[int, Row]] = [
        (at, dict(zip(header, cells, strict=True))) for at, cells in rest if len(cells) == len(header)
    ]
    errors += [
        RegistryError(
            at, "", _("has {cells} cells, the header has {header}").format(cells=len(cells), header=len(header))
        )
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
        return records, [RegistryError(line, "", _("is not CSV: {error}").format(error=error))]
    return records, []


def _delimiter(text: str) -> str:
    header = text.lstrip().partition("\n")[0]
    return ";" if header.count(";") > header.count(",") else ","


def _wrong_columns(header: list[str]) -> Iterator[tuple[str, str]]:
    if not any(column in HEADER for column in header):
        wrong = _("is no header, but must be: {header}").format(header=",".join(HEADER))
        yield "", wrong  # and what it is may be anything: not shown
        return
    yield from ((column, _("unknown column")) for column in header if column not in HEADER)
    yield from ((column, _("this column is missing")) for column in HEADER if column not in header)
    yield from ((column, _("this column is there twice")) for column in HEADER if header.count(column) > 1)


def _values(line: int | None, row: Row, domain: str | None) -> tuple[dict[str, Any], list[RegistryError]]:
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
        errors.append(RegistryError(line, "valid_until", _("is not after valid_from")))
    if not errors and domain is not None:
        values["identifiers"] = brandlink.identifiers(_touchpoint(values), domain)
    elif any(each.startswith("#") for each in values.get("identifiers", ())):
        wrong = _("an answer alone asks for a link to be made: set [links] domain in the configuration")
        errors.append(RegistryError(line, "identifiers", wrong))
    return values, errors


def _value(column: str, row: Row) -> object:
    if column == "identifiers":
        return cell.identifiers(row[column], feedback=row["kind"] == "feedback")
    if not row[column] and column not in _NEEDED:
        return None
    return _READ[column](row[column])


def _keys(values: Mapping[str, Any]) -> list[Identifier]:
    """Return what must not stand in the file twice: identifiers, whatever answer they stand for."""
    return [split(text, feedback=values.get("kind") == "feedback")[0] for text in values.get("identifiers", ())]


def _out_of_bounds(line: int | None, values: Mapping[str, Any], bounds: Bounds) -> Iterator[RegistryError]:
    for at, identifier in enumerate(_keys(values), 1):
        if fault := bounds.fault(identifier):
            wrong = _("identifier {at}: {wrong}").format(at=at, wrong=fault)
            yield RegistryError(line, "identifiers", wrong)


def _repeated(column: str, entries: Iterable[tuple[int | None, Hashable]]) -> Iterator[RegistryError]:
    first: dict[Hashable, int | None] = {}
    for line, value in entries:
        if value is not None and value in first:
            wrong = _("stands there twice") if line is None else _("is already on line {line}")
            yield RegistryError(line, column, wrong.format(line=first[value]))
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
