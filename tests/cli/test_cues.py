"""`touchpoint cues`: what a display is told, and what it is never told."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import IO, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from gateway.cli.app import app
from gateway.cli.cues import _follow, _line
from gateway.clock import Clock
from gateway.core.downlink import Cue
from gateway.core.jws import Signer, Use
from gateway.store.cues import Cues
from gateway.store.database import open_writer
from gateway.store.device import public_text
from gateway.store.schema import UPLINK
from tests.shop import until
from tests.simulators.centre_keys import CENTRE, STRANGER

CONFIGURATION = f"""
[gateway]
tenant = "acme"
site = "zrh-1"
id = "gw-1"
state = "."
[mqtt]
host = "127.0.0.1"
[clock]
source = "trusted"
[[issuer]]
kid = "centre-1"
key = "{public_text(CENTRE.key.public_key())}"
may = ["cue"]
"""


def cue(number: int, place: str = "vitrine-1", *, issued_s: float = -1, expires_s: float = 600, **more: str) -> str:
    """Return the payload of a cue, issued and expiring so many seconds from now."""
    now = Clock().now().wall_ms / 1000
    issued, expires = (datetime.fromtimestamp(now + ahead, UTC) for ahead in (issued_s, expires_s))
    made = Cue(
        id=f"cue-{number}",
        touchpoint=place,
        issued=issued,
        expires=expires,
        **{"title": f"Cue {number}", "body": "A new watch", **more},
    )
    return made.model_dump_json()


@dataclass
class Home:
    """A gateway, as its uplink half writes it."""

    directory: Path
    database: sqlite3.Connection = field(init=False)

    def __post_init__(self) -> None:
        (self.directory / "gateway.toml").write_text(CONFIGURATION, encoding="utf-8")
        self.database = open_writer(self.directory, UPLINK)

    def says(self, payload: str, signer: Signer = CENTRE, place: str | None = None) -> None:
        """Keep a cue, as it came."""
        self.keeps(signer.sign(payload.encode()), place or json.loads(payload)["touchpoint"])

    def keeps(self, jws: str, place: str = "vitrine-1") -> None:
        """Keep a message."""
        self.database.execute(
            "INSERT OR REPLACE INTO cue (touchpoint, id, expires_ms, jws) VALUES (?, 'x', 1 << 60, ?)", (place, jws)
        )

    @contextmanager
    def followed(self, *options: str) -> Iterator["Followed"]:
        """Run the command beside."""
        command = [sys.executable, "-m", "gateway", "cues", "--config", str(self.directory / "gateway.toml"), *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            yield Followed(process)
        finally:
            process.kill()
            process.wait()


class Followed:
    """The command while it runs: what it has printed so far."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.shown: list[str] = []
        self.said: list[str] = []
        self._threads = [self._collect(process.stdout, self.shown), self._collect(process.stderr, self.said)]

    def _collect(self, stream: IO[str] | None, lines: list[str]) -> Thread:
        assert stream is not None

        def work() -> None:
            with stream:
                lines.extend(stream)

        thread = Thread(target=work)
        thread.start()
        return thread

    def ends(self) -> int:
        """Wait for its end; return the exit status."""
        code = self.process.wait(10)
        for thread in self._threads:
            thread.join(10)
        return code

    def ids(self) -> list[str]:
        """Return the cues shown so far, of lines in JSON."""
        return [json.loads(line)["id"] for line in self.shown]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A gateway that believes the centre's cues."""
    made = Home(tmp_path)
    with closing(made.database):
        yield made


async def test_what_is_in_force_and_then_each_new_one(home: Home) -> None:
    """One line a cue, at once; each of them once."""
    home.says(cue(1))
    home.says(cue(2, "vitrine-2"))
    with home.followed("--json") as display:
        await until(lambda: len(display.shown) == 2)
        home.says(cue(3))
        await until(lambda: len(display.shown) == 3)
        home.says(cue(4, "vitrine-2"))
        await until(lambda: len(display.shown) == 4)
        assert display.ids() == ["cue-1", "cue-2", "cue-3", "cue-4"]
        shown = json.loads(display.shown[0])
        assert set(shown) == {"id", "touchpoint", "issued", "expires", "title", "body", "media"}
        assert (shown["touchpoint"], shown["title"], shown["body"]) == ("vitrine-1", "Cue 1", "A new watch")
        display.process.send_signal(signal.SIGINT)
        assert display.ends() == 0
        assert display.said == []


async def test_one_touchpoint(home: Home) -> None:
    """A display at a vitrine follows that alone."""
    home.says(cue(1))
    with home.followed("--json", "--touchpoint", "vitrine-2") as display:
        home.says(cue(2, "vitrine-2"))
        await until(lambda: len(display.shown) == 1)
        home.says(cue(3))
        home.says(cue(4, "vitrine-2"))
        await until(lambda: len(display.shown) == 2)
        assert display.ids() == ["cue-2", "cue-4"]


async def test_what_is_never_shown(home: Home) -> None:
    """Expired, unsigned, tampered with, by a stranger, another place's, of another shape, from the future, or older."""
    signed = CENTRE.sign(cue(1, body="Sale").encode())
    header, payload, signature = signed.split(".")
    home.says(cue(2, "expired", issued_s=-60, expires_s=-1))
    home.says(cue(3, "stranger"), STRANGER)
    home.says(cue(4, "elsewhere"), place="here")
    home.says('{"touchpoint": "shape"}')
    home.says(cue(5, "future", issued_s=400, expires_s=500))
    home.keeps(cue(6), "unsigned")
    home.keeps(f"{header}.{payload[:-4]}AAAA.{signature}", "tampered")
    home.keeps(f"{header}.{payload}.", "stripped")
    home.keeps(f"eyJhbGciOiJub25lIn0.{payload}.", "none")
    home.says(cue(7, "replaced"))
    old = CENTRE.sign(cue(8, "replaced", issued_s=-30).encode())
    with home.followed("--json") as display:
        await until(lambda: len(display.shown) == 1)
        home.keeps(old, "replaced")
        home.says(cue(9, "last"))
        await until(lambda: len(display.shown) == 2)
        assert display.ids() == ["cue-7", "cue-9"]
        display.process.send_signal(signal.SIGINT)
        assert display.ends() == 0
        reasons = {line.removeprefix("a cue is not shown: ").strip() for line in display.said}
        assert reasons == {
            "its signature is not valid",
            "it is for another touchpoint",
            "it is no cue",
            "it is no JWS in compact form",
            "its issuer is unknown",
        }
        assert "Sale" not in "".join(display.said)


@pytest.mark.parametrize("cues", [0, 1])
def test_nobody_reads_any_more(home: Home, cues: int) -> None:
    """The command ends by itself, whether it has something to write or not, and says nothing about it."""
    for number in range(cues):
        home.says(cue(number))
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "gateway", "cues", "--config", str(home.directory / "gateway.toml")]
    with subprocess.Popen(command, stdout=writing, stderr=subprocess.PIPE) as process:
        os.close(writing)
        os.close(reading)
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""


class Looks:
    """Somebody who reads until the command has looked so many times."""

    def __init__(self, number: int) -> None:
        self.left = number

    def poll(self, wait_ms: int) -> bool:
        """Tell whether they have gone."""
        assert wait_ms > 0
        self.left -= 1
        return self.left == 0


def test_an_unsynced_clock_is_said_once(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No cue is shown until it is synced, and a display that stays dark has its reason in the log."""
    monkeypatch.setattr("gateway.clock.kernel_says_synced", lambda: False)
    monkeypatch.setattr("gateway.clock._TIMESYNCD", home.directory / "none")
    monkeypatch.setattr("gateway.cli.cues._reader_of_output", lambda: Looks(3))
    home.says(cue(1))
    with closing(Cues(home.directory, issuers=CENTRE.believed(Use.CUE))) as reader:
        _follow(reader, Clock(), None, json=False)
        shown = capsys.readouterr()
        assert shown.out == ""
        assert shown.err.count("the clock is not synced") == 1
        monkeypatch.setattr("gateway.cli.cues._reader_of_output", lambda: Looks(3))
        _follow(reader, Clock("trusted"), None, json=False)
        assert capsys.readouterr().out.startswith("vitrine-1  until ")


async def test_the_uplink_begins_later(home: Home) -> None:
    """A display may be there first, and stays when the file is damaged and replaced."""
    for file in home.directory.glob("uplink.db*"):
        file.rename(file.with_name(f"kept.{file.name}"))
    with home.followed("--json") as display:
        (home.directory / UPLINK.file).write_bytes(b"no database" * 1000)
        await until(lambda: len(display.said) == 1)
        assert "uplink.db" in display.said[0]
        (home.directory / UPLINK.file).unlink()
        home.database.close()
        home.database = open_writer(home.directory, UPLINK)
        home.says(cue(1))
        await until(lambda: display.ids() == ["cue-1"])


def test_without_an_issuer_no_cue_could_be_shown(home: Home) -> None:
    """Better an error than a display that stays dark."""
    file = home.directory / "gateway.toml"
    file.write_text(CONFIGURATION.replace('may = ["cue"]', 'may = ["consent"]'), encoding="utf-8")
    result = CliRunner().invoke(app, ["cues", "--config", str(file)])
    assert result.exit_code == 78
    assert "no [[issuer]] may sign cues" in result.stderr


@given(st.text(min_size=1, max_size=100), st.text(min_size=1, max_size=100))
def test_a_cue_is_one_line_whatever_it_says(title: str, body: str) -> None:
    """No text of a cue moves the cursor of a terminal or begins another line."""
    fields: dict[str, Any] = json.loads(cue(1)) | {"title": title, "body": body}
    line = _line(
        Cue.model_validate(
            {**fields, "issued": datetime.fromtimestamp(0, UTC), "expires": datetime.max.replace(tzinfo=UTC)}
        )
    )
    assert line.isprintable()
