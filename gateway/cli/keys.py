"""`touchpoint keys`: the root key of the trust service, and the key ring of a site."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.command import Config, Json, Yes, confirm, fail, failures_explained, settings_from, show_json
from gateway.language import _, said, several

if TYPE_CHECKING:
    from gateway.bytesearch import Proof
    from gateway.config import Settings
    from gateway.core.pseudonym import Epoch, KeyRing

Epochs = Annotated[
    str | None, typer.Option("--epochs", metavar="2026Q4,2027Q1", help=_("Quarters; default: this one and the next."))
]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help=_("""Keys of pseudonyms. The root key belongs to the brand's trust service and never lies on a gateway; from it
the ring of each site is derived, which does. No command prints a key."""),
)


@app.command(
    short_help=_("Make the root key of a brand, once."),
    help=_("""Make the root key of a brand: once, at the trust service.

It stays there. Whoever holds it can join the pseudonyms of all sites; whoever loses it can derive no more rings."""),
)
def new(
    file: Annotated[Path, typer.Argument(metavar="ROOT", help=_("The file to write; it must not exist yet."))],
) -> None:
    """Make the root key of a brand: once, at the trust service."""
    from gateway.keys import new_root, write_secret

    with failures_explained():
        write_secret(file, new_root())
    typer.echo(
        _("{file}: a new root key. Keep it at the trust service, with a copy in a safe; never on a gateway.").format(
            file=file
        )
    )


@app.command(
    short_help=_("Derive the key ring of one site."),
    help=_("""Derive the key ring of one site, at the trust service.

It is for the site's gateways: `[pseudonym] keys` in their configuration names it."""),
)
def derive(
    root: Annotated[Path, typer.Option("--root", metavar="ROOT", help=_("The root key."))],
    out: Annotated[Path, typer.Option("--out", metavar="RING", help=_("The ring to write; it must not exist yet."))],
    tenant: Annotated[str, typer.Option(help=_("The tenant, as in [gateway] of the site's configuration."))],
    site: Annotated[str, typer.Option(help=_("The site, as in [gateway] of the site's configuration."))],
    epochs: Epochs = None,
) -> None:
    """Derive the key ring of one site, at the trust service."""
    from gateway.clock import Clock
    from gateway.core.pseudonym import derive as derive_ring
    from gateway.keys import read_root, write_secret

    spans = _spans(epochs, Clock().now().wall_ms)
    with failures_explained():
        write_secret(out, derive_ring(read_root(root), tenant, site, spans).to_json())
    typer.echo(
        _("{out}: the ring of {tenant}/{site} for {spans}.").format(
            out=out, tenant=tenant, site=site, spans=", ".join(id_ for id_, _from, _until in spans)
        )
    )


@app.command(
    short_help=_("Add the coming epochs to a key ring."),
    help=_("""Add the coming epochs to a ring, at the trust service.

Epochs that ended more than 72 hours ago are left out. The file is replaced as a whole or not at all. Bring it to
the site's gateways then: they notice by themselves."""),
)
def rotate(
    root: Annotated[Path, typer.Option("--root", metavar="ROOT", help=_("The root key."))],
    ring: Annotated[Path, typer.Option("--ring", metavar="RING", help=_("The ring to renew."))],
    epochs: Epochs = None,
) -> None:
    """Add the coming epochs to a ring, at the trust service."""
    from gateway.clock import Clock
    from gateway.keys import read_ring, read_root, replace_secret, rotated

    now_ms = Clock().now().wall_ms
    spans = _spans(epochs, now_ms)
    with failures_explained():
        before = read_ring(ring)
        after = rotated(before, read_root(root), spans, now_ms)
        if after != before:
            replace_secret(ring, after.to_json())
    added, gone = _ids(after.epochs, but=before), _ids(before.epochs, but=after)
    typer.echo(
        _("{ring}: the ring of {tenant}/{site} holds {ids}; added {added}, left out {gone}.").format(
            ring=ring,
            tenant=after.tenant,
            site=after.site,
            ids=", ".join(_ids(after.epochs)),
            added=", ".join(added) or _("none"),
            gone=", ".join(gone) or _("none"),
        )
    )


@app.command(
    short_help=_("Derive the keys of tags that sign."),
    help=_("""Derive the keys of the NTAG 424 DNA tags of one site, at the trust service.

They are for the site's gateways: `[sun] keys` in their configuration names the file. Running gateways notice when
it has changed. With these keys tags are verified; they are also what the tags must be given."""),
)
def tags(
    root: Annotated[Path, typer.Option("--root", metavar="ROOT", help=_("The root key."))],
    uids: Annotated[Path, typer.Option("--uids", metavar="FILE", help=_("The UIDs of the site's tags, one a line."))],
    out: Annotated[Path, typer.Option("--out", metavar="KEYS", help=_("The file to write, or to add to."))],
    tenant: Annotated[str, typer.Option(help=_("The tenant, as in [gateway] of the site's configuration."))],
    site: Annotated[str, typer.Option(help=_("The site, as in [gateway] of the site's configuration."))],
) -> None:
    """Derive the keys of the NTAG 424 DNA tags of one site, at the trust service."""
    from gateway.core import tagkeys
    from gateway.keys import KeyFileError, add_tag_keys, read_root

    with failures_explained():
        try:
            listed = tagkeys.uids(uids.read_text(encoding="utf-8"))
        except ValueError as error:
            raise KeyFileError(_("{uids} is no list of UIDs: {error}").format(uids=uids, error=said(error))) from None
        held = add_tag_keys(out, tenant, site, tagkeys.derive(read_root(root), tenant, listed))
    typer.echo(
        _("{out}: the keys of {held} tags of {tenant}/{site}.").format(out=out, held=held, tenant=tenant, site=site)
    )


@app.command(
    short_help=_("Remove keys from this gateway."),
    help=_("""Remove keys from this gateway, and show that they are gone.

Those of epochs that ended more than 72 hours ago, unless others are named. The file is overwritten (flash memory
may keep what was), a running gateway forgets the keys, and then every file beside the ring and in the state
directory is searched for them. Exit status 1 if a key is still in one."""),
)
def retire(
    config: Config = None,
    *,
    epoch: Annotated[
        str | None,
        typer.Option(metavar="ID", help=_("This epoch, whether it has ended or not; for a key that leaked.")),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help=_("Destroy the ring: no pseudonym can be made or undone here any more."))
    ] = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Remove keys from this gateway, and show that they are gone."""
    settings = settings_from(config)
    if everything and epoch is not None:
        fail(_("name an epoch with --epoch, or destroy the whole ring with --all; not both"), 2)
    with failures_explained():
        path = _ring_path(settings)
        gone, left = _destroyed(settings, path, yes=yes) if everything else _retired(settings, path, epoch, yes=yes)
        told = _tell_gateway(settings)
        proof = _searched(settings, path, gone)
    if json:
        found = [{"file": str(each.path), "what": each.label, "encoding": each.encoding} for each in proof.findings]
        searched = {"files": proof.files, "found": found, "unread": [str(each) for each in proof.unread]}
        show_json({"removed": [name for name, _secret in gone], "left": left, "gateway": told, "search": searched})
    else:
        typer.echo(
            _("{path}: removed {gone}. {told}").format(
                path=path, gone=", ".join(name for name, _secret in gone) or _("nothing"), told=told
            )
        )
        show_proof(proof, _("Searched {files} files for the removed keys, raw, in hexadecimal and in base64:"))
    if not proof.holds:
        raise typer.Exit(1)


@app.command(
    short_help=_("Show the epochs of this gateway's key ring."),
    help=_("""Show the epochs of this gateway's ring, never a key.

Which is in force, which is missing or should be gone; and the public half of the device key."""),
)
def show(config: Config = None, *, json: Json = False) -> None:
    """Show the epochs of this gateway's ring, never a key."""
    from gateway.clock import Clock
    from gateway.keys import key_ring, ring_warnings

    settings = settings_from(config)
    with failures_explained():
        ring, own = key_ring(settings), _device(settings)
    now_ms = Clock(settings.clock.source).now().wall_ms
    warnings = [_no_ring(settings)] if ring is None else ring_warnings(ring, now_ms)
    epochs = [] if ring is None else _shown(ring, now_ms)
    site = {"tenant": settings.gateway.tenant, "site": settings.gateway.site}
    if json:
        show_json({**site, "epochs": epochs, "warnings": warnings, "device": own})
    else:
        _print(_("The ring of {tenant}/{site}").format(**site), epochs, own)
        for warning in warnings:
            typer.echo(_("warning  {warning}").format(warning=warning), err=True)
    if ring is None:
        raise typer.Exit(1)


@app.command(
    short_help=_("Show the public key of consents given here."),
    help=_("""Show the public half of the key that signs consents here.

The centre verifies with it what was consented to in this store. As a JWK (RFC 8037) with its thumbprint (RFC
7638)."""),
)
def device(config: Config = None, *, json: Json = False) -> None:
    """Show the public half of the key that signs consents here."""
    settings = settings_from(config)
    with failures_explained():
        own = _device(settings)
    if own is None:
        fail(_("this gateway has no device key yet; the first start of the capture half makes it"))
    if json:
        show_json(own)
        return
    for name, value in {**own["jwk"], "thumbprint": own["thumbprint"]}.items():
        typer.echo(f"{name:<11} {value}")


def show_proof(proof: "Proof", what: str) -> None:
    """Say what a byte search has shown; `what` says for what, with `{files}` for how many were searched."""
    for found in proof.findings:
        typer.echo(
            _("{path} still holds {label} ({encoding}): remove that file too").format(
                path=found.path, label=found.label, encoding=found.encoding
            ),
            err=True,
        )
    for path in proof.unread:
        typer.echo(
            _("{path} cannot be read, so nothing is known of it; search again as a user who may").format(path=path),
            err=True,
        )
    files = len({each.path for each in proof.findings})
    verdict = several("{count} still holds any.", "{count} still hold any.", files) if files else _("none holds any.")
    typer.echo(f"{what.format(files=proof.files)} {verdict}")


def _spans(epochs: str | None, now_ms: int) -> list[tuple[str, int, int]]:
    from gateway.keys import quarter, quarters

    try:
        return [quarter(epoch.strip()) for epoch in (epochs.split(",") if epochs else quarters(now_ms, 2))]
    except ValueError as error:
        raise typer.BadParameter(said(error), param_hint="--epochs") from None


def _ids(epochs: "Sequence[Epoch]", but: "KeyRing | None" = None) -> list[str]:
    return [epoch.id for epoch in epochs if but is None or epoch not in but.epochs]


def _ring_path(settings: "Settings") -> Path:
    path = settings.pseudonym.path
    if path is None:
        fail(
            _(
                "the key ring is the systemd credential {keys}: change the file that LoadCredential= of"
                " the service names, and start the service again"
            ).format(keys=settings.pseudonym.keys)
        )
    return path


def _retired(
    settings: "Settings", path: Path, named: str | None, *, yes: bool
) -> tuple[list[tuple[str, bytes]], list[str]]:
    """Take the epochs out of the ring; return their keys under names that may be shown, and the ids of those left."""
    from dataclasses import replace

    from gateway.clock import Clock
    from gateway.keys import key_ring, replace_secret, ring_secrets

    ring, now = key_ring(settings), Clock(settings.clock.source).now()
    if ring is None:
        fail(_no_ring(settings))
    if named is None and now.quality == "unsynced":
        fail(_("the clock is not synced, so nobody knows which epochs have ended; name one with --epoch"))
    gone = [each for each in ring.epochs if (not each.usable(now.wall_ms) if named is None else each.id == named)]
    if named is not None:
        if not gone:
            fail(_("the ring holds no epoch {named}, only {ids}").format(named=named, ids=", ".join(_ids(ring.epochs))))
        question = (
            _("This removes the key of epoch {epoch}, which is in force: no event names a subject until another is.")
            if _in_force(ring, gone, now.wall_ms)
            else _("This removes the key of epoch {epoch}.")
        )
        confirm(question.format(epoch=named), named, yes=yes)
    left = tuple(each for each in ring.epochs if each not in gone)
    if gone:
        replace_secret(path, replace(ring, epochs=left).to_json())
    return ring_secrets(ring, *gone) if gone else [], _ids(left)


def _in_force(ring: "KeyRing", epochs: "list[Epoch]", now_ms: int) -> bool:
    return ring.current(now_ms) in epochs


def _destroyed(settings: "Settings", path: Path, *, yes: bool) -> tuple[list[tuple[str, bytes]], list[str]]:
    """Destroy the ring; return its keys under names that may be shown."""
    from gateway.keys import KeyFileError, destroy, read_ring, ring_secrets

    new, secrets = path.with_name(f"{path.name}.new"), list[tuple[str, bytes]]()
    if not (path.exists() or new.exists()):
        fail(_no_ring(settings), 0)
    try:
        secrets = ring_secrets(read_ring(path)) if path.exists() else []
    except KeyFileError:
        typer.echo(
            _("{path} is no whole key ring, so there is no key to search for afterwards.").format(path=path), err=True
        )
    confirm(
        _(
            "This destroys the key ring {path}: no event names a subject any more, and what is recorded here"
            " under handles cannot be found again by presenting a token."
        ).format(path=path),
        settings.gateway.id,
        yes=yes,
    )
    for each in (path, new):
        destroy(each)
    return secrets, []


def _tell_gateway(settings: "Settings") -> str:
    """Have the running gateway look at its ring at once; it would by itself, a second later."""
    import asyncio

    from gateway.control import NobodyListensError, RequestError, ask

    try:
        held = asyncio.run(ask(settings.gateway.sockets, {"ask": "keys-reload"}))["epochs"]
    except NobodyListensError:
        return _("No gateway is running.")
    except RequestError as error:
        wrong = _("The running gateway did not answer ({error}); it looks at the ring every second.")
        return wrong.format(error=error)
    if not held:
        return _("The running gateway holds no key, and names nobody.")
    return _("The running gateway holds {epochs}.").format(epochs=", ".join(held))


def _searched(settings: "Settings", path: Path, secrets: list[tuple[str, bytes]]) -> "Proof":
    from gateway.bytesearch import prove_absent

    gateway = settings.gateway
    return prove_absent({path.parent, path.resolve().parent, gateway.state, gateway.sockets}, secrets)


def _no_ring(settings: "Settings") -> str:
    wrong = _("no key ring at {keys}: no subject is named in any event; see touchpoint keys derive")
    return wrong.format(keys=settings.pseudonym.keys)


def _shown(ring: "KeyRing", now_ms: int) -> list[dict[str, Any]]:
    from gateway.core.event import rfc3339

    return [
        {
            "id": epoch.id,
            "from": rfc3339(epoch.from_ms),
            "until": None if epoch.until_ms is None else rfc3339(epoch.until_ms),
            "in_force": epoch == ring.current(now_ms),
        }
        for epoch in ring.epochs
    ]


def _device(settings: "Settings") -> dict[str, Any] | None:
    from gateway.daemon.trust import own_kid
    from gateway.keys import device_public, thumbprint

    x = device_public(settings)
    if x is None:
        return None
    return {
        "jwk": {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": own_kid(settings)},
        "thumbprint": thumbprint(x),
    }


def _print(title: str, epochs: list[dict[str, Any]], own: dict[str, Any] | None) -> None:
    typer.echo(title)
    for each in epochs:
        typer.echo(
            (
                _("  {id}  {begins} to {until}  in force") if each["in_force"] else _("  {id}  {begins} to {until}")
            ).format(id=each["id"], begins=each["from"], until=each["until"] or _("open"))
        )
    typer.echo(_("The device key"))
    if own is None:
        typer.echo(_("  is made at the first start of the capture half"))
    else:
        typer.echo(_("  x {x}  thumbprint {thumbprint}").format(x=own["jwk"]["x"], thumbprint=own["thumbprint"]))
