"""What a consent record must be, by a schema that knows nothing of the gateway."""

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

SCHEMA = json.loads(Path(__file__).with_name("record-2023.schema.json").read_text(encoding="utf-8"))
_VALIDATOR = Draft202012Validator(SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER)


def faults(record: Any) -> list[str]:  # noqa: ANN401  # JSON
    """Return what is wrong with a record, and where."""
    return [f"{error.json_path}: {error.message}" for error in _VALIDATOR.iter_errors(record)]
