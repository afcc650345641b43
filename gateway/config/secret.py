"""Where a secret lies: a file, or a credential that systemd hands to the service (systemd.exec(5), LoadCredential=)."""

import os
from pathlib import Path


def secret_path(named: str) -> Path | None:
    """Return the path of a secret; None for a credential in a process that systemd gave none."""
    if "/" in named:
        return Path(named)
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    return Path(directory) / named if directory else None
