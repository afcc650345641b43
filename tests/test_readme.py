"""The README's commands, run as a newcomer would type them."""

import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.timeout(120)
def test_the_first_command_runs_the_demo_to_its_end() -> None:
    """`make demo` plays the boutique and ends with every promise kept."""
    assert BLOCKS[0] == "make demo\n"
    played = subprocess.run(["make", "demo"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert played.returncode == 0, played.stdout + played.stderr


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A directory with what the README's commands use."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    activate = tmp_path / ".venv" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    activate.write_text(f'PATH="{Path(sys.executable).parent}:$PATH"\n', encoding="utf-8")
    return tmp_path


@pytest.mark.timeout(120)
def test_every_other_command_works_as_it_stands(clone: Path) -> None:
    """The trial without hardware goes from a new root key to a withdrawn consent; only the port is another one."""
    script = "set -eu\n" + "\n".join(BLOCKS[1:]).replace("port = 1883", f"port = {free_port()}")
    ran = subprocess.run(
        ["bash", "-c", script], cwd=clone, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count('"subject":{"pseudonym":"tp1.') == 2
    assert ran.stdout.count('"data":{"reason":"withdrawn"') == 2
    assert "All in order: appended 3, delivered 0, withdrawn 0, evicted 0, waiting 3." in ran.stdout
    assert '"asyncapi": "3.0.0"' in ran.stdout


def test_the_output_shown_is_the_demos_own() -> None:
    """The README shows a summary with the numbers that the demo promises."""
    shown = README.split("```text\n")[1].split("```")[0]
    for promise in ("parsed from the wire", "missing without an explanation", "came twice", "raw identifiers found"):
        assert promise in shown
    assert shown.rstrip().endswith("All of it adds up.")


def test_links_lead_somewhere() -> None:
    """Every relative link of the documentation names a file that is there."""
    for page in (*ROOT.glob("*.md"), *ROOT.glob("*/*.md")):
        if "node_modules" in page.parts or ".venv" in page.parts:
            continue
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"
