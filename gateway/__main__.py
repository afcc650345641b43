"""The command `touchpoint`; also `python -m gateway`."""

INTERRUPTED = 130
"""128 and SIGINT, as shells report it."""


def main() -> None:
    """Run the command line, in the language that `--lang` or the locale asks for."""
    import os  # noqa: PLC0415  # so that importing this module costs nothing
    import sys  # noqa: PLC0415  # as above

    from gateway.language import asked_for, speak  # noqa: PLC0415  # as above

    speak(asked_for(sys.argv[1:], os.environ))
    from gateway.cli.menu import for_a_person, start  # noqa: PLC0415  # its texts are read in that language

    if for_a_person(sys.argv[1:]):
        start()
        return
    try:
        from gateway.cli.app import app  # noqa: PLC0415  # as above, and its help texts are read in that language

        app(prog_name="touchpoint")
    except KeyboardInterrupt:  # before a command could say what it leaves behind: it has done nothing yet
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
