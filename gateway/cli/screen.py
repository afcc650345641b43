"""One screen about a gateway: what is wrong and what to do first, then every part in a line or two."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any

from gateway.language import _, said, several
from gateway.language.counted import called

WIDTH, HEIGHT = 80, 24
LABEL = 11
"""Columns of what a line is about."""
MOST = 5
"""So many readers have a line on a screen of 24 lines."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and what to do."""

    wrong: str
    advice: str


def screen(
    found: Mapping[str, Any], problems: Sequence[Problem], zone: tzinfo | None, width: int = WIDTH, height: int = HEIGHT
) -> list[str]:
    """Return the lines of a screen: at most `height`, none wider than `width`. What does not fit is counted."""
    running = _("running") if found["running"] else _("not running")
    head = f"{found['gateway']}   {running}"
    lines = [head, *_problems(problems, width, height // 2), ""]
    lines += [f"{label:<{LABEL}}{text}" for label, text in _parts(found, max(MOST, height - HEIGHT))]
    room = height - len(lines)
    lines += [f"{label:<{LABEL}}{text}" for label, text in _last(found["last"], zone)][: max(0, room)]
    return [_cut(line, width) for line in lines[:height]]


def _problems(problems: Sequence[Problem], width: int, most: int) -> list[str]:
    """Return as many problems as there is room for, whole; and how many more there are."""
    shown: list[str] = []
    for number, problem in enumerate(problems):
        lines = textwrap.wrap(f"! {problem.wrong}", width, subsequent_indent="  ")
        lines += textwrap.wrap(f"  > {problem.advice}", width, subsequent_indent="    ")
        if len(shown) + len(lines) >= most:
            left = len(problems) - number
            return [*shown, several("! {count} more: touchpoint doctor", "! {count} more: touchpoint doctor", left)]
        shown += lines
    return shown


def _parts(found: Mapping[str, Any], most: int) -> Iterator[tuple[str, str]]:
    """Yield label and text of each line."""
    readers = found["readers"]
    names = sorted(readers, key=lambda name: bool(readers[name]["up"]))  # what is down is not what is left out
    for at, name in enumerate(names[:most]):
        how = _("up") if readers[name]["up"] else said(readers[name]["reason"])
        yield _("Readers") if at == 0 else "", _("{name}: {state}").format(name=name, state=how)
    if len(names) > most:
        yield "", several("and {count} more", "and {count} more", len(names) - most)
    if found["zones"]:
        yield _("Zones"), ", ".join(_zone(each, readers) for each in found["zones"].items())
    yield _("Consents"), _consents(found)
    yield _("Outbox"), _outbox(found)
    yield _("Broker"), _("{address}: {state}").format(address=found["address"], state=_broker(found["broker"]))
    yield _("Clock"), _(str(found["clock"] or "not known"))
    if found["training"]:
        from gateway.cli.training import lasting

        yield _("Training"), lasting(found["training"])
    yield from _counted(found["counters"], found["waiting"], found["refused"])


def _zone(zone: tuple[str, Sequence[str]], readers: Mapping[str, Mapping[str, Any]]) -> str:
    name, covered = zone
    up = sum(bool(readers.get(reader, {}).get("up")) for reader in covered)
    return _("{zone}: {up} of {readers} readers up").format(zone=name, up=up, readers=len(covered))


def _consents(found: Mapping[str, Any]) -> str:
    here = several("{count} given here", "{count} given here", found["consents"]["here"])
    centre = found["consents"]["centre"]
    if centre is None:
        return here
    said = several("{count} of the centre", "{count} of the centre", centre["count"])
    state = _("complete") if centre["confirmed"] else _("not complete")
    return _("{here}, {centre} ({state}, said {ago} ago)").format(
        here=here, centre=said, state=state, ago=lasted(found["now_ms"] - centre["at_ms"])
    )


def _outbox(found: Mapping[str, Any]) -> str:
    waiting = several("{count} event waits", "{count} events wait", found["waiting"])
    if found["oldest_ms"] is None:
        return waiting
    ago = lasted(found["now_ms"] - found["oldest_ms"])
    return _("{waiting}, the oldest for {ago}").format(waiting=waiting, ago=ago)


def _broker(broker: Mapping[str, Any] | None) -> str:
    if broker is None:
        return _("not known")
    return _("connected") if broker["ok"] else said(broker["reason"])


def _counted(counters: Mapping[str, int], waiting: int, refused: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """Yield both balances, why readings were dropped, and what of the centre was refused."""
    dropped = {name.removeprefix("dropped:"): n for name, n in counters.items() if name.startswith("dropped:")}
    numbers = {name: counters.get(name, 0) for name in ("sightings", "absorbed", "acted_on")}
    sightings = _("{sightings} = absorbed {absorbed} + acted on {acted_on} + dropped {dropped}")
    yield _("Sightings"), sightings.format(**numbers, dropped=sum(dropped.values()))
    if dropped:
        yield "", _("dropped: {reasons}").format(reasons=_numbers(dropped))
    numbers = {name: counters.get(name, 0) for name in ("appended", "delivered", "withdrawn", "evicted")}
    events = _("{appended} = delivered {delivered} + withdrawn {withdrawn} + evicted {evicted} + waiting {waiting}")
    yield _("Events"), events.format(**numbers, waiting=waiting)
    if refused:
        by_reason = {name.removeprefix("down:"): number for name, number in refused.items()}
        yield _("Refused"), _("from the centre: {reasons}").format(reasons=_numbers(by_reason))


def _numbers(by_name: Mapping[str, int]) -> str:
    return ", ".join(f"{called(name)} {number}" for name, number in by_name.items())


def _last(events: Sequence[Mapping[str, Any]], zone: tzinfo | None) -> Iterator[tuple[str, str]]:
    """Yield the last events, the newest first."""
    for at, event in enumerate(reversed(events)):
        when = datetime.fromtimestamp(event["at_ms"] / 1000, UTC).astimezone(zone)
        yield _("Last") if at == 0 else "", f"{when:%H:%M:%S}  {event['kind']:<12}  {event['place'] or ''}"


def lasted(milliseconds: int) -> str:
    """Say how long something has lasted, in its largest unit."""
    seconds = max(0, milliseconds) // 1000
    for unit, name in ((86_400, _("{count} d")), (3_600, _("{count} h")), (60, _("{count} min"))):
        if seconds >= unit:
            return name.format(count=seconds // unit)
    return _("{count} s").format(count=seconds)


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 1]}…"
