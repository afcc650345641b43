"""The byte search: it finds every encoding, wherever it stands, and nothing else."""

import os
import socket
from base64 import b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import bytesearch
from gateway.bytesearch import CHUNK, FEW, SHORTEST, Finding, Needles, prove_absent, search_files, spellings

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


@pytest.mark.parametrize("others", [0, FEW])
def test_many_identifiers_are_found_as_a_few_are(others: int) -> None:
    """Few are looked for one after the other and many in a table; both find the same."""
    needles = Needles([("planted", TOKEN), *((f"other {n}", n.to_bytes(8, "big") * 4) for n in range(others))])
    data = b"".join(b"\x00 " + spelled for spelled in spellings(TOKEN).values())
    assert {encoding for _, encoding in needles.spelled_in(data)} == set(spellings(TOKEN))
    assert needles.spelled_in(data[:10]) == set()


def test_several_directories_are_searched_once_each(tmp_path: Path) -> None:
    """A directory inside another, or one that is gone, changes nothing; the number of files is told."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "copy").write_bytes(b"x" + TOKEN)
    (tmp_path / "log").write_bytes(ADDRESS.hex().encode())
    named = [("token", TOKEN), *((f"other {n}", bytes([n]) * 16) for n in range(5)), ("address", ADDRESS)]
    proof = prove_absent([tmp_path, tmp_path / "keys", tmp_path / "gone"], named)
    assert [(each.path.name, each.label) for each in proof.findings] == [("copy", "token"), ("log", "address")]
    assert (proof.files, proof.unread, proof.holds) == (2, [], False)
    assert prove_absent([tmp_path / "keys"], [("address", ADDRESS)]).holds


def test_identifiers_are_searched_for_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, memory holds the spellings of some of them."""
    monkeypatch.setattr(bytesearch, "TOGETHER", 2)
    (tmp_path / "file").write_bytes(TOKEN + ADDRESS)
    named = [("a", bytes(8)), ("b", bytes([1]) * 8), ("token", TOKEN), ("c", bytes([2]) * 8), ("address", ADDRESS)]
    assert {each.label for each in prove_absent([tmp_path], named).findings} == {"token", "address"}


def test_what_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of such a file nothing is known, so nothing is proven; the others are searched all the same."""
    (tmp_path / "secret").write_bytes(b"")
    (tmp_path / "file").write_bytes(TOKEN)
    whole = Path.open

    def refused(self: Path, mode: str) -> object:
        if self.name == "secret":
            raise PermissionError(13, "Permission denied", str(self))
        return whole(self, mode)

    monkeypatch.setattr(Path, "open", refused)
    proof = prove_absent([tmp_path], [("token", TOKEN)])
    assert proof.unread == [tmp_path / "secret"]
    assert [each.label for each in proof.findings] == ["token"]
    assert not proof.holds


def test_a_directory_that_cannot_be_listed_is_no_innocent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, and stops a search that cannot name it."""

    def refused(directory: object) -> object:
        raise PermissionError(13, "Permission denied", directory)

    monkeypatch.setattr(os, "scandir", refused)
    assert prove_absent([tmp_path], [("token", TOKEN)]).unread == [tmp_path]
    with pytest.raises(PermissionError):
        search_files(tmp_path, Needles([("token", TOKEN)]))
