"""`touchpoint run`, `capture`, `uplink`: the daemon and its two halves."""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from gateway.cli.command import Config, fail, failures_explained, settings_from
from gateway.language import _, speak

if TYPE_CHECKING:
    from gateway.config import Settings


RUN_HELP = _("""Run the gateway: both halves, until Ctrl-C or SIGTERM.

The capture half reads the devices and commits events to the outbox; the uplink half forwards them. Without a
broker it captures and waits. systemd starts the halves as two services instead: see systemd/.""")


def run(config: Config = None) -> None:
    """Run the gateway: both halves, until Ctrl-C or SIGTERM."""
    from gateway.config import find
    from gateway.daemon.run import HalfFailedError, run, until_signal
    from gateway.together import first_of

    settings_from(config)
    speak("en")  # the log is in English
    try:
        until_signal(run(find(config)))
    except BaseExceptionGroup as errors:
        failed = first_of(errors, HalfFailedError)
        if failed is None:
            raise
        fail(str(failed), failed.code)


CAPTURE_HELP = _("""Run the capture half alone: devices and keys, no network.""")


def capture(config: Config = None) -> None:
    """Run the capture half alone: devices and keys, no network."""
    from gateway.daemon.capture import capture

    _half(capture, settings_from(config))


UPLINK_HELP = _("""Run the uplink half alone: the network, no devices and no keys.""")


def uplink(config: Config = None) -> None:
    """Run the uplink half alone: the network, no devices and no keys."""
    from gateway.daemon.uplink import uplink

    _half(uplink, settings_from(config))


def _half(half: "Callable[[Settings], Coroutine[Any, Any, None]]", settings: "Settings") -> None:
    from gateway import log
    from gateway.daemon.run import until_signal

    speak("en")  # the log is in English
    log.begin()
    with failures_explained():
        until_signal(half(settings))
