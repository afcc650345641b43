"""The cells of a registry file: text to value and back, a function a column.

What cannot be read raises ValueError. Its text says what is wrong and what would be right, but not what stands there:
a cell may hold a customer's token by mistake.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from urllib.parse import quote, unquote

from gateway.core.decode import gs1, link
from gateway.core.event import LATEST_MS, NAME
from gateway.core.registry import KINDS, PHASES, split
from gateway.core.sighting import Identifier
from gateway.language import _

LONGEST_LABEL = 128
MOST_IDENTIFIERS = 64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
_MILLISECOND = timedelta(milliseconds=1)
_UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_NUMBER = r"/(0|[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_SHAPES = {
    "ibeacon": (_UUID + _NUMBER * 2, _("UUID/major/minor, in lower case")),
    "altbeacon": (r"[0-9a-f]{40}", _("40 hexadecimal digits, in lower case")),
    "eddystone-uid": (r"[0-9a-f]{20}/[0-9a-f]{12}", _("20 and, after a slash, 12 hexadecimal digits, in lower case")),
    "eddystone-eid": (r"[0-9a-f]{16}", _("16 hexadecimal digits, in lower case")),
    "beacon": (NAME, _("the name of a beacon in the file of [ble] beacons")),
    "nfc-uid": (r"([0-9a-f]{2}){4,10}", _("4 to 10 bytes of two hexadecimal digits, in lower case")),
    "sun": (r"[0-9a-f]{14}", _("14 hexadecimal digits, in lower case")),
}


def _is_gs1(value: str) -> bool:
    return gs1.from_link("https://-" + value)[:1] == (Identifier("gs1", value),)


def _is_link(value: str) -> bool:
    return link.canonical(value) == value


def _is_text(value: str) -> bool:
    return value.isprintable() and value == value.strip() and len(value) <= link.LONGEST


_CANONICAL: Mapping[str, tuple[Callable[[str], object], str]] = {
    **{kind: (re.compile(shape).fullmatch, words) for kind, (shape, words) in _SHAPES.items()},
    "gs1": (_is_gs1, _("/01/ and a GTIN of 14 digits, then /22/, /10/, /21/ in this order")),
    "link": (_is_link, _("http(s)://, scheme and host in lower case, without #")),
    "text": (_is_text, _("printable characters, spaces as %20")),
}
"""Of each kind: whether a value is canonical, so that a reading can equal it, and how it is written."""


def name(text: str) -> str:
    """Read an id."""
    if not re.fullmatch(NAME, text):
        raise ValueError(_("must be 1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit"))
    return text


def label(text: str) -> str:
    """Read a text for people."""
    if not text:
        raise ValueError(_("must not be empty"))
    if len(text) > LONGEST_LABEL or not text.isprintable():
        raise ValueError(_("must be at most {number} printable characters").format(number=LONGEST_LABEL))
    return text


def kind(text: str) -> str:
    """Read a kind of touchpoint."""
    return _one_of(KINDS, text)


def phase(text: str) -> str:
    """Read a phase of the journey."""
    return _one_of(PHASES, text)


def gtin(text: str) -> str:
    """Read a GTIN of 8, 12, 13 or 14 digits (GS1 General Specifications, section 7.9)."""
    if gs1.gtin14(text):
        return text
    if len(text) not in {8, 12, 13, 14} or not (text.isascii() and text.isdigit()):
        raise ValueError(_("must be 8, 12, 13 or 14 digits; in a spreadsheet, format the column as text"))
    wrong = _("the check digit is wrong: after these digits it would be {digit}")
    raise ValueError(wrong.format(digit=gs1.check_digit(text[:-1])))


def valid_from(text: str) -> int:
    """Read a date, from its midnight in UTC, or a date-time; returns Unix time in milliseconds."""
    return _unix_ms(_date_time(text) if "T" in text else _midnight(text))


def valid_until(text: str) -> int:
    """Read a date, up to its end in UTC, or a date-time; returns the first millisecond (Unix time) after it."""
    return _unix_ms(_date_time(text) if "T" in text else _midnight(text, after=_DAY))


def identifiers(text: str, *, feedback: bool) -> tuple[str, ...]:
    """Read identifiers separated by spaces; of a feedback point each with `#` and the answer it stands for.

    There, `#` and an answer alone ask for a link to be made.
    """
    words = text.split()
    if len(words) > MOST_IDENTIFIERS:
        raise ValueError(_("at most {number} identifiers").format(number=MOST_IDENTIFIERS))
    found = [_identifier(word, feedback=feedback) for word in words]
    wrong = [(at, each) for at, each in enumerate(found, 1) if isinstance(each, ValueError)]
    if wrong:
        raise ValueError("; ".join(_("identifier {at}: {wrong}").format(at=at, wrong=each) for at, each in wrong))
    return tuple(each for each in found if isinstance(each, str))


def date_cell(unix_ms: int | None, *, until: bool = False) -> str:
    """Write a time: a date where that says all, else a date-time."""
    if unix_ms is None:
        return ""
    when = _EPOCH + unix_ms * _MILLISECOND
    if when.time() != time.min:
        return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return (when.date() - (_DAY if until else timedelta())).isoformat()


def answer(text: str) -> str:
    """Write an answer that stands alone in the cell of a feedback point, and asks for a link to be made."""
    return "#" + quote(text, safe=_PLAIN)


def identifier_cell(texts: Iterable[str], *, feedback: bool) -> str:
    """Write identifiers."""
    return " ".join(_written(text, feedback=feedback) for text in texts)


def _one_of(choices: tuple[str, ...], text: str) -> str:
    if text not in choices:
        raise ValueError(_("must be one of {choices}").format(choices=", ".join(choices)))
    return text


def _midnight(text: str, after: timedelta = timedelta()) -> datetime:
    try:
        return datetime.combine(date.fromisoformat(_iso(text)), time.min, UTC) + after
    except (ValueError, OverflowError):
        raise ValueError(_("must be a date like 2026-11-21, or a date-time like 2026-11-21T08:00:00Z")) from None


def _iso(text: str) -> str:
    """Turn a date as spreadsheets in German write it, 21.11.2026, into one of ISO 8601."""
    german = re.fullmatch(r"([0-9]{1,2})\.([0-9]{1,2})\.([0-9]{4})", text)
    return text if german is None else f"{german[3]}-{german[2]:0>2}-{german[1]:0>2}"


def _date_time(text: str) -> datetime:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(_("must be a date-time like 2026-11-21T08:00:00Z")) from None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _unix_ms(when: datetime) -> int:
    unix_ms = (when - _EPOCH) // _MILLISECOND
    if not 0 <= unix_ms <= LATEST_MS:
        raise ValueError(_("must be a date from 1970 to 9999"))
    return unix_ms


def _identifier(word: str, *, feedback: bool) -> str | ValueError:
    body, mark, answer = word.rpartition("#") if feedback else (word, "", "")
    answer = unquote(answer)
    if feedback and (not mark or not answer.isprintable() or not answer or "#" in answer):
        return ValueError(_("of a feedback point ends with # and the answer that it stands for"))
    if mark and not body:
        return f"#{answer}"
    kind, _colon, value = body.partition(":")
    value = unquote(value) if kind == "text" else value
    if kind not in _CANONICAL:
        wrong = _("begins with a kind and a colon, the kind one of {kinds}")
        return ValueError(wrong.format(kinds=", ".join(_CANONICAL)))
    canonical, words = _CANONICAL[kind]
    if value and canonical(value):
        return f"{kind}:{value}{mark}{answer}"
    return ValueError(_("{kind}: is written as {form}").format(kind=kind, form=words))


def _written(text: str, *, feedback: bool) -> str:
    identifier, answer = split(text, feedback=feedback)
    value = quote(identifier.value, safe=_PLAIN) if identifier.kind == "text" else identifier.value
    return f"{identifier.kind}:{value}" + ("" if answer is None else "#" + quote(answer, safe=_PLAIN))


_PLAIN = "".join(map(chr, range(0x21, 0x7F))).replace("%", "").replace("#", "")
"""What needs no percent-encoding in a cell."""
