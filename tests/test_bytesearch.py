"""The byte search: it finds every encoding, wherever it stands, and nothing else."""

import os
import socket
from base64 import b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import bytesearch
from gateway.bytesearch import CHUNK, SHORTEST, Finding, Needles, search_files, spellings

TOKEN = b"Zm9vYmFyLWJhei1xdXV4-_"
ADDRESS = bytes.fromhex("c4a1b2f3d4e5")
LINK = b"https://id.acme.example/m/" + TOKEN
ENCODINGS = [
    (raw, encoding, spelled)
    for raw in (TOKEN, ADDRESS, LINK, "smörgåsbord".encode())
    for encoding, spelled in spellings(raw).items()
]


@pytest.mark.parametrize(
    ("raw", "encoding", "spelled"), ENCODINGS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_finds_each_encoding(raw: bytes, encoding: str, spelled: bytes) -> None:
    """Whatever spelling is planted between other bytes, it is found, and named by label and encoding."""
    needles = Needles([("planted", raw)])
    assert ("planted", encoding) in needles.spelled_in(b"\x00\xff" + spelled + b"\x00")
    assert needles.find(b"\x00\xff" + spelled + b"\x00") == {"planted"}


@pytest.mark.parametrize(
    "text",
    [
        "C4:A1:B2:F3:D4:E5",
        "c4:a1:b2:f3:d4:e5",
        "c4a1b2f3d4e5",
        "C4A1B2F3D4E5",
        "e5d4f3b2a1c4",
        "dev_C4_A1_B2_F3_D4_E5",
        '{"mac":"xKGy89Tl"}',
        "AcShsvPU5Q==",
        "%C4%A1%B2%F3%D4%E5",
        "%c4%a1%b2%f3%d4%e5",
    ],
)
def test_finds_an_address_as_programs_write_it(text: str) -> None:
    """A MAC address is found in the spellings that logs, BlueZ and JSON use; these stand here literally."""
    assert Needles([("address", ADDRESS)]).find(text.encode()) == {"address"}


def test_finds_a_link_as_programs_write_it() -> None:
    """A link is found percent-encoded in a query, with JSON's escaped slashes, and as UTF-16."""
    needles = Needles([("link", b"https://id.acme.example/m/abc")])
    for text in ("?u=https%3A%2F%2Fid.acme.example%2Fm%2Fabc", "?u=https%3a%2f%2fid.acme.example%2fm%2fabc"):
        assert needles.find(text.encode()) == {"link"}
    assert needles.find(rb'"https:\/\/id.acme.example\/m\/abc"') == {"link"}
    assert needles.find("https://id.acme.example/m/abc".encode("utf-16")) == {"link"}


@given(st.binary(min_size=SHORTEST, max_size=64), st.binary(max_size=9), st.binary(max_size=9))
def test_base64_of_a_text_around_it_betrays_it(raw: bytes, before: bytes, behind: bytes) -> None:
    """An identifier inside a longer text is found after base64 of the whole, whatever its alignment."""
    encoded = b64encode(before + raw + behind)
    assert Needles([("it", raw)]).find(encoded) == {"it"}


@given(st.binary(max_size=4000))
def test_finds_nothing_in_other_bytes(data: bytes) -> None:
    """Bytes that do not hold the identifier give no finding."""
    assert Needles([("token", TOKEN), ("address", ADDRESS)]).find(data) == set()


def test_tells_needles_apart() -> None:
    """Two identifiers with the same beginning are two; only the one that is there is found."""
    needles = Needles([("one", b"abcdefgh-1"), ("two", b"abcdefgh-2")])
    assert needles.find(b"..abcdefgh-2..") == {"two"}


def test_refuses_a_needle_that_proves_nothing() -> None:
    """An identifier of a few bytes would be found by chance; the error names its label only."""
    with pytest.raises(ValueError, match="short: 5 bytes"):
        Needles([("short", b"12345")])


@pytest.mark.parametrize("encoding", ["raw", "UTF-16 LE", "lower colon hex", "base64 at 1", "percent"])
@pytest.mark.parametrize("before", [0, 1, 5, 12])
def test_finds_across_the_border_of_two_chunks(tmp_path: Path, encoding: str, before: int) -> None:
    """What lies across two reads of a file is found, however it is cut."""
    spelled = spellings(LINK)[encoding]
    file = tmp_path / "capture.db-wal"
    file.write_bytes(bytes(CHUNK - before) + spelled + b"rest")
    assert Finding(file, "link", encoding) in search_files(tmp_path, Needles([("link", LINK)]))


def test_searches_the_whole_directory(tmp_path: Path) -> None:
    """Files at any depth are searched, hidden ones too; FIFOs, sockets and links to elsewhere do not stop it."""
    deep = tmp_path / "a" / ".b" / "log"
    deep.parent.mkdir(parents=True)
    deep.write_bytes(b"x" + ADDRESS)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "sock"))
        assert search_files(tmp_path, Needles([("address", ADDRESS)])) == [Finding(deep, "address", "raw")]


def test_passes_over_a_file_that_goes_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write-ahead log that is deleted between listing and reading is no error."""
    monkeypatch.setattr(bytesearch, "_files", lambda directory: [directory / "capture.db-wal"])
    assert search_files(tmp_path, Needles([("address", ADDRESS)])) == []
