"""A terminal with a shell in it, and somebody who types what the screen says."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Self

SECONDS = 40.0
PROMPT = "staff$ "
ROWS, COLUMNS = 40, 120
_CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x07|\r")
_COMMAND = re.compile(r"touchpoint(?: [^\s`,;()]+)+")


class Terminal:
    """A pseudo-terminal of 120 by 40 with a shell, in which `touchpoint` is the command under test."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._directory = directory
        self._environment = {**os.environ, **environment, "PS1": PROMPT, "TERM": "xterm", "ENV": "", "HISTFILE": ""}
        self._drawn = ""

    def __enter__(self) -> Self:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self._shell = subprocess.Popen(
            ["/bin/sh", "-i"],
            stdin=slave, stdout=slave, stderr=slave, cwd=self._directory, env=self._environment,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  # its own terminal
        )  # fmt: skip
        os.close(slave)
        self.until(re.escape(PROMPT) + "$")
        return self

    def __exit__(self, *_: object) -> None:
        os.write(self._master, b"\x03\nexit\n")
        try:
            self._shell.wait(10)
        finally:
            self._shell.kill()
            self._shell.wait()
            os.close(self._master)

    @property
    def screen(self) -> str:
        """What was drawn since the last command was typed, without colours and bells."""
        return _CONTROLS.sub("", self._drawn)

    def type(self, line: str) -> None:
        """Type a line."""
        self._drawn = ""
        os.write(self._master, line.encode() + b"\n")

    def until(self, pattern: str, seconds: float = SECONDS) -> re.Match[str]:
        """Read until the screen shows a pattern, and return where. Raises AssertionError with the screen."""
        deadline = monotonic() + seconds
        while not (found := re.search(pattern, self.screen)):
            left = deadline - monotonic()
            assert left > 0, f"no {pattern!r} on the screen:\n{self.screen}"
            if select.select([self._master], [], [], min(left, 0.5))[0]:
                self._drawn += os.read(self._master, 65_536).decode(errors="replace")
        return found

    def back(self) -> None:
        """Wait until the shell asks for the next command."""
        self.until(r"\n" + re.escape(PROMPT) + "$")

    def run(self, line: str) -> str:
        """Type a command, wait until the prompt is back, and return what it said."""
        self.type(line)
        self.back()
        return self.screen.partition("\n")[2].removesuffix(PROMPT)


def suggested(said: str, *words: str) -> str:
    """Return the command on the screen that has all these words; it is typed as it stands there."""
    for found in _COMMAND.findall(said):
        if all(word in found for word in words):
            return str(found).rstrip(".:")
    raise AssertionError(f"no command with {', '.join(words)} in:\n{said}")
