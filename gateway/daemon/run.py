"""Running until a signal; and both halves side by side, as two services would."""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from gateway.config import EXIT_CONFIG
from gateway.core.order import RestartAskedError
from gateway.daemon.notify import STOPPING, notify
from gateway.log import Message, log, told

STOP_SECONDS = 1.5
"""How long `run` waits for a half to stop by itself."""
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
RESTART_SECONDS = 1.0
HOPELESS_SECONDS = 10.0
"""A half that gives up so soon after the start, and has said why, will not do better the next time."""
EXIT_FAILED = 1
PR_SET_PDEATHSIG = 1


def until_signal(work: Coroutine[Any, Any, None]) -> None:
    """Run the work until it ends, or until SIGTERM, SIGINT or SIGHUP asks it to stop cleanly.

    Where the centre asks for a restart, the process begins anew, as the same process: nobody need start it.
    """
    try:
        asyncio.run(_until_signal(work))
    except RestartAskedError:
        log.info("stopped, and starting again: the centre asks for it")
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606  # the command line that started this process
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)


async def _until_signal(work: Coroutine[Any, Any, None]) -> None:
    loop, working = asyncio.get_running_loop(), asyncio.ensure_future(work)

    def stop() -> None:
        notify(STOPPING)
        for number in SIGNALS:  # an impatient second one must not cut short what the first began
            loop.add_signal_handler(number, lambda: None)
        working.cancel()

    for number in SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        await working
    except asyncio.CancelledError:
        log.info("stopped", extra=told(Message.STOPPED, "gateway"))


async def run(configuration: Path) -> None:
    """Run both halves as child processes until cancelled; one that dies is started again."""
    async with asyncio.TaskGroup() as halves:
        for half in ("capture", "uplink"):
            halves.create_task(_keep_running(half, configuration))


async def _keep_running(half: str, configuration: Path) -> None:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while True:
        code = await _run_half(half, configuration)
        if code == EXIT_CONFIG or (code == EXIT_FAILED and loop.time() - begun < HOPELESS_SECONDS):
            raise HalfFailedError(half, code)
        extra = told(Message.HALF_ENDED, half)
        log.error("the %s half ended with exit status %d; it is started again", half, code, extra=extra)
        await asyncio.sleep(RESTART_SECONDS)


class HalfFailedError(Exception):
    """A half cannot run, and starting it again would not help; it has said why."""

    def __init__(self, half: str, code: int) -> None:
        super().__init__(f"the {half} half ended with exit status {code}")
        self.code = code


def _end_with_parent() -> None:
    """Have the kernel end a half cleanly when `run` is gone, even by kill -9 (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))


async def _run_half(half: str, configuration: Path) -> int:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", half, "--config", str(configuration)),
        start_new_session=True,
        preexec_fn=_end_with_parent,
    )
    try:
        return await process.wait()
    finally:
        await asyncio.shield(_stop(process))


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
