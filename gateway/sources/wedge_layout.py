"""What a scanner typed, by the keyboard country that it is set to. Pure.

A keyboard sends the places of keys, and which character stands there is the layout's business. That of the host has no
say here, that of the scanner is not transmitted: so the strokes are read by each layout, and what is read shows which
was meant. `https://id.acme.example/01` typed for the United States is `httpsÖ--id.acme.example-01` in Germany.

Places are Linux key codes (include/uapi/linux/input-event-codes.h); the layouts are those of Windows, for which
scanners type, as xkeyboard-config has them too: `us(basic)`, `de(basic)`, `fr(azerty)`.
"""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from gateway.core.decode import gs1, link
from gateway.sources.framing import Discarded, split_aim

LayoutName = Literal["us", "de", "fr"]


@dataclass(frozen=True, slots=True)
class Stroke:
    """A key, and what was held down with it."""

    key: int
    shift: bool = False
    ctrl: bool = False
    third_level: bool = False
    """AltGr, or Ctrl and Alt, which Windows takes for it."""
    alt: bool = False
    caps: bool = False
    """CapsLock was on."""


Typed = Sequence[Stroke | str]
"""Strokes, and characters that were typed by their number and are the same in every layout."""

KEYS: Final = (41, *range(2, 14), *range(16, 28), *range(30, 41), 43, 86, *range(44, 54))
"""The keys that differ from layout to layout, row by row: KEY_GRAVE to KEY_EQUAL, KEY_Q to KEY_RIGHTBRACE, KEY_A to
KEY_APOSTROPHE and KEY_BACKSLASH, KEY_102ND and KEY_Z to KEY_SLASH."""
SPACE_KEY: Final = 57
KEYPAD: Final = dict(zip((71, 72, 73, 75, 76, 77, 79, 80, 81, 82), "7894561230", strict=True))
KEYPAD_SIGNS: Final = dict(zip((55, 74, 78, 98), "*-+/", strict=True))
NOTHING: Final = " "
"""Stands in the rows below for a place without a character; the space bar is the same everywhere."""
GS_KEY: Final = 27
"""Ctrl+] is GS. The place counts too, since scanners keep to that of a US keyboard."""
GS: Final = "\x1d"
ACCENTS: Final = {"^": "\N{COMBINING CIRCUMFLEX ACCENT}", "¨": "\N{COMBINING DIAERESIS}"} | {
    "´": "\N{COMBINING ACUTE ACCENT}",  # noqa: RUF001 -- these accents are meant, here and below
    "`": "\N{COMBINING GRAVE ACCENT}",
    "~": "\N{COMBINING TILDE}",
}


@dataclass(frozen=True, slots=True)
class Layout:
    """The characters of KEYS alone, with Shift, and with AltGr; and the places that type an accent for what follows."""

    plain: str
    shifted: str
    third: str = ""
    dead: str = ""
    """Accents that wait for the next character; a space stands for the accent alone."""
    third_dead: str = ""
    """The same with AltGr."""
    separator: str = "."
    """The keypad's decimal separator, KEY_KPDOT."""
    _levels: tuple[Mapping[int, str], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        rows = (self.plain, self.shifted, self.third or NOTHING * len(KEYS))
        pad = {**KEYPAD, **KEYPAD_SIGNS, 83: self.separator, SPACE_KEY: " "}
        levels = [{k: c for k, c in zip(KEYS, row, strict=True) if c != NOTHING} for row in rows]
        object.__setattr__(self, "_levels", (levels[0] | pad, levels[1] | pad, levels[2]))

    def read(self, typed: Typed) -> str | None:
        """Return the text; None if something was typed that is no character here."""
        text = list[str]()
        accent = ""
        for each in typed:
            character = each if isinstance(each, str) else self.character(each)
            if character is None:
                return None
            if accent:
                text.append(_accented(accent, character))
                accent = ""
            elif isinstance(each, Stroke) and character in (self.third_dead if each.third_level else self.dead):
                accent = character
            else:
                text.append(character)
        return "".join(text) + accent

    def character(self, stroke: Stroke) -> str | None:
        """Return the character of one stroke."""
        level = 2 if stroke.third_level else 1 if stroke.shift != self._locked(stroke) else 0
        character = self._levels[level].get(stroke.key)
        if stroke.ctrl:
            return _control(stroke.key, character)
        return None if stroke.alt else character

    def _locked(self, stroke: Stroke) -> bool:
        """Tell whether CapsLock counts as Shift: on letters."""
        plain = self._levels[0].get(stroke.key, "")
        return stroke.caps and plain.isalpha() and plain.upper() == self._levels[1].get(stroke.key)


def _control(key: int, character: str | None) -> str | None:
    """Return what Ctrl makes of a character: `@` to `_`, letters in either case, become 0x00 to 0x1f."""
    upper = (character or "").upper()
    if len(upper) == 1 and "@" <= upper <= "_":
        return chr(ord(upper) & 0x1F)
    return GS if key == GS_KEY else None


def _accented(accent: str, character: str) -> str:
    if character == " ":
        return accent
    composed = unicodedata.normalize("NFC", character + ACCENTS[accent])
    return composed if len(composed) == 1 else accent + character


LAYOUTS: Final[Mapping[LayoutName, Layout]] = {
    "us": Layout(
        plain="`1234567890-=" + "qwertyuiop[]" + "asdfghjkl;'\\" + " zxcvbnm,./",
        shifted="~!@#$%^&*()_+" + "QWERTYUIOP{}" + 'ASDFGHJKL:"|' + " ZXCVBNM<>?",
    ),
    "de": Layout(
        plain="^1234567890ß´" + "qwertzuiopü+" + "asdfghjklöä#" + "<yxcvbnm,.-",  # noqa: RUF001
        shifted='°!"§$%&/()=?`' + "QWERTZUIOPÜ*" + "ASDFGHJKLÖÄ'" + ">YXCVBNM;:_",
        third="  ²³   {[]}\\ " + "@ €        ~" + "            " + "|      µ   ",
        dead="^´`",  # noqa: RUF001
        separator=",",
    ),
    "fr": Layout(
        plain="²&é\"'(-è_çà)=" + "azertyuiop^$" + "qsdfghjklmù*" + "<wxcvbn,;:!",
        shifted=" 1234567890°+" + "AZERTYUIOP¨£" + "QSDFGHJKLM%µ" + ">WXCVBN?./§",
        third="  ~#{[|`\\^@]}" + "  €        ¤" + "            " + "           ",
        dead="^¨",
        third_dead="~`",
    ),
}


def read(typed: Typed) -> Iterator[tuple[LayoutName, str]]:
    """Yield what was typed by each layout in which all of it is characters."""
    for name, layout in LAYOUTS.items():
        text = layout.read(typed)
        if text is not None:
            yield name, text


def proves_itself(text: str) -> bool:
    """Tell whether a text can hardly have been typed by another layout.

    It begins with an AIM identifier, whose bracket lies elsewhere in each layout; it is a link, as are its colon and
    slashes; or it is a GTIN with its check digit, which France types with Shift and the others without.
    """
    symbology, rest = split_aim(text)
    return bool(symbology and rest) or link.canonical(rest) is not None or gs1.gtin14(rest) is not None


class Country:
    """The layout of one scanner: the one that is given, or the one that its codes show.

    A code that proves itself is taken, and its layout kept for those that do not. If another layout is proved later,
    none is kept until the next proof: somebody has set the scanner anew, or printed a code that looks like it.
    """

    def __init__(self, given: LayoutName | None = None) -> None:
        self._given = given
        self._kept: LayoutName | None = None

    def text(self, typed: Typed) -> str | Discarded:
        """Return the text; AMBIGUOUS if it could be several, UNDECODABLE if it can be none."""
        if self._given:
            only = LAYOUTS[self._given].read(typed)
            return Discarded.UNDECODABLE if only is None else only
        candidates = dict(read(typed))
        proved = {name: text for name, text in candidates.items() if proves_itself(text)}
        self._learn(list(proved))
        if not proved and self._kept in candidates:
            return candidates[self._kept]
        texts = set((proved or candidates).values())
        if len(texts) == 1:
            return texts.pop()
        return Discarded.AMBIGUOUS if texts else Discarded.UNDECODABLE

    def _learn(self, proved: list[LayoutName]) -> None:
        if self._kept in proved or not proved:
            return
        self._kept = proved[0] if self._kept is None and len(proved) == 1 else None
