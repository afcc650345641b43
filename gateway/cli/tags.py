"""`touchpoint tags`: NFC tags of the store's touchpoints, written and protected at one of its readers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from gateway.cli.command import Config, Json, Yes, confirm, fail, failures_explained, settings_from, show_json
from gateway.cli.files import Force, must_be_new
from gateway.cli.touchpoints import registered
from gateway.language import _, several

if TYPE_CHECKING:
    from gateway.config import Settings
    from gateway.provision.tags.batch import Result
    from gateway.provision.tags.bench import Bench
    from gateway.provision.tags.chip import Chip
    from gateway.provision.tags.inventory import Entry
    from gateway.provision.tags.signing import Signing
    from gateway.provision.tags.writer import Job, Wishes, Writer

T = TypeVar("T")

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help=_("""NFC tags of the touchpoints: write, check, erase and lock them, one by one or by the hundred.

A tag carries the link of a touchpoint and is protected by a password of its own, so that nobody writes over it. The
gateway leaves the reader to the command meanwhile."""),
)

Reader = Annotated[str | None, typer.Option(metavar="NAME", help=_("The NFC reader; else the only one."))]
Overwrite = Annotated[bool, typer.Option("--overwrite", help=_("Write over what a tag carries, or is used for."))]
Lock = Annotated[bool, typer.Option("--lock", help=_("Lock it for good: nobody can ever write it again."))]
OneChip = Annotated[
    Literal["NTAG213", "NTAG215", "NTAG216", "NTAG424", "TYPE4"] | None,
    typer.Option("--chip", help=_("Take this chip alone; else any that has room.")),
]
WORD = "lock"
INTERRUPTED = 130
"""As shells report a program that Ctrl-C ended."""
DAY_SECONDS = 8 * 3600.0


@app.command(
    short_help=_("Write the tag of a touchpoint."),
    help=_("""Write the tag of a touchpoint, read it back and protect it. A tag that is finished already is verified.

Hold a tag to the reader when you are asked to, until the terminal rings: once for a tag that is done, twice for a
fault."""),
)
def write(  # noqa: PLR0913 -- its options
    touchpoint: Annotated[str, typer.Argument(metavar="TOUCHPOINT", help=_("The id of a touchpoint."))],
    config: Config = None,
    *,
    answer: Annotated[str | None, typer.Option(help=_("Which answer, at a feedback point."))] = None,
    reader: Reader = None,
    chip: OneChip = None,
    overwrite: Overwrite = False,
    lock: Lock = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Write the tag of a touchpoint."""
    settings = settings_from(config)
    with _explained():
        from gateway.provision.tags.batch import jobs
        from gateway.provision.tags.writer import Wishes

        line = f"touchpoint;answer\n{touchpoint};{answer or ''}\n"
        (job,) = jobs(line, _known(settings))
        _confirm_lock(lock=lock, yes=yes)
        _check_room([job], chip)
        wishes = Wishes(chip, overwrite, lock)
        prompt = _("Hold a tag for {title} to the reader.").format(title=job.title)
        entry = _at_reader(settings, reader, "write", lambda writer, bench: _finish(bench, writer, job), wishes, prompt)
    _ring(1)
    if json:
        show_json(_shown(entry))
    else:
        typer.echo(_("{title}: {chip}, {state}.").format(title=job.title, chip=entry.chip, state=_state(entry.state)))
        _warn_of_open(entry)


@app.command(
    short_help=_("Write a tag for each touchpoint of a list."),
    help=_("""Write a tag for each line of FILE.csv, which has the columns touchpoint and, for feedback points, answer.

Take each tag away when the terminal rings: once for a tag that is done, twice for a fault. What became of each stands
in the results. Ctrl-C finishes the tag on the reader; with --resume the rest is done another time."""),
)
def batch(  # noqa: PLR0913 -- its options
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help=_("The list."))],
    config: Config = None,
    *,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help=_("The results; else FILE.results.csv."))] = None,
    resume: Annotated[bool, typer.Option("--resume", help=_("Go on with these results."))] = False,
    reader: Reader = None,
    chip: OneChip = None,
    overwrite: Overwrite = False,
    lock: Lock = False,
    yes: Yes = False,
    json: Json = False,
    force: Force = False,
) -> None:
    """Write a tag for each touchpoint of a list."""
    settings, place = settings_from(config), out or file.with_suffix(".results.csv")
    with _explained():
        from gateway.provision.tags.batch import jobs
        from gateway.provision.tags.writer import Wishes

        wanted = jobs(_text(file), _known(settings))
        _check_room(wanted, chip)
        if place.exists() and not (resume or force):
            wrong = _("{file} exists: go on with it by --resume, or choose another name with --out.")
            fail(wrong.format(file=place))
        if force and not resume:
            must_be_new([place], force=True)
            place.unlink(missing_ok=True)
        _confirm_lock(lock=lock, yes=yes)
        results = _batch(settings, reader, wanted, place, Wishes(chip, overwrite, lock))
    _summary(results, wanted, place, json=json)


@app.command(
    short_help=_("Say what a tag is."),
    help=_("""Say of the tag on the reader which chip it is, who can write it, and what the inventory knows of it."""),
)
def read(config: Config = None, *, reader: Reader = None, json: Json = False) -> None:
    """Say what a tag is."""
    settings = settings_from(config)

    seen = _each(settings, reader, "read", lambda writer, tag: _seen(settings, *writer.meet(tag)))
    if json:
        show_json(seen)
        return
    typer.echo(_("{chip}, room for {room} bytes: {protection}.").format(**seen | {"protection": _who(seen)}))
    typer.echo(_carried(seen))
    if seen["inventory"] is not None:
        typer.echo(_("In the inventory: {touchpoint}, {state}.").format(**_spoken(seen["inventory"])))


@app.command(
    short_help=_("Check that a tag is as it was written."),
    help=_(
        """Check that the tag on the reader holds what was written, and is protected. Exit status 1 if it is not."""
    ),
)
def verify(config: Config = None, *, reader: Reader = None, json: Json = False) -> None:
    """Check that a tag is as it was written."""
    entry = _each(settings_from(config), reader, "verify", lambda writer, tag: writer.verify(tag)[1])
    if json:
        show_json(_shown(entry))
    else:
        typer.echo(_("{touchpoint}: as it was written, {state}.").format(**_spoken(_shown(entry))))


@app.command(
    short_help=_("Make a tag as delivered."),
    help=_("""Take link and protection off the tag on the reader, so that it can be used for something else."""),
)
def erase(config: Config = None, *, reader: Reader = None, overwrite: Overwrite = False, json: Json = False) -> None:
    """Make a tag as delivered."""
    entry = _each(settings_from(config), reader, "erase", lambda writer, tag: writer.erase(tag), overwrite=overwrite)
    if json:
        show_json(None if entry is None else _shown(entry))
    elif entry is None:
        typer.echo(_("The tag is empty, and anybody can write it."))
    else:
        typer.echo(_("{touchpoint}: its tag is empty, and anybody can write it.").format(**_shown(entry)))


@app.command(
    short_help=_("Lock a tag for good."),
    help=_("""Lock the tag on the reader, which was written here: nobody, you included, can ever write it again."""),
)
def lock(config: Config = None, *, reader: Reader = None, yes: Yes = False, json: Json = False) -> None:
    """Lock a tag for good."""
    _confirm_lock(lock=True, yes=yes)
    entry = _each(settings_from(config), reader, "lock", lambda writer, tag: writer.lock(tag))
    if json:
        show_json(_shown(entry))
    else:
        typer.echo(_("{touchpoint}: locked for good.").format(**_shown(entry)))


@app.command(
    short_help=_("List the tags that were written here."),
    help=_("""List the tags that were written here: touchpoint, chip, how far each has come.

Exit status 1 if one is half done."""),
)
def inventory(config: Config = None, *, json: Json = False) -> None:
    """List the tags that were written here."""
    settings = settings_from(config)
    with _explained():
        from gateway.provision.tags.inventory import State
        from gateway.provision.tags.inventory import inventory as opened

        with opened(settings.gateway.state) as listed:
            entries = listed.all()
    if json:
        show_json([_shown(each) for each in entries])
    for each in [] if json else entries:
        typer.echo(f"{each.touchpoint:<20} {each.answer or '-':<10} {each.chip:<8} {_state(each.state)}")
    half = [each for each in entries if each.state in {State.BEGUN, State.LOST}]
    if half:
        fail(
            several(
                "{count} tag was taken away half done: it can be written again, or thrown away.",
                "{count} tags were taken away half done: they can be written again, or thrown away.",
                len(half),
            )
        )


def _known(settings: "Settings") -> "list[Job]":
    """Return what tags of the registered touchpoints would carry; nothing counts for those that are retired."""
    from gateway.clock import Clock
    from gateway.core.brandlink import LINKLESS
    from gateway.keys import link_keys
    from gateway.provision.codes import MadeError, codes
    from gateway.provision.tags.writer import Job

    domain = settings.links.domain
    if domain is None:
        fail(_('The brand\'s domain is not known: set [links] domain = "id.example.com" in the configuration.'))
    found = []
    now_ms = Clock(settings.clock.source).now().wall_ms
    for touchpoint in registered(settings):
        if touchpoint.retired_at(now_ms):
            continue
        try:
            made = [] if touchpoint.kind in LINKLESS else codes([touchpoint], domain, link_keys(settings))
        except MadeError:  # one without a link cannot have a tag
            made = []
        found += [Job(each.touchpoint.id, each.answer, each.link) for each in made]
    return found


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        fail(_("{file} is not in UTF-8: save it as CSV UTF-8.").format(file=file))


def _check_room(wanted: "list[Job]", chip: str | None) -> None:
    """End before a tag is touched, if the chip that is asked for has no room for a link."""
    from gateway.provision.tags.fault import TagError
    from gateway.provision.tags.message import ROOM, fits, uri

    for job in wanted:
        name = chip if chip in ROOM else max(ROOM, key=lambda each: ROOM[each])
        try:
            fits(uri(job.link), ROOM[name], name)
        except TagError as error:
            fail(f"{job.title}: {error}")


def _confirm_lock(*, lock: bool, yes: bool) -> None:
    if lock:
        confirm(_("A locked tag cannot be changed by anybody, ever."), WORD, yes=yes)


def _at_reader(
    settings: "Settings",
    reader: str | None,
    command: str,
    work: "Callable[[Writer, Bench], T]",
    wishes: "Wishes | None" = None,
    prompt: str | None = None,
) -> T:
    """Do something at a reader once the gateway has lent it, and say so. Ctrl-C finishes the tag on it."""
    import asyncio

    from gateway.clock import Clock
    from gateway.keys import tag_secret
    from gateway.lending import lend
    from gateway.provision.tags.bench import at_bench
    from gateway.provision.tags.chips import opened
    from gateway.provision.tags.inventory import inventory as listed
    from gateway.provision.tags.secret import TagSecret
    from gateway.provision.tags.writer import Wishes, Writer

    name, clock, signing = _nfc_reader(settings, reader), Clock(settings.clock.source), _signing(settings)

    async def run() -> T:
        async with lend(settings, name, f"tags {command}", DAY_SECONDS) as lent:
            if prompt is not None:
                typer.echo(prompt, err=True)
            return await at_bench(
                lent.device, lambda bench: work(writer, bench), lambda text: typer.echo(text, err=True)
            )

    with listed(settings.gateway.state) as entries:
        secret = TagSecret(tag_secret(settings))
        writer = Writer(
            secret,
            entries,
            lambda: clock.now().wall_ms,
            lambda tag: opened(tag, secret, signing),
            wishes or Wishes(),
        )
        return asyncio.run(run())


def _signing(settings: "Settings") -> "Signing | None":
    """Return how tags sign their links; None if the store has no keys for that."""
    from gateway.core.decode.sun import Covers, Mirrors
    from gateway.keys import tag_keys
    from gateway.provision.tags.signing import Signing

    if settings.sun.keys is None:
        return None
    sun = settings.sun
    mirrors = Mirrors(sun.picc_data, sun.file_data, sun.uid, sun.counter, sun.mac, Covers(sun.covers))
    return Signing(tag_keys(settings), mirrors)


def _nfc_reader(settings: "Settings", name: str | None) -> str:
    readers = [each.name for each in settings.readers if each.kind == "nfc"]
    if not readers:
        fail(_('No NFC reader is configured: add a [[reader]] with kind = "nfc".'))
    if name is None and len(readers) > 1:
        fail(_("There are several NFC readers: say which with --reader, {names}.").format(names=", ".join(readers)))
    if name is not None and name not in readers:
        fail(_("No NFC reader is called {name}: {names}.").format(name=name, names=", ".join(readers)))
    return name or readers[0]


def _finish(bench: "Bench", writer: "Writer", job: "Job") -> "Entry":
    """Write a tag; one that moves away half done is waited for, until it is back or another one comes."""
    from gateway.provision.tags.batch import Batch
    from gateway.provision.tags.fault import AGAIN, TagError

    results: list[Result] = []

    def told(result: "Result") -> None:
        results.append(result)
        if result.fault in AGAIN:
            _ring(2)
            typer.echo(result.message, err=True)

    once = Batch(bench, writer, lambda _: None, lambda _job, _number: None, told)
    while (entry := once.one(job)) is None:
        last = results[-1]
        if last.fault is not None and last.fault not in AGAIN:
            raise TagError(last.fault, last.message)
        bench.wait_until_gone()
    return entry


def _each(
    settings: "Settings",
    reader: str | None,
    command: str,
    work: "Callable[[Writer, Any], T]",
    *,
    overwrite: bool = False,
) -> T:
    """Do something with the next tag; one that moves away meanwhile is waited for, and no other one is taken."""
    with _explained():
        from gateway.provision.tags.fault import AGAIN, TagError
        from gateway.provision.tags.writer import Wishes

        def meet(writer: "Writer", bench: "Bench") -> T:
            while True:
                try:
                    return bench.meet(lambda tag: work(writer, tag))
                except TagError as error:
                    if error.fault not in AGAIN:
                        raise
                    _ring(2)
                    typer.echo(str(error), err=True)
                writer.awaited = writer.met
                bench.wait_until_gone()

        prompt = _("Hold a tag to the reader.")
        done = _at_reader(settings, reader, command, meet, Wishes(overwrite=overwrite), prompt)
    _ring(1)
    return done


def _batch(
    settings: "Settings", reader: str | None, wanted: "list[Job]", place: Path, wishes: "Wishes"
) -> "list[Result]":
    """Write what is left of a batch; return what became of each tag."""
    from gateway.provision.tags.batch import Batch, Results

    results, done = Results(place), []
    left = [job for job in wanted if (job.touchpoint, job.answer or "") not in results.finished]
    before = len(wanted) - len(left)

    def asked(job: "Job", number: int) -> None:
        progress = {"number": before + number, "all": len(wanted), "title": job.title}
        typer.echo(_("{number} of {all}, {title}: hold a tag to the reader.").format(**progress), err=True)

    def told(result: "Result") -> None:
        done.append(result)
        _ring(1 if result.fault is None else 2)
        if result.fault is None:
            typer.echo(_("  done; take the tag away."), err=True)
        else:
            typer.echo("  " + _("{fault} Take the tag away.").format(fault=result.message), err=True)

    def work(writer: "Writer", bench: "Bench") -> None:
        Batch(bench, writer, results.add, asked, told).run(left)

    try:
        if left:
            _at_reader(settings, reader, "batch", work, wishes)
    except KeyboardInterrupt:
        finished = before + sum(each.fault is None for each in done)
        wrong = _("Stopped with {done} of {all} done. Go on with: touchpoint tags batch FILE.csv --resume")
        fail(wrong.format(done=finished, all=len(wanted)), INTERRUPTED)
    finally:
        results.close()
    return done


def _summary(results: "list[Result]", wanted: "list[Job]", place: Path, *, json: bool) -> None:
    faults = [each for each in results if each.fault is not None]
    if json:
        show_json({"file": str(place), "tags": len(wanted), "results": [each.row() for each in results]})
        return
    said = several("{count} tag is done", "{count} tags are done", len(wanted))
    put_aside = several("{count} try failed", "{count} tries failed", len(faults))
    typer.echo(_("{done}; {failed}; listed in {file}.").format(done=said, failed=put_aside, file=place))


def _seen(settings: "Settings", chip: "Chip", entry: "Entry | None") -> dict[str, Any]:
    """Say of a tag what may be said: its own link may be a customer's, and is not shown."""
    from gateway.core import brandlink
    from gateway.core.decode import ndef

    message = chip.message()
    uri = ndef.first(message)
    link = None
    if isinstance(uri, ndef.Uri) and settings.links.domain is not None:
        link = brandlink.read(uri.text, settings.links.domain, None)
    return {
        "chip": chip.name,
        "room": chip.room,
        "protection": chip.protection.value,
        "carries": "nothing" if not message else "link" if link is not None and link.touchpoint else "something",
        "touchpoint": None if link is None else link.touchpoint,
        "inventory": None if entry is None else _shown(entry),
    }


def _carried(seen: dict[str, Any]) -> str:
    if seen["carries"] == "nothing":
        return _("It is empty.")
    if seen["carries"] == "link":
        return _("It carries the link of {touchpoint}.").format(**seen)
    return _("It carries something that is none of your links.")


def _who(seen: dict[str, Any]) -> str:
    words = {"open": _("anybody can write it"), "keyed": _("protected"), "locked": _("locked for good")}
    return words[seen["protection"]]


def _state(state: str) -> str:
    words = {
        "begun": _("half done"),
        "written": _("written, and not protected"),
        "protected": _("protected"),
        "locked": _("locked for good"),
        "lost": _("lost half done"),
        "erased": _("erased"),
    }
    return words[state]


def _warn_of_open(entry: "Entry") -> None:
    """Say that a tag which is finished can be written over, where its chip knows no password."""
    if entry.state == "written":
        told = _("This chip knows no password: anybody could write over it. Lock it for good: touchpoint tags lock")
        typer.echo(told, err=True)


def _shown(entry: "Entry") -> dict[str, Any]:
    from gateway.core.event import rfc3339

    return {
        "touchpoint": entry.touchpoint,
        "answer": entry.answer,
        "link": entry.link,
        "chip": entry.chip,
        "state": entry.state.value,
        "at": rfc3339(entry.at_ms),
    }


def _spoken(shown: dict[str, Any]) -> dict[str, Any]:
    return shown | {"state": _state(shown["state"])}


def _ring(times: int) -> None:
    """Ring the terminal: once for done, twice for a fault."""
    typer.echo("\a" * times, err=True, nl=False)


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what is wrong with tags, readers and lists into a message, too."""
    from gateway.provision.tags.batch import BatchError
    from gateway.provision.tags.bench import BenchError
    from gateway.provision.tags.fault import TagError

    try:
        with failures_explained():
            yield
    except TagError as error:
        _ring(2)
        fail(str(error))
    except (BatchError, BenchError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail(_("Stopped. Whether a tag was left half done says: touchpoint tags inventory"), INTERRUPTED)
