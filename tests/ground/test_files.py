"""A file or folder is complete or absent, whatever happens while it is written."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from maskling.files import (
    atomic_folder,
    atomic_write,
    checksum,
    fingerprint,
    recover_folder,
    remove_partial,
    url_refusal,
    write_json,
)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), atomic_write(path) as file:  # noqa: PT012 - the block is what fails
        file.write(b"new, but not")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_folder_leaves_the_old_one(tmp_path: Path):
    path = tmp_path / "model"
    with atomic_folder(path) as aside:
        (aside / "a").write_text("old")
    with pytest.raises(RuntimeError), atomic_folder(path) as aside:  # noqa: PT012 - the block is what fails
        (aside / "a").write_text("new")
        raise RuntimeError
    assert (path / "a").read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_json(tmp_path / "a.json", {})
    assert caught.value.filename == str(tmp_path / "a.json")
    with pytest.raises(OSError, match="No space left") as caught, atomic_folder(tmp_path / "model") as aside:
        write_json(aside / "config.json", {})
    assert caught.value.filename == str(tmp_path / "model" / "config.json")
    assert list(tmp_path.iterdir()) == []


def test_file_names_that_are_not_text_are_escaped_and_stay_distinct(tmp_path: Path):
    names = ["a\udcff", "a\udcfe", "a"]
    write_json(tmp_path / "a.json", names)
    assert json.loads((tmp_path / "a.json").read_text()) == names
    assert len({fingerprint(name) for name in names}) == 3


def test_a_new_folder_replaces_the_old_one_whole(tmp_path: Path):
    path = tmp_path / "model"
    for name in ("old", "new"):
        with atomic_folder(path) as aside:
            (aside / name).write_text(name)
    assert [file.name for file in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]


def test_files_of_a_folder_are_as_readable_as_the_folder(tmp_path: Path):
    with atomic_folder(tmp_path / "model") as aside:
        (aside / "weights").write_text("x")
        (aside / "weights").chmod(0o600)
    folder, file = (tmp_path / "model").stat().st_mode, (tmp_path / "model" / "weights").stat().st_mode
    assert file & 0o777 == folder & 0o666


def test_a_stop_between_the_two_renames_is_repaired(tmp_path: Path):
    old = tmp_path / "model.old"
    old.mkdir()
    (old / "a").write_text("kept")
    recover_folder(tmp_path / "model")
    assert (tmp_path / "model" / "a").read_text() == "kept"


def test_only_leftovers_of_a_killed_write_are_removed(tmp_path: Path):
    (tmp_path / "a.bin.77.partial").write_bytes(b"x")
    (tmp_path / "model.77.partial").mkdir()
    (tmp_path / "a.bin").write_bytes(b"y")
    remove_partial(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["a.bin"]


def test_checksums_detect_one_flipped_bit_and_fingerprints_ignore_the_order_of_keys(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(bytes(100_000))
    before = checksum(path)
    path.write_bytes(bytes(99_999) + b"\x01")
    assert checksum(path) != before
    assert fingerprint({"a": 1, "b": [1.5, None]}) == fingerprint({"b": [1.5, None], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})


def test_json_keeps_letters_of_every_script(tmp_path: Path):
    write_json(tmp_path / "a.json", {"text": "语言"})
    assert "语言" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"text": "语言"}


def test_urls_are_no_place_to_write_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for url in ("s3://bucket/x", "simplecache::s3://bucket/x", "file:///a", "s3://", "abfs+x://a"):
        for path in (url, Path(url)):
            assert "is a URL, and results are written to local paths" in (url_refusal(path) or "")
        with pytest.raises(OSError, match="is a URL"), atomic_write(Path(url)):
            pass
        with pytest.raises(OSError, match="is a URL"), atomic_folder(Path(url)):
            pass
    for path in ("x", "/a/b", "a:b/c", "C:/a", "a/s3:/b", "./x", "a b:/c"):
        assert url_refusal(path) is None
    assert list(tmp_path.iterdir()) == []
