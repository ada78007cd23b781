from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
import zstandard

from maskling.corpus.document import Source
from maskling.corpus.opening import READ_ERRORS, FileReport, open_bytes, open_seekable

DATA = b"".join(b"line %d of a text that is long enough to be compressed\n" % i for i in range(9001))
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.compress,
}


@pytest.mark.parametrize("suffix", COMPRESS)
def test_compressed_files_are_read_whole_and_in_any_order(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(COMPRESS[suffix](DATA))
    with open_bytes(Source(str(path))) as stream:
        assert stream.read() == DATA
    with open_seekable(Source(str(path))) as stream:
        stream.seek(1000)
        assert stream.read(100) == DATA[1000:1100]


@pytest.mark.parametrize(("rest", "notes"), [(b"garbage", 1), (b"x", 1), (b"\0" * 700, 0)])
def test_bytes_after_a_gzip_file_are_ignored_and_the_text_is_kept(tmp_path: Path, rest: bytes, notes: int) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(DATA) + rest)
    report = FileReport("a.txt.gz")
    with open_bytes(Source(str(path)), report) as stream:
        assert stream.read() == DATA
    assert report.notes.total() == notes


@pytest.mark.parametrize("suffix", [suffix for suffix in COMPRESS if suffix])
def test_two_compressed_files_in_one_are_read_both(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(COMPRESS[suffix](DATA) + COMPRESS[suffix](b"the end"))
    with open_bytes(Source(str(path))) as stream:
        assert stream.read() == DATA + b"the end"


@pytest.mark.parametrize("suffix", [suffix for suffix in COMPRESS if suffix])
@pytest.mark.parametrize("damage", ["cut", "changed", "not compressed at all"])
def test_damage_is_an_error_never_a_shorter_text(tmp_path: Path, suffix: str, damage: str) -> None:
    path = tmp_path / f"a.txt{suffix}"
    data = bytearray(COMPRESS[suffix](DATA))
    if damage == "cut":
        del data[len(data) * 2 // 3 :]
    elif damage == "changed":
        data[len(data) // 2] ^= 0xFF
        data[len(data) // 3] ^= 0xFF
    else:
        data = bytearray(b"plain words")
    path.write_bytes(data)
    if damage == "changed" and suffix == ".zst":
        return  # frames carry no checksum unless their writer asked for one
    with pytest.raises(READ_ERRORS), open_bytes(Source(str(path))) as stream:
        stream.read()


def test_addresses_are_opened_by_fsspec_and_decompressed() -> None:
    fsspec.filesystem("memory").pipe("/opening/a.txt.gz", gzip.compress(DATA))
    with open_bytes(Source("memory://opening/a.txt.gz")) as stream:
        assert stream.read() == DATA
