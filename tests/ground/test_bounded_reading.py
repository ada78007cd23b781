"""Settings files of a stranger's folder: read within bounds, or refused in one line."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from maskling.files import read_json, read_toml

Read = Callable[[Path], object]


def refusal(read: Read, path: Path) -> str:
    with pytest.raises(ValueError, match=r".") as error:
        read(path)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[" * 100_000, "nested"),
        (b"[" * 65 + b"]" * 65, "nested"),
        (b'{"a":' * 70 + b"1" + b"}" * 70, "nested"),
        (b" " * ((1 << 20) + 1), "more than 1,048,576 bytes"),
        (b'"\xff"', "not UTF-8"),
        (b"{", "Expecting"),
        (b"1" * 5000, "digits"),
    ],
)
def test_json_without_bounds_is_refused(tmp_path: Path, content: bytes, words: str):
    (tmp_path / "a.json").write_bytes(content)
    assert words in refusal(read_json, tmp_path / "a.json")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"a=" + b"[" * 100_000, "nested"), (b"a=" + b"[" * 70 + b"]" * 70, "nested"), (b"a=\xff", "not UTF-8")],
)
def test_toml_without_bounds_is_refused(tmp_path: Path, content: bytes, words: str):
    (tmp_path / "a.toml").write_bytes(content)
    assert words in refusal(read_toml, tmp_path / "a.toml")


@pytest.mark.parametrize("read", [read_json, read_toml])
def test_pipes_and_devices_are_refused_at_once(tmp_path: Path, read: Read):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), Path("/dev/null")):
        assert "pipe or a device" in refusal(read, path)


def test_what_is_within_bounds_is_read(tmp_path: Path):
    (tmp_path / "a.json").write_text("[" * 64 + "]" * 64)
    read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text('{"a": [1, {"b": null}]}')
    assert read_json(tmp_path / "a.json") == {"a": [1, {"b": None}]}
    (tmp_path / "a.toml").write_text('[a]\nb = [1, "é"]\n')
    assert read_toml(tmp_path / "a.toml") == {"a": {"b": [1, "é"]}}
