"""The capture half: devices and keys, no network."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from datetime import tzinfo
from functools import partial
from importlib.metadata import version
from typing import Any, TypeVar

from gateway.capture import Capture
from gateway.centre import Centre
from gateway.clock import Clock
from gateway.config import ReaderSettings, Settings
from gateway.control import (
    Answer,
    Handler,
    NobodyListensError,
    Ringer,
    Tell,
    ask,
    bell_path,
    doorbell,
    serve,
    user_name,
)
from gateway.core.authenticity import Authenticator
from gateway.core.brandlink import Links
from gateway.core.consent import Ledger
from gateway.core.decode.sun import Covers, Mirrors
from gateway.core.draft import Reader
from gateway.core.ephemeral import Ephemeral
from gateway.core.event import EventType
from gateway.core.jws import Signer, Use
from gateway.core.path import Path
from gateway.core.presence import PresenceSettings
from gateway.core.pseudonym import KeyRing, forget_keys
from gateway.core.registry import Registry, Touchpoint, build
from gateway.core.sighting import ClockQuality
from gateway.core.subject import Subjects
from gateway.core.visit import Debounce, Visits
from gateway.core.zones import Zones
from gateway.customers import forget_ended, resume
from gateway.daemon.opening import open_outbox
from gateway.daemon.ring import RingFile
from gateway.daemon.tags import TagFile
from gateway.daemon.trust import issuers, own_kid
from gateway.daemon.trust import ledger as ledger_of
from gateway.daemon.watchdog import Watchdog, watched
from gateway.desk import Desk
from gateway.handover import must_be_ours
from gateway.keys import beacon_keys, device_key, key_ring, link_keys, tag_keys
from gateway.log import Message, log, security, told
from gateway.registering import badge_rules, bearer_rules
from gateway.sources.ble import BleSource, UnhealedError
from gateway.sources.nfc import NfcSource
from gateway.sources.scanner import ScannerSource
from gateway.sources.simulated import SimulatedSource
from gateway.sources.source import Source
from gateway.sources.wedge import WedgeSource
from gateway.store import audit, sun_counters, usage
from gateway.store.ballast import Ballast
from gateway.store.central import Central
from gateway.store.database import CorruptError, HeldError, StoreError, only_one, prove_writable
from gateway.store.ledger import sign_unsigned
from gateway.store.outbox import Outbox
from gateway.store.progress import Followed
from gateway.store.recovery import mark
from gateway.store.schema import CAPTURE
from gateway.store.touchpoints import load
from gateway.store.writer import Writer
from gateway.together import first_of
from gateway.training import take_up

Result = TypeVar("Result")
DAY_MS = 86_400_000
PRUNE_SECONDS = 3_600.0
MEND_SECONDS = 1.0
"""How long to wait before a damaged file is opened anew, and mended."""
HELD_SECONDS = 2.0
"""How long a half waits for its lock: commands hold it for a moment."""
STARTING_SECONDS = 15.0
"""How long a command waits for a half that holds its lock and does not listen yet: a slow machine starts it."""


def registry(settings: Settings, touchpoints: Sequence[Touchpoint], number: int) -> Registry:
    """Build the registry: the touchpoints, and the configuration's rules for customers' tokens and staff's badges."""
    return build(number, touchpoints, bearer_rules(settings), badge_rules(settings))


def reader(settings: ReaderSettings) -> Reader:
    """Describe a configured reader to the path."""
    return Reader(settings.name, settings.channel, settings.touchpoint, settings.zone)


def authenticator(settings: Settings, counters: Mapping[str, int] | None = None) -> Authenticator:
    """Build what verifies SUN tags; `counters` are those that were accepted before. Raises ConfigError."""
    sun = settings.sun
    mirrors = Mirrors(sun.picc_data, sun.file_data, sun.uid, sun.counter, sun.mac, Covers(sun.covers))
    return Authenticator(tag_keys(settings), mirrors, dict(counters or {}))


def sighting_path(
    settings: Settings, known: Registry, ring: KeyRing | None, ledger: Ledger, authentic: Authenticator
) -> Path:
    """Build the path of a sighting. Raises ConfigError."""
    purposes = {EventType(kind): purpose for kind, purpose in settings.consent.purposes.items()}
    return Path(
        readers={each.name: reader(each) for each in settings.readers},
        registry=known,
        subjects=Subjects(ring, ledger, purposes),
        visits=Visits(settings.visit.seconds),
        debounce=Debounce(settings.visit.debounce),
        presence=Zones(zones(settings.readers)),
        ephemeral=Ephemeral(beacon_keys(settings)),
        authenticator=authentic,
        links=Links(settings.links.domain, link_keys(settings), settings.links.unsigned),
    )


def zones(readers: Sequence[ReaderSettings]) -> dict[str, PresenceSettings]:
    """Return when somebody has come into a zone or left it; of several readers of a zone the first counts."""
    names = ("window", "enter_offset", "exit_offset", "hold_enter", "hold_exit", "lost_after")
    return {
        reader(each).place: PresenceSettings(**{name: getattr(each, name) for name in names})
        for each in reversed(readers)
        if each.channel == "ble"
    }


@asynccontextmanager
async def open_capture(settings: Settings) -> AsyncIterator[Capture]:
    """Hold the capture half's lock and store. Raises HeldError, StoreError, ConfigError."""
    ring = key_ring(settings)
    clock, followed = Clock(settings.clock.source), Followed(settings.gateway.state)
    ringer = Ringer(bell_path(settings.gateway.sockets, "uplink"))
    async with AsyncExitStack() as stack:
        stack.enter_context(only_one(settings.gateway.state, "capture"))
        signer = Signer(own_kid(settings), device_key(settings))
        ledger = ledger_of(settings, signer.believed(Use.CONSENT))
        for each in (followed, ledger, ringer):
            stack.enter_context(closing(each))
        ballast = Ballast(settings.gateway.state / "ballast")
        seen_by_writer = stack.enter_context(closing(Followed(settings.gateway.state)))
        damaged = partial(mark, settings.gateway.state, CAPTURE.file)
        opening = Writer(lambda: open_outbox(settings, clock, seen_by_writer), ballast.drop, damaged)
        writer = await stack.enter_async_context(opening)
        await writer.commit(lambda outbox: sign_unsigned(outbox.connection, signer.sign))
        number, touchpoints = await writer.commit(lambda outbox: load(outbox.connection))
        counters = await writer.commit(lambda outbox: sun_counters.load(outbox.connection))
        authentic = authenticator(settings, counters)
        path = sighting_path(settings, registry(settings, touchpoints, number), ring, ledger, authentic)
        half = Capture(path, writer, clock, followed, asyncio.Event(), ringer, ballast, signer)
        central = stack.enter_context(closing(Central(settings.gateway.state)))
        centre = Centre(half, central, issuers(settings), settings.gateway.id, partial(registry, settings))
        await centre.begin()
        half.follow_centre = centre.follow
        await resume(half)
        await take_up(half)
        half.look_at_keys = key_files(half, settings)
        half.time_zone = settings.gateway.zone
        yield half


def key_files(half: Capture, settings: Settings) -> Callable[..., Awaitable[list[str]]]:
    """Return what looks at the files of keys, and has the path go on with what has changed."""
    ring, tags = ring_file(half, settings), TagFile(settings, half.path.authenticator)

    async def look(who: str = audit.GATEWAY) -> list[str]:
        tags.look()
        return await ring.look(who)

    return look


def ring_file(half: Capture, settings: Settings) -> RingFile:
    """Follow the file of the key ring."""

    async def note(who: str, epochs: list[str]) -> None:
        at_ms = half.clock.now().wall_ms
        await half.writer.commit(
            lambda outbox: audit.append(outbox.connection, at_ms, who, "keys-changed", {"epochs": epochs})
        )

    def use(ring: KeyRing | None) -> None:
        half.path.subjects.ring = ring
        forget_keys()

    return RingFile(settings, use, note, half.path.subjects.ring)


async def capture(settings: Settings) -> None:
    """Run the capture half until cancelled. Whenever its file is found damaged it begins anew, and so mends it."""
    while True:
        try:
            await _capture(settings)
        except CorruptError as error:
            log.error("%s", error)
            await asyncio.sleep(MEND_SECONDS)
        else:
            return


async def _capture(settings: Settings) -> None:
    must_be_ours(settings)
    gateway = settings.gateway
    async with AsyncExitStack() as stack:
        half = await _once_free(lambda: stack.enter_async_context(open_capture(settings)))
        await stack.enter_async_context(doorbell(gateway.sockets, "capture", half.bell))
        await stack.enter_async_context(serve(gateway.sockets, handlers(half, settings), gateway.group))
        await stack.enter_async_context(audited(half, settings.audit.days * DAY_MS))
        await stack.enter_async_context(watched(watchdog(half), half.at_work))
        if half.path.subjects.ring is None:
            extra = told(Message.KEYS_MISSING, "keys")
            log.warning("no key ring at %s: no subject is named in any event", settings.pseudonym.keys, extra=extra)
        session, extra = half.writer.outbox.session, told(Message.STARTED, "capture")
        log.info("capture: session %s, %d readers", session, len(settings.readers), extra=extra)
        try:
            await half.run([source(each, half) for each in settings.readers])
        except BaseExceptionGroup as errors:
            raise first_of(errors, UnhealedError) or errors from None


def watchdog(half: Capture) -> Watchdog:
    """Watch the store's own thread, and the readers."""
    prove = partial(half.writer.between_commits, lambda outbox: prove_writable(outbox.connection))
    return Watchdog(prove, half.fares, half.signs)


@asynccontextmanager
async def audited(half: Capture, keep_ms: int) -> AsyncIterator[None]:
    """Note start and stop of the half in the audit log, and let what is old go meanwhile."""

    def note(what: str) -> Callable[[Outbox], None]:
        at_ms, detail = half.clock.now().wall_ms, {"version": version("touchpoint-gateway")}
        return lambda outbox: audit.append(outbox.connection, at_ms, audit.GATEWAY, what, detail)

    await half.writer.between_commits(prove_audit)
    await half.writer.commit(note("start"))
    pruning = asyncio.ensure_future(_prune(half, keep_ms))
    try:
        yield
    finally:
        pruning.cancel()
        await asyncio.gather(pruning, return_exceptions=True)
        with suppress(sqlite3.Error, StoreError):  # a disk that fails must not keep the half from stopping
            await half.writer.commit(note("stop"))


def prove_audit(outbox: Outbox) -> None:
    """Log what is wrong with the chain of the audit log. The half goes on; `touchpoint audit verify` says it again."""
    with suppress(sqlite3.Error):  # whoever writes to it next says so
        for wrong in audit.problems(outbox.connection):
            security.error("audit log: %s", wrong, extra=told(Message.AUDIT_BROKEN, "audit"))


async def _prune(half: Capture, keep_ms: int) -> None:
    """Let go what is old, and what erased customers have left, once an hour; by a clock to believe."""
    while True:
        now = half.clock.now()
        if now.quality is not ClockQuality.UNSYNCED:
            with suppress(sqlite3.Error, StoreError):  # the next hour will do
                prune = partial(_prune_once, now_ms=now.wall_ms, keep_ms=keep_ms, zone=half.time_zone)
                await half.writer.commit(prune, patience=1.0)
                await forget_ended(half)
        await asyncio.sleep(PRUNE_SECONDS)


def _prune_once(outbox: Outbox, now_ms: int, keep_ms: int, zone: tzinfo | None) -> None:
    audit.prune(outbox.connection, now_ms, keep_ms)
    usage.prune(outbox.connection, usage.day_of(now_ms - usage.KEPT_DAYS * DAY_MS, zone))


def source(settings: ReaderSettings, half: Capture) -> Source:
    """Build the source of a configured reader."""
    match settings.kind:
        case "scanner" if settings.types:
            layout = None if settings.layout == "auto" else settings.layout
            return WedgeSource(settings.name, settings.device, layout=layout, status=half.show, dropped=half.dropped)
        case "scanner":
            return ScannerSource(
                settings.name, settings.device, baud=settings.baud, status=half.show, dropped=half.dropped
            )
        case "simulated":
            return SimulatedSource(settings.name, settings.device, status=half.show, dropped=half.dropped)
        case "ble":
            return BleSource(
                settings.name,
                settings.adapter,
                wanted=half.wanted,
                silence=settings.silence,
                status=half.show,
                dropped=half.dropped,
            )
        case "nfc":
            return NfcSource(settings.name, settings.device, status=half.show, dropped=half.dropped)


async def ask_desk(settings: Settings, request: Mapping[str, Any], tell: Tell) -> Answer:
    """Ask the running capture half; without one, answer from the same files, holding its lock meanwhile.

    Raises RequestError, StoreError, ConfigError.
    """

    async def answer() -> Answer:
        try:
            return await ask(settings.gateway.sockets, request, tell)
        except NobodyListensError:
            async with open_capture(settings) as half:
                asked = {**request, "who": user_name(os.geteuid())}
                return await desk(half, settings).handlers()[request["ask"]](asked, tell)

    return await _once_free(answer, STARTING_SECONDS)


async def _once_free(work: Callable[[], Awaitable[Result]], seconds: float = HELD_SECONDS) -> Result:
    """Do the work; while another process holds the half for a moment (a command, a daemon that starts), try again."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while True:
        try:
            return await work()
        except HeldError:
            if loop.time() >= until:
                raise
            await asyncio.sleep(HELD_SECONDS / 40)


def handlers(half: Capture, settings: Settings) -> Mapping[str, Handler]:
    """Return what may be asked of the running half."""

    async def keys_reload(request: Mapping[str, Any], tell: Tell) -> Answer:
        del tell
        return {"epochs": await half.look_at_keys(who=request["who"])}

    return {**desk(half, settings).handlers(), "keys-reload": keys_reload}


def desk(half: Capture, settings: Settings) -> Desk:
    """Build the desk at which staff ask the capture half."""
    return Desk(half, settings, lambda touchpoints, number: registry(settings, touchpoints, number), issuers(settings))
