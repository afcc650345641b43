"""`touchpoint check`: whether the gateway would start with this configuration, and what to look at before."""

from typing import TYPE_CHECKING

import typer

from gateway.cli.command import Config, Json, failures_explained, show_json
from gateway.language import _, said, several

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.config import Problem, Settings
    from gateway.core.pseudonym import KeyRing


HELP = _("""Check the configuration, keys and certificates, without touching a device or the network.

Every problem is named with its file, line and key; the exit status is then 78. Warnings are no reason not to start.""")


def check(config: Config = None, *, json: Json = False) -> None:
    """Check the configuration, keys and certificates, without touching a device or the network."""
    from gateway.config import EXIT_CONFIG, find

    path = find(config)
    with failures_explained():
        good, warnings, problems = _checked(path)
    if json:
        show_json(_answer(path, warnings, problems))
    else:
        _show(good, warnings, problems)
    if problems:
        raise typer.Exit(EXIT_CONFIG)


def _checked(path: "Path") -> tuple[list[str], list[str], list["Problem"]]:
    """Return what is good, what to look at, and what is wrong."""
    from gateway.config import ConfigError, load, tls_problems, warnings
    from gateway.handover import not_ours
    from gateway.keys import must_be_readable

    try:
        settings = load(path)
    except ConfigError as error:
        return [], [], error.problems
    must_be_readable(settings)
    secrets_good, secrets_missing, secrets_wrong = _secrets(settings)
    wrong = [*not_ours(settings), *tls_problems(settings), *secrets_wrong]
    return [_summary(path, settings), *secrets_good], [*warnings(settings), *secrets_missing], wrong


def _summary(path: "Path", settings: "Settings") -> str:
    gateway, mqtt = settings.gateway, settings.mqtt
    return several(
        "{path}: gateway {name}, {count} reader, broker {broker}",
        "{path}: gateway {name}, {count} readers, broker {broker}",
        len(settings.readers),
        path=path,
        name=f"{gateway.tenant}/{gateway.site}/{gateway.id}",
        broker=f"{mqtt.host}:{mqtt.port}",
    )


def _secrets(settings: "Settings") -> tuple[list[str], list[str], list["Problem"]]:
    """Look at the key ring, the issuers' keys and the broker's password, as `_checked` returns it."""
    from gateway.config import ConfigError, password
    from gateway.daemon.trust import issuers
    from gateway.keys import beacon_keys, key_files, key_ring, others_may_read, tag_keys

    good: list[str] = []
    missing: list[str] = []
    wrong: list[Problem] = []
    try:
        ring = key_ring(settings)
    except ConfigError as error:
        wrong += error.problems
    else:
        good, missing = _ring(settings, ring)
    for look in (password, issuers, beacon_keys, tag_keys):
        try:
            look(settings)
        except ConfigError as error:
            wrong += error.problems
    if settings.sun.keys is not None and not (settings.sun.path and settings.sun.path.exists()):
        none = _("sun: no keys of tags at {keys}, so nothing is said of any tag")
        missing.append(none.format(keys=settings.sun.keys))
    open_to_others = [f"{name}: {path}" for name, path in key_files(settings).items() if others_may_read(path)]
    others = _("{file} can be read or changed by others than its owner: chmod 600 it")
    missing += [others.format(file=text) for text in open_to_others]
    return good, missing, wrong


def _ring(settings: "Settings", ring: "KeyRing | None") -> tuple[list[str], list[str]]:
    """Say of the key ring what is good, and what to look at."""
    from gateway.clock import Clock
    from gateway.keys import ring_warnings, sealed

    if "pseudonym.keys" in sealed(settings):
        kept = _("pseudonym: the key ring is the credential {name}, which only the service can read")
        return [kept.format(name=settings.pseudonym.keys)], []
    if ring is None:
        none = _("pseudonym: no key ring at {keys}, so no event names a subject")
        return [], [none.format(keys=settings.pseudonym.keys)]
    ids = ", ".join(epoch.id for epoch in ring.epochs)
    good = _("{path}: key ring with {ids}").format(path=settings.pseudonym.path, ids=ids)
    return [good], [f"pseudonym: {said(text)}" for text in ring_warnings(ring, Clock().now().wall_ms)]


def _show(good: list[str], warnings: list[str], problems: list["Problem"]) -> None:
    for text in good:
        typer.echo(_("ok       {text}").format(text=text))
    for text in warnings:
        typer.echo(_("warning  {text}").format(text=said(text)))
    for problem in problems:
        typer.echo(problem.told(said), err=True)


def _answer(path: "Path", warnings: list[str], problems: list["Problem"]) -> dict[str, object]:
    from dataclasses import asdict

    shown = [asdict(problem) for problem in problems]
    return {"file": str(path), "ok": not problems, "warnings": warnings, "problems": shown}
