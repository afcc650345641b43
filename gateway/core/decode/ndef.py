"""The first URI or text in a raw NDEF message (NFC Forum NDEF 1.0, RTD URI 1.0, RTD Text 1.0, RTD Smart Poster 1.0).

header: MB ME CF SR IL TNF(3 bits) | type length | payload length, 1 or 4 | id length if IL | type | id | payload
"""

from dataclasses import dataclass, field

_CHUNKED, _SHORT, _HAS_ID, _TNF, _WELL_KNOWN, _ABSOLUTE_URI = 0x20, 0x10, 0x08, 0x07, 0x01, 0x03
_MESSAGE_END = 0x40
_UTF16, _LANGUAGE_LENGTH = 0x80, 0x3F

PREFIXES = (
    *("", "http://www.", "https://www.", "http://", "https://", "tel:", "mailto:", "ftp://anonymous:anonymous@"),
    *("ftp://ftp.", "ftps://", "sftp://", "smb://", "nfs://", "ftp://", "dav://", "news:", "telnet://", "imap:"),
    *("rtsp://", "urn:", "pop:", "sip:", "sips:", "tftp:", "btspp://", "btl2cap://", "btgoep://", "tcpobex://"),
    *("irdaobex://", "file://", "urn:epc:id:", "urn:epc:tag:", "urn:epc:pat:", "urn:epc:raw:", "urn:epc:", "urn:nfc:"),
)
"""RTD URI 1.0, table 3: abbreviations by code."""


@dataclass(frozen=True, slots=True)
class Record:
    """One NDEF record."""

    tnf: int
    type: bytes
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Uri:
    """What a URI record says."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Text:
    """What a text record says."""

    text: str = field(repr=False)


def first(message: bytes) -> Uri | Text | None:
    """Return the first URI or text of a message; None if there is none, or if the message is torn or chunked."""
    meanings = (_meaning(record) for record in records(message) or ())
    return next((meaning for meaning in meanings if meaning is not None), None)


def records(message: bytes) -> list[Record] | None:
    """Split a message into its records; None if it is torn or chunked. What follows its end is padding."""
    read, at = [], 0
    while at < len(message):
        parsed = _record(message, at)
        if parsed is None:
            return None
        record, at, ended = parsed
        read.append(record)
        if ended:
            return read
    return None


def _record(message: bytes, at: int) -> tuple[Record, int, bool] | None:
    header, lengths = message[at], _lengths(message, at)
    if lengths is None or header & _CHUNKED:
        return None
    start, type_length, id_length, payload_length = lengths
    payload_at = start + type_length + id_length
    end = payload_at + payload_length
    if end > len(message):
        return None
    record = Record(header & _TNF, message[start : start + type_length], message[payload_at:end])
    return record, end, bool(header & _MESSAGE_END)


def _lengths(message: bytes, at: int) -> tuple[int, int, int, int] | None:
    """Return where the type begins, and the lengths of type, id and payload."""
    header, size = message[at], 1 if message[at] & _SHORT else 4
    after = at + 2 + size + bool(header & _HAS_ID)
    if after > len(message):
        return None
    payload_length = int.from_bytes(message[at + 2 : at + 2 + size])
    return after, message[at + 1], message[after - 1] if header & _HAS_ID else 0, payload_length


def _meaning(record: Record) -> Uri | Text | None:
    if record.tnf == _ABSOLUTE_URI:
        return _decoded(record.type)
    if record.tnf != _WELL_KNOWN:
        return None
    match record.type:
        case b"U":
            return _uri(record.payload)
        case b"T":
            return _text(record.payload)
        case b"Sp":
            return _poster(record.payload)
        case _:
            return None


def _poster(payload: bytes) -> Uri | None:
    """Return the URI of a smart poster, wherever it stands: the titles beside it are for people."""
    inner = (record for record in records(payload) or () if (record.tnf, record.type) == (_WELL_KNOWN, b"U"))
    return next(filter(None, (_uri(record.payload) for record in inner)), None)


def _uri(payload: bytes) -> Uri | None:
    """Read a URI. A code reserved for future use counts as 0, no abbreviation (RTD URI 1.0, 3.2.2)."""
    rest = _decoded(payload[1:]) if payload else None
    if rest is None:
        return None
    prefix = PREFIXES[payload[0]] if payload[0] < len(PREFIXES) else ""
    return Uri(prefix + rest.text)


def _decoded(octets: bytes) -> Uri | None:
    try:
        return Uri(octets.decode())
    except UnicodeDecodeError:
        return None


def _text(payload: bytes) -> Text | None:
    if not payload:
        return None
    begin = 1 + (payload[0] & _LANGUAGE_LENGTH)
    if begin > len(payload):
        return None
    text = payload[begin:]
    try:
        return Text(text.decode(_encoding(text) if payload[0] & _UTF16 else "utf-8"))
    except UnicodeDecodeError:
        return None


def _encoding(text: bytes) -> str:
    """UTF-16 is big-endian unless a byte order mark says otherwise (RTD Text 1.0, 3.4)."""
    return "utf-16" if text[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-16-be"
