"""Files that commands write: whole or not at all, and never over what is there unless that was asked for."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.command import fail
from gateway.language import _

Force = Annotated[bool, typer.Option("--force", help=_("Write over files that are there."))]


def must_be_new(files: Iterable[Path], *, force: bool) -> None:
    """End before anything is done, if a file is there that would be written over."""
    there = [str(file) for file in files if file.exists()]
    if there and not force:
        wrong = _("There already, and not written over: {files}. Choose another name, or use --force to write over.")
        fail(wrong.format(files=", ".join(there[:5])))


def write(file: Path, content: bytes) -> None:
    """Write a file whole or not at all, whatever interrupts it. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f".{file.name}.new")
    try:
        new.write_bytes(content)
        os.replace(new, file)  # noqa: PTH105 -- Path.replace returns what nobody needs
    finally:
        new.unlink(missing_ok=True)
