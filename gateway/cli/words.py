"""Typer's own words in the language of the command line: usage, the names of sections, what is wrong with a line.

Typer takes a few of them from gettext itself and writes the others in English. Those are recognised here in what it is
about to show, and said again in the catalogue's words.
"""

from collections.abc import Sequence
from typing import Any, Final

import typer
from typer._click.core import Context
from typer._click.exceptions import NoArgsIsHelpError, UsageError
from typer._click.formatting import HelpFormatter
from typer.core import TyperGroup

from gateway.language import _, later, said, spoken
from gateway.sentence import sentence

LIBRARY: Final = (  # what Typer looks up by itself
    later("Arguments"),
    later("Options"),
    later("Commands"),
    later("required"),
    later("default: {default}"),
    later("env var: {var}"),
    later("(dynamic)"),
    later("Missing command."),
    later("Aborted!"),
    later("No such command {name!r}."),
)
ENGLISH: Final = (  # what it says in English; a part in braces is any text
    sentence("Show this message and exit."),
    sentence("Install completion for the current shell."),
    sentence("Show completion for the current shell, to copy it or customize the installation."),
    sentence("No such option: {option} (Possible options: {options})"),
    sentence("No such option: {option}"),
    sentence("Invalid value for {parameter}: {wrong}"),
    sentence("Invalid value: {wrong}"),
    sentence("Value error, {wrong}"),
    sentence("Missing argument {parameter}. {wrong}"),
    sentence("Missing argument {parameter}."),
    sentence("Missing option {parameter}. {wrong}"),
    sentence("Missing option {parameter}."),
    sentence("Got unexpected extra argument(s) ({arguments})"),
    sentence("Option {option} requires an argument."),
    sentence("Option {option} does not take a value."),
    sentence("{value} is not one of {choices}."),
    sentence("Choose from:{choices}"),
    sentence("Value {value} is not a valid {type}."),
    sentence("{wrong}. Did you mean {commands}?"),
    sentence("Input should be greater than or equal to {least}"),
    sentence("Input should be less than or equal to {most}"),
    sentence("Input should be a valid integer, unable to parse string as an integer"),
    sentence("Input should be a valid number, unable to parse string as a number"),
)


class Formatter(HelpFormatter):
    """A page of help."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """Write how a command is called."""
        words = {"[OPTIONS]": _("[OPTIONS]"), "COMMAND": _("COMMAND"), "[ARGS]": _("[ARGS]")}
        for word, spoken_word in words.items():
            args = args.replace(word, spoken_word)
        super().write_usage(prog, args, _("Usage: ") if prefix is None else prefix)

    def write_dl(self, rows: Sequence[tuple[str, str]], *args: Any, **more: Any) -> None:  # noqa: ANN401 -- Typer's own
        """Write options and what each does."""
        super().write_dl([(name, said(text)) for name, text in rows], *args, **more)


class Group(TyperGroup):
    """All commands, whose mistakes on the command line are explained in the language that is spoken."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: FBT001, FBT002 -- Typer's own
        windows_expand_args: bool = True,  # noqa: FBT001, FBT002 -- as above
        **extra: Any,  # noqa: ANN401 -- as above
    ) -> Any:  # noqa: ANN401 -- as above
        """Run a command; a wrong line ends with exit status 2."""
        Context.formatter_class = Formatter
        if not standalone_mode or spoken() == "en":
            return super().main(args, prog_name, complete_var, standalone_mode, windows_expand_args, **extra)
        try:
            status = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except NoArgsIsHelpError as error:
            error.show()
            raise SystemExit(error.exit_code) from None
        except UsageError as error:
            _show(error)
            raise SystemExit(error.exit_code) from None
        except typer.Abort:
            typer.echo(_("Aborted!"), err=True)
            raise SystemExit(1) from None
        raise SystemExit(status if isinstance(status, int) else 0)


def _show(error: UsageError) -> None:
    if error.ctx is not None:
        typer.echo(error.ctx.get_usage(), err=True)
        command, option = error.ctx.command_path, error.ctx.help_option_names[0]
        typer.echo(_("Try '{command} {option}' for help.").format(command=command, option=option), err=True)
        typer.echo("", err=True)
    typer.echo(_("Error: {message}").format(message=said(error.format_message())), err=True)
