"""`make fuzz [FUZZ="--seconds 60 downlink jws"]`: everything that strangers can send, with atheris (coverage-guided).

Each target runs in a process of its own; what it learns stays in build/fuzz/{target}, and what breaks it in
build/fuzz/{target}-crash-*. Exit status 1 if anything broke.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

BUILD = Path("build/fuzz")
LONGEST = 70_000
"""Octets of an input: more than a signed message may have."""
HANG_SECONDS = 20


def main() -> None:
    """Fuzz each target in turn, or (for ourselves) one for ever."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=60, help="how long each target is fuzzed")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*", help="which; all by default")
    asked = parser.parse_args()
    if asked.only:
        _fuzz(asked.only, asked.seconds)
    else:
        sys.exit(_fuzz_all(asked.targets, asked.seconds))


def _fuzz_all(names: list[str], seconds: int) -> int:
    from tests.fuzz.targets import TARGETS, close  # noqa: PLC0415  # a target's process imports it instrumented

    broken = []
    for name in names or TARGETS:
        corpus = BUILD / name
        corpus.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(TARGETS[name].seeds):
            (corpus / f"seed-{number}").write_bytes(seed)
        command = [sys.executable, "-m", "tests.fuzz", "--seconds", str(seconds), "--only", name]
        with tempfile.TemporaryDirectory(prefix="tp-fuzz-") as left:  # libFuzzer ends without cleaning up
            environment = {**os.environ, "TMPDIR": left}
            ran = subprocess.run(
                command, check=False, stderr=subprocess.PIPE, text=True, errors="replace", env=environment
            )
        _tell(name, ran.returncode, ran.stderr)
        broken += [name] if ran.returncode else []
    close()
    return bool(broken)


def _tell(name: str, status: int, said: str) -> None:
    """Print how many inputs there were, or how it broke."""
    coverage = [line.strip() for line in said.splitlines() if " cov: " in line]
    sys.stdout.write(f"{name}: {'BROKEN' if status else 'ok'}: {coverage[-1] if coverage else 'it said nothing'}\n")
    if status:
        sys.stdout.write(said[-4_000:] + "\n")
    sys.stdout.flush()


def _fuzz(name: str, seconds: int) -> None:
    atheris = import_module("atheris")  # it has wheels for some machines only: `make fuzz` installs it
    with atheris.instrument_imports(include=["gateway", "jwt", "json", "nfc"]):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415  # to be instrumented
    target = TARGETS[name]
    options = [
        sys.argv[0],
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST}",
        f"-timeout={HANG_SECONDS}",
        "-rss_limit_mb=2048",
        f"-artifact_prefix={BUILD}/{name}-",
        "-print_final_stats=1",
        str(BUILD / name),
    ]
    atheris.Setup(options, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
