"""`touchpoint codes`: printed codes of the store's touchpoints."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gateway.cli.command import Config, Json, ask_gateway, fail, failures_explained, settings_from, show_json
from gateway.cli.files import Force, must_be_new, write
from gateway.cli.touchpoints import registered, registry_text
from gateway.language import _, several

if TYPE_CHECKING:
    from gateway.config import Settings
    from gateway.core.registry import Touchpoint
    from gateway.provision.codes import Code
    from gateway.provision.sheet import Stock

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help=_("""Printed codes: for one touchpoint, for sheets of labels, for a catalogue.

A code carries the link of a touchpoint. It is read back before its file is written: what you print can be scanned."""),
)

Level = Annotated[
    Literal["L", "M", "Q", "H"],
    typer.Option(help=_("How much of a code may be damaged: L 7 %, M 15 %, Q 25 %, H 30 %. More makes it larger.")),
]
Size = Annotated[float | None, typer.Option(min=5, max=1000, help=_("Its width in mm, with the white around it."))]


@app.command(
    short_help=_("Make the code of one touchpoint."),
    help=_("""Make the code of a touchpoint, in a format that layout programs take.

A feedback point has a code for each answer: the answer is added to the name of its file."""),
)
def make(  # noqa: PLR0913 -- its options
    touchpoint: Annotated[str, typer.Argument(metavar="TOUCHPOINT", help=_("The id of a touchpoint."))],
    config: Config = None,
    *,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help=_(".svg, .png, .eps or .pdf; else ID.svg here."))
    ] = None,
    size: Size = None,
    level: Level = "M",
    color: Annotated[
        str, typer.Option(help=_("Of SVG and PNG, as #rrggbb; EPS and PDF are in black ink alone."))
    ] = "#000000",
    force: Force = False,
    json: Json = False,
) -> None:
    """Make the code of a touchpoint, in a format that layout programs take."""
    settings, place = settings_from(config), out or Path(f"{touchpoint}.svg")
    with _explained():
        from gateway.provision.codes import ENDINGS, alone
        from gateway.provision.symbol import check_color

        check_color(color)
        if place.suffix.lower() not in ENDINGS:
            fail(_("{place}: name a file that ends with {endings}").format(place=place, endings=", ".join(ENDINGS)))
        wanted = _codes(settings, _in_force(settings, _named(settings, [touchpoint])))
        files = _files(wanted, place.parent, place.suffix.lower(), None if len(wanted) > 1 else place)
        must_be_new(files.values(), force=force)
        made = []
        for code, file in files.items():
            content, symbol = alone(code, file.suffix, size, level, color)
            write(file, content)
            made.append({"id": code.id, "link": code.link, "file": str(file), "version": symbol.version})
    if json:
        show_json(made)
    for each in [] if json else made:
        typer.echo(
            _("{file}: {id}, QR version {version}, read back.").format(
                file=each["file"], id=each["id"], version=each["version"]
            )
        )


@app.command(
    short_help=_("Make a sheet of codes as PDF."),
    help=_("""Make a print-ready PDF: vector, black ink alone, fonts embedded; crop marks and bleed, or sheets of
labels.

Each code stands over its name and id. FILE.csv has the columns of the registry; a row without identifiers gets its
link made and registered. Beside the PDF a CSV says what was made."""),
)
def sheet(  # noqa: PLR0913 -- its options
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE.csv]", help=_("Touchpoints to register first and print; else all that have a link.")
        ),
    ] = None,
    config: Config = None,
    *,
    out: Annotated[Path, typer.Option(metavar="FILE.pdf", help=_("Where to write it."))],
    labels: Annotated[
        str | None, typer.Option(help=_("A sheet of labels by name (codes labels); else A4 to be cut."))
    ] = None,
    size: Size = None,
    level: Level = "M",
    each: Annotated[
        Path | None, typer.Option(metavar="DIRECTORY", help=_("Write a file for each code too, for a layout program."))
    ] = None,
    each_as: Annotated[Literal["svg", "eps", "png", "pdf"], typer.Option(help=_("Their format."))] = "svg",
    title: Annotated[str, typer.Option(help=_("Printed in the margin."))] = "Touchpoints",
    force: Force = False,
    json: Json = False,
) -> None:
    """Make a print-ready PDF: vector, black ink alone, fonts embedded; crop marks and bleed, or labels."""
    settings = settings_from(config)
    with _explained():
        from gateway.provision.codes import alone, pages, table

        if out.suffix.lower() != ".pdf":
            fail(_("{place}: name a file that ends with {endings}").format(place=out, endings=".pdf"))
        listed = out.with_suffix(".codes.csv")
        text = None if file is None else registry_text(file, settings)
        wanted = _codes(settings, _linked(settings) if text is None else _in_force(settings, _parsed(settings, text)))
        files = {} if each is None else _files(wanted, each, f".{each_as}")
        must_be_new([out, listed, *files.values()], force=force)
        stock, side = _stock(labels, size, wanted, level)
        with _progress(len(wanted)) as told:
            document, symbols = pages(wanted, stock, side, level, title, told)
            if text is not None:
                ask_gateway(settings, {"ask": "registry-import", "csv": text, "add": True})
            for code, place in files.items():
                write(place, alone(code, place.suffix, side, level)[0])
            write(listed, table(wanted, symbols, side).encode())
            write(out, document)
    number = -(-len(wanted) // stock.number)
    if json:
        show_json(
            {"file": str(out), "list": str(listed), "codes": len(wanted), "pages": number, "size_mm": round(side, 2)}
        )
        return
    made = several(
        "{{out}}: {{codes}} codes of {{side:.1f}} mm on a page, all read back; listed in {{listed}}.",
        "{{out}}: {{codes}} codes of {{side:.1f}} mm on {count} pages, all read back; listed in {{listed}}.",
        number,
    )
    typer.echo(made.format(out=out, codes=len(wanted), side=side, listed=listed))


@app.command(
    short_help=_("Name the sheets of labels."),
    help=_("""Name the sheets of labels that `codes sheet --labels` knows."""),
)
def labels(*, json: Json = False) -> None:
    """Name the sheets of labels that `codes sheet --labels` knows."""
    from gateway.provision.sheet import STOCKS, largest

    known = [
        {
            "name": each.name,
            "label_mm": each.label,
            "page_mm": each.page,
            "labels": each.number,
            "largest_mm": largest(each),
        }
        for each in STOCKS.values()
    ]
    if json:
        show_json(known)
    for stock in [] if json else STOCKS.values():
        width, height = stock.label
        typer.echo(
            _("{name:<14} {width:g} x {height:g} mm, {number} a page, codes up to {largest:.1f} mm").format(
                name=stock.name, width=width, height=height, number=stock.number, largest=largest(stock)
            )
        )


@app.command(
    short_help=_("Explain a link."),
    help=_("""Say whose link it is, whether its signature is right, and which touchpoint it stands for.

Exit status 1 if it counts for nothing when it is scanned in the store."""),
)
def check(
    link: Annotated[str, typer.Argument(metavar="LINK", help=_("As a phone shows it when it reads a code or tag."))],
    config: Config = None,
    *,
    json: Json = False,
) -> None:
    """Say whose link it is, whether its signature is right, and which touchpoint it stands for."""
    settings = settings_from(config)
    with _explained():
        said = _explain(settings, [link])[link]
    if json:
        show_json(said)
    else:
        typer.echo(f"{link}: {said['says']}.")
    if not said["counts"]:
        raise typer.Exit(1)


@app.command(
    short_help=_("Read the codes in a PDF or picture."),
    help=_("""Read every code in a file as a phone would, and explain each.

Exit status 1 if there is none, or one that counts for nothing when it is scanned in the store."""),
)
def verify(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help=_("A PDF, or a picture: a print shop's proof, a photograph."))
    ],
    config: Config = None,
    *,
    json: Json = False,
) -> None:
    """Read every code in a file as a phone would, and explain each."""
    settings = settings_from(config)
    with _explained():
        from gateway.provision.readback import read_file

        found = [each for page in read_file(file) for each in page]
        said = _explain(settings, [each.text for each in found])
    if json:
        show_json(
            [{"page": each.page, "symbology": each.symbology, "text": each.text, **said[each.text]} for each in found]
        )
    for each in [] if json else found:
        typer.echo(
            _("page {page}: {text}: {says}.").format(page=each.page, text=each.text, says=said[each.text]["says"])
        )
    if not found:
        fail(
            _("{file}: no code was found. Render it at 300 dpi or more, with white around each code.").format(file=file)
        )
    wrong = [each for each in found if not said[each.text]["counts"]]
    if wrong:
        fail(
            _("{wrong} of {all} codes count for nothing when they are scanned in the store.").format(
                wrong=len(wrong), all=len(found)
            )
        )


@app.command(
    short_help=_("Write what the website needs to resolve links."),
    help=_("""Write the links of all touchpoints for the web team's resolver: a link set (RFC 9264) or a CSV.

A code in a catalogue is mostly scanned at home: the resolver sends the phone on, and counts the same touchpoint."""),
)
def export(
    config: Config = None,
    *,
    target: Annotated[
        str,
        typer.Option(
            help=_(
                "Where a link leads: https://www.acme.example/{kind}/{id}; also {gtin} {serial} {campaign} {answer}."
            )
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help=_("Ending with .json for a link set, with .csv for a table."))
    ],
    force: Force = False,
) -> None:
    """Write the links of all touchpoints for the web team's resolver: a link set (RFC 9264) or a CSV."""
    settings = settings_from(config)
    with _explained():
        from json import dumps

        from gateway.provision.codes import linkset, resolver_table

        wanted = _codes(settings, _linked(settings, retired=True), signed=False)
        must_be_new([out], force=force)
        whole = dumps(linkset(wanted, target), indent=2, ensure_ascii=False) + "\n"
        write(out, (resolver_table(wanted, target) if out.suffix.lower() == ".csv" else whole).encode())
    typer.echo(several("{{out}}: {count} link.", "{{out}}: {count} links.", len(wanted)).format(out=out))


@app.command(
    short_help=_("Make a key that signs links."),
    help=_("""Make a key that signs links, in a new file or beside the keys in one that is there.

What an older key has signed stays valid. The same file belongs on every gateway of the brand; whoever has it can
make codes that count."""),
)
def key(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=_("As [links] signing_keys has it."))],
) -> None:
    """Make a key that signs links, in a new file or beside the keys in one that is there."""
    with failures_explained():
        from secrets import token_bytes

        from gateway.core.brandlink import SECRET_OCTETS, LinkKeys
        from gateway.keys import read_link_keys, replace_secret, write_secret

        before = read_link_keys(file) if file.exists() else None
        keys = LinkKeys.new(token_bytes(SECRET_OCTETS), before)
        (write_secret if before is None else replace_secret)(file, keys.to_json())
    typer.echo(
        _("{file}: key {active} signs from the next start of the gateway on.").format(file=file, active=keys.active)
    )


def _parsed(settings: "Settings", text: str) -> "list[Touchpoint]":
    from gateway.registering import bounds
    from gateway.store.registry_csv import parse

    return parse(text, bounds(settings))


def _linked(settings: "Settings", *, retired: bool = False) -> "list[Touchpoint]":
    """Return every registered touchpoint that has a link; those that are retired only if they are wanted."""
    from gateway.core import brandlink

    prefix, now_ms = f"link:{brandlink.SCHEME}{_domain(settings)}/", _now_ms(settings)
    linked = (
        each for each in _registry(settings).values() if any(text.startswith(prefix) for text in each.identifiers)
    )
    return [each for each in linked if retired or not each.retired_at(now_ms)]


def _in_force(settings: "Settings", touchpoints: "list[Touchpoint]") -> "list[Touchpoint]":
    """Return them; end if one is retired, for its codes would count for nothing."""
    now_ms = _now_ms(settings)
    if retired := [each.id for each in touchpoints if each.retired_at(now_ms)]:
        fail(retired_text(retired))
    return touchpoints


def retired_text(ids: "list[str]") -> str:
    """Say that touchpoints are retired, and how to bring them back."""
    told = _(
        "Retired, so that codes and tags count for nothing: {ids}. To bring one back:"
        ' touchpoint touchpoints edit ID --valid-until ""'
    )
    return told.format(ids=", ".join(ids))


def _now_ms(settings: "Settings") -> int:
    from gateway.clock import Clock

    return Clock(settings.clock.source).now().wall_ms


def _codes(settings: "Settings", touchpoints: "Iterable[Touchpoint]", *, signed: bool = True) -> "list[Code]":
    from gateway.keys import link_keys
    from gateway.provision.codes import codes

    found = codes(touchpoints, _domain(settings), link_keys(settings) if signed else None)
    if not found:
        fail(_("There is no touchpoint with a link to print: touchpoint touchpoints import FILE.csv"))
    return found


def _domain(settings: "Settings") -> str:
    if settings.links.domain is None:
        fail(_('The brand\'s domain is not known: set [links] domain = "id.example.com" in the configuration.'))
    return settings.links.domain


def _registry(settings: "Settings") -> "dict[str, Touchpoint]":
    return {each.id: each for each in registered(settings)}


def _named(settings: "Settings", ids: Iterable[str]) -> "list[Touchpoint]":
    known = _registry(settings)
    unknown = [each for each in ids if each not in known]
    if unknown:
        fail(
            _("No touchpoint is called {unknown}. Those that are there: touchpoint touchpoints list").format(
                unknown=", ".join(unknown)
            )
        )
    return [known[each] for each in ids]


def _stock(
    labels: str | None, size: float | None, wanted: "list[Code]", level: Literal["L", "M", "Q", "H"]
) -> "tuple[Stock, float]":
    """Return the sheet and the size of the codes: as asked for, or as large as needed, or as labels allow."""
    from gateway.provision.codes import MODULE_MM
    from gateway.provision.sheet import STOCKS, largest, proof
    from gateway.provision.symbol import symbol

    if labels is None:
        side = size or max(symbol(code.link, level).whole for code in wanted) * MODULE_MM
        return proof(side), side
    if labels not in STOCKS:
        fail(
            _("{labels} is no sheet of labels that is known here: {known}").format(
                labels=labels, known=", ".join(STOCKS)
            )
        )
    return STOCKS[labels], size or largest(STOCKS[labels])


def _explain(settings: "Settings", links: Iterable[str]) -> dict[str, dict[str, object]]:
    """Say of each text what it is, and whether it counts when it is scanned here."""
    from gateway.core import decode
    from gateway.core.brandlink import Links
    from gateway.core.registry import Known, build
    from gateway.core.sighting import Scan
    from gateway.keys import link_keys
    from gateway.provision.codes import explained

    domain, keys, registry = _domain(settings), link_keys(settings), build(0, _registry(settings).values())
    now_ms, whoever_made_it = _now_ms(settings), Links(domain)

    def known(link: str) -> "Touchpoint | None":
        found = registry.find(whoever_made_it.known_as(decode.scan(Scan(link))))
        return found[1].touchpoint if found is not None and isinstance(found[1], Known) else None

    return {
        link: explained(link, domain, keys, known, unsigned=settings.links.unsigned, now_ms=now_ms) for link in links
    }


def _files(wanted: "Iterable[Code]", directory: Path, ending: str, only: Path | None = None) -> "dict[Code, Path]":
    return {code: only or directory / f"{code.file}{ending}" for code in wanted}


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what is wrong with codes and files into a message, too."""
    from gateway.provision.codes import MadeError
    from gateway.provision.readback import UnreadableError
    from gateway.provision.symbol import SymbolError

    try:
        with failures_explained():
            yield
    except (MadeError, SymbolError) as error:
        fail(str(error))
    except UnreadableError as error:
        fail(_("The file cannot be read: {error}.").format(error=error))


@contextmanager
def _progress(number: int) -> "Iterator[Callable[[str, int], None]]":
    """Show on a terminal how far drawing and reading back have come."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        shown = {"drawn": _("drawn"), "read": _("read")}
        tasks = {what: bar.add_task(text, total=number) for what, text in shown.items()}
        yield lambda what, done: bar.update(tasks[what], completed=done)
