"""The command `touchpoint`; also `python -m gateway`."""


def main() -> None:
    """Run the command line."""
    from gateway.cli.app import app  # noqa: PLC0415  # so that importing this module costs nothing

    app(prog_name="touchpoint")


if __name__ == "__main__":
    main()
