"""Files of age: what is sealed here `age` opens, what it seals is opened here, and whatever was changed is refused."""

import os
import pty
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.age import (
    CHUNK,
    IDENTITY,
    RECIPIENT,
    AgeError,
    bech32,
    decrypt,
    encrypt,
    needs_passphrase,
    new_identity,
    public_key,
    unbech32,
)

QUICK = 4
"""log2 of scrypt's N, for tests."""
PAIR = new_identity()
PHRASE = "correct horse battery staple"
SIZES = st.sampled_from([0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 7])


@given(SIZES, st.booleans())
@settings(max_examples=30, deadline=None)
def test_what_is_sealed_can_be_opened(size: int, phrase: bool) -> None:  # noqa: FBT001
    """Content of any size, also of whole chunks and none, comes back, by passphrase and by key."""
    content = os.urandom(size)
    if phrase:
        assert decrypt(encrypt(content, passphrase=PHRASE, work=QUICK), passphrase=PHRASE) == content
    else:
        assert decrypt(encrypt(content, recipients=[PAIR[1]]), identity=PAIR[0]) == content


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1, 3 * CHUNK + 11])
def test_age_opens_what_is_sealed_here(tmp_path: Path, size: int) -> None:
    """Debian's age decrypts with the secret key, of two recipients as of one."""
    content = os.urandom(size)
    (tmp_path / "key").write_text(PAIR[0] + "\n", encoding="ascii")
    (tmp_path / "sealed").write_bytes(encrypt(content, recipients=[new_identity()[1], PAIR[1]]))
    opened = subprocess.run(["age", "-d", "-i", tmp_path / "key", tmp_path / "sealed"], capture_output=True, check=True)
    assert opened.stdout == content


@pytest.mark.parametrize("size", [0, CHUNK, CHUNK + 1])
def test_what_age_seals_is_opened_here(tmp_path: Path, size: int) -> None:
    """Debian's age encrypts for the public key, and age-keygen's keys are read."""
    content = os.urandom(size)
    (tmp_path / "plain").write_bytes(content)
    made = subprocess.run(["age-keygen"], capture_output=True, check=True, text=True)
    identity = made.stdout.splitlines()[-1]
    recipient = made.stdout.splitlines()[1].removeprefix("# public key: ")
    sealed = subprocess.run(["age", "-r", recipient, tmp_path / "plain"], capture_output=True, check=True).stdout
    assert decrypt(sealed, identity=identity) == content
    assert not needs_passphrase(sealed)
    again = subprocess.run(["age-keygen", "-y"], input=PAIR[0], capture_output=True, check=True, text=True)
    assert again.stdout.strip() == PAIR[1]


def at_terminal(*command: str, typed: str) -> None:
    """Run a command that reads a passphrase from its terminal."""
    process, terminal = pty.fork()
    if process == 0:
        os.execvp(command[0], command)  # noqa: S606  # the child becomes age
    try:
        shown = b""
        while b"passphrase" not in shown:
            shown += os.read(terminal, 1024)
        os.write(terminal, typed.encode() + b"\n")
        if "-p" in command:
            while b"onfirm" not in shown:
                shown += os.read(terminal, 1024)
            os.write(terminal, typed.encode() + b"\n")
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    finally:
        os.close(terminal)


def test_a_passphrase_opens_in_age_and_from_age(tmp_path: Path) -> None:
    """With a passphrase too each opens what the other sealed."""
    (tmp_path / "sealed").write_bytes(encrypt(b"registry", passphrase=PHRASE, work=12))
    age = shutil.which("age") or "age"
    at_terminal(age, "-d", "-o", str(tmp_path / "opened"), str(tmp_path / "sealed"), typed=PHRASE)
    assert (tmp_path / "opened").read_bytes() == b"registry"
    at_terminal(age, "-p", "-o", str(tmp_path / "theirs"), str(tmp_path / "opened"), typed=PHRASE)
    sealed = (tmp_path / "theirs").read_bytes()
    assert needs_passphrase(sealed)
    assert decrypt(sealed, passphrase=PHRASE) == b"registry"


SEALED = encrypt(b"registry" * 9000, recipients=[PAIR[1]])
LOCKED = encrypt(b"registry", passphrase=PHRASE, work=QUICK)


@given(st.integers(0, len(SEALED) - 1), st.integers(1, 255))
@settings(deadline=None)
def test_no_changed_octet_passes(at: int, change: int) -> None:
    """Whatever octet is changed, the file is refused."""
    changed = SEALED[:at] + bytes([SEALED[at] ^ change]) + SEALED[at + 1 :]
    with pytest.raises(AgeError):
        decrypt(changed, identity=PAIR[0])


@given(st.integers(0, len(SEALED) - 1))
@settings(deadline=None)
def test_nothing_can_be_cut_off(length: int) -> None:
    """However much of the end is missing, and whatever is appended, the file is refused."""
    for changed in (SEALED[:length], SEALED + SEALED[length:]):
        with pytest.raises(AgeError):
            decrypt(changed, identity=PAIR[0])


@given(st.binary(max_size=300), st.booleans())
@settings(deadline=None)
def test_rubbish_is_refused(content: bytes, versioned: bool) -> None:  # noqa: FBT001
    """Arbitrary octets, also below a good first line, raise AgeError and nothing else."""
    sealed = b"age-encryption.org/v1\n" + content if versioned else content
    for opening in ({"passphrase": PHRASE}, {"identity": PAIR[0]}):
        with pytest.raises(AgeError):
            decrypt(sealed, **opening)


def test_another_key_is_told() -> None:
    """The wrong passphrase, the wrong key, and a key where a passphrase is needed each have their own words."""
    with pytest.raises(AgeError, match="another one"):
        decrypt(LOCKED, passphrase="another")  # noqa: S106  # of a test
    with pytest.raises(AgeError, match="not encrypted for this key"):
        decrypt(SEALED, identity=new_identity()[0])
    with pytest.raises(AgeError, match="secret key"):
        decrypt(SEALED, passphrase=PHRASE)
    with pytest.raises(AgeError, match="begins with AGE-SECRET-KEY-1"):
        decrypt(SEALED, identity=PAIR[1])
    with pytest.raises(AgeError, match="begins with age1"):
        encrypt(b"", recipients=["age1nobody"])
    with pytest.raises(AgeError, match="nobody"):
        encrypt(b"")


def test_no_file_takes_all_memory() -> None:
    """A file that asks for more work than a gateway has memory is refused before anything is tried."""
    greedy = LOCKED.replace(f" {QUICK}\n".encode(), b" 30\n", 1)
    with pytest.raises(AgeError, match="MiB"):
        decrypt(greedy, passphrase=PHRASE)


@given(st.binary(max_size=80))
def test_bech32_goes_there_and_back(octets: bytes) -> None:
    """Whatever is written is read, in the case of its prefix alone (BIP 173)."""
    text = bech32(RECIPIENT, octets)
    assert unbech32(RECIPIENT, text) == octets
    assert unbech32(IDENTITY, bech32(IDENTITY.lower(), octets).upper()) == octets
    assert unbech32(RECIPIENT, text.upper()) == b""


@given(st.text("acde1qpzry9x8", max_size=70), st.integers(0, 60))
def test_bech32_that_is_wrong_is_none(text: str, at: int) -> None:
    """A changed character, or arbitrary ones, are no key."""
    with pytest.raises(AgeError):
        public_key("age1" + text)
    changed = list(PAIR[1])
    place = 4 + at % (len(changed) - 4)
    changed[place] = "q" if changed[place] != "q" else "p"
    with pytest.raises(AgeError):
        public_key("".join(changed))
