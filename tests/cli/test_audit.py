"""`touchpoint audit`: the log as people and scripts see it."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.app import app
from gateway.store import audit
from gateway.store.database import open_writer, transaction
from gateway.store.schema import CAPTURE

CONFIGURATION = """
[gateway]
tenant = "acme"
site = "zrh-1"
id = "gw-1"
state = "."
[mqtt]
host = "127.0.0.1"
"""


@pytest.fixture
def gateway(tmp_path: Path) -> Path:
    """A gateway in whose log three things stand."""
    (tmp_path / "gateway.toml").write_text(CONFIGURATION, encoding="utf-8")
    with closing(open_writer(tmp_path, CAPTURE)) as store, transaction(store):
        audit.append(store, 0, audit.GATEWAY, "start")
        audit.append(store, 1_000, "anna", "registry-import", {"added": 3})
        audit.append(store, 2_000, "centre-1", "command", {"command": "report"})
    return tmp_path


def asked(gateway: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["audit", *words, "--config", str(gateway / "gateway.toml")])


def test_the_newest_entries_are_shown(gateway: Path) -> None:
    """Each on a line: number, time, who, what."""
    shown = asked(gateway, "show", "--limit", "2")
    assert shown.exit_code == 0
    lines = [line.split() for line in shown.output.splitlines()]
    assert lines == [
        ["2", "1970-01-01T00:00:01.000Z", "anna", "registry-import", '{"added":3}'],
        ["3", "1970-01-01T00:00:02.000Z", "centre-1", "command", '{"command":"report"}'],
    ]


def test_scripts_get_all_of_it(gateway: Path) -> None:
    """With the hashes, so that they can check the chain themselves."""
    first, second, _ = json.loads(asked(gateway, "show", "--json").output)
    assert (first["what"], first["detail"], second["detail"]) == ("start", {}, {"added": 3})
    assert len(first["hash"]) == 64


def test_a_whole_log_is_in_order(gateway: Path) -> None:
    """Exit status 0, and the head that the state message carries too."""
    told = asked(gateway, "verify", "--json")
    found = json.loads(told.output)
    assert (told.exit_code, found["ok"], found["first"], found["last"]) == (0, True, 1, 3)
    assert asked(gateway, "verify", "--head", found["head"]).output.startswith("All in order: entries 1 to 3")


def test_a_log_that_was_changed_is_not(gateway: Path) -> None:
    """Exit status 1, and the entry is named."""
    with closing(sqlite3.connect(gateway / CAPTURE.file)) as store, store:
        store.execute("UPDATE audit SET who = 'nobody' WHERE number = 2")
    told = asked(gateway, "verify")
    assert told.exit_code == 1
    assert "entry 2 is not what was written" in told.output
    assert json.loads(asked(gateway, "verify", "--json").stdout)["ok"] is False


def test_another_head_is_a_contradiction(gateway: Path) -> None:
    """Somebody may have written a new chain."""
    assert asked(gateway, "verify", "--head", "2:abc").exit_code == 1


def test_damaged_details_do_not_keep_the_rest_from_being_shown(gateway: Path) -> None:
    """What is no JSON is shown as nothing."""
    with closing(sqlite3.connect(gateway / CAPTURE.file)) as store, store:
        store.execute("UPDATE audit SET detail = '{' WHERE number = 2")
    assert [each["detail"] for each in json.loads(asked(gateway, "show", "--json").output)] == [
        {},
        None,
        {"command": "report"},
    ]


def test_before_the_first_start_there_is_no_log(tmp_path: Path) -> None:
    """It is said what to do."""
    (tmp_path / "gateway.toml").write_text(CONFIGURATION, encoding="utf-8")
    told = asked(tmp_path, "verify")
    assert told.exit_code == 1
    assert "touchpoint run" in told.output
