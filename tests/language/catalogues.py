"""The catalogues of the command line: extracted from the source, compared, compiled. `make catalogues` runs this.

New texts are added to the .po files without a translation, texts that are gone are taken out; who translates fills in
what is empty and runs it again. `tests/language/test_catalogues.py` keeps them complete.
"""

import io
from pathlib import Path

import typer
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from gateway.language import DOMAIN, HERE, SENTENCE

PACKAGE = HERE.parent
LANGUAGES = ("de", "fr")
METHODS = [("**.py", "python")]
KEYWORDS = {"_": None, "several": (1, 2), "later": None}


def extracted() -> Catalog:
    """Return every text of the source that is said to a person."""
    catalog = Catalog(charset="utf-8")
    for context, keywords in ((None, KEYWORDS), (SENTENCE, {"sentence": None})):
        for _file, _line, text, _comments, _context in extract_from_dir(PACKAGE, METHODS, keywords=keywords):
            catalog.add(text, context=context)
    return catalog


def po_path(language: str) -> Path:
    """Return where the translations of a language are written."""
    return HERE / language / "LC_MESSAGES" / f"{DOMAIN}.po"


def mo_path(language: str) -> Path:
    """Return where the program looks them up."""
    return po_path(language).with_suffix(".mo")


def translated(language: str) -> Catalog:
    """Read the translations of a language."""
    with po_path(language).open("rb") as file:
        return read_po(file, locale=language, domain=DOMAIN)


def compiled(catalog: Catalog) -> bytes:
    """Return what the program looks up, byte for byte the same for the same texts."""
    out = io.BytesIO()
    write_mo(out, catalog)
    return out.getvalue()


def written(catalog: Catalog) -> bytes:
    """Return a .po file: in the order of the English texts, without what changes from day to day."""
    out = io.BytesIO()
    write_po(out, catalog, width=120, no_location=True, omit_header=False, sort_output=True, ignore_obsolete=True)
    return out.getvalue()


def renewed(language: str) -> Catalog:
    """Return the translations that there are, for the texts that there are now."""
    now = Catalog(locale=language, domain=DOMAIN, project="touchpoint", charset="utf-8", fuzzy=False)
    before = translated(language) if po_path(language).exists() else now
    now.header_comment, now.creation_date, now.revision_date = "", before.creation_date, before.revision_date
    for message in extracted():
        known = before.get(message.id, message.context) if message.id else None
        if message.id:
            translation = known.string if known else ("", "") if message.pluralizable else ""
            now.add(message.id, translation, context=message.context)
    return now


def main() -> None:
    """Renew all catalogues."""
    for language in LANGUAGES:
        catalog = renewed(language)
        po_path(language).parent.mkdir(parents=True, exist_ok=True)
        po_path(language).write_bytes(written(catalog))
        mo_path(language).write_bytes(compiled(catalog))
        empty = [message.id for message in catalog if message.id and not any(message.string or "")]
        typer.echo(f"{po_path(language).relative_to(PACKAGE.parent)}: {len(catalog)} texts, {len(empty)} to translate")


if __name__ == "__main__":
    main()
