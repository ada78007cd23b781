"""Other files of an untrusted run folder: settings, environment, metrics and lock."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostile_json import changed, said, spoiled
from maskling.data.prepare.resume import locked
from maskling.errors import CheckpointError, DataError
from maskling.train.outputs import MetricsLog
from maskling.train.recipe import Recipe
from maskling.train.run_folder import lock_run_folder, read_env, saved_recipe

CONFIG = Recipe().to_toml().encode()
LINES = b'{"kind": "step", "step": 1, "loss": 2.5}\n{"kind": "evaluation", "step": 2, "mlm_loss": 2.0, "best": true}\n'


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@given(content=spoiled(CONFIG, most=3) | st.binary(max_size=60))
def test_any_config_toml_is_read_or_refused_in_words(place: Path, content: bytes):
    (place / "config.toml").write_bytes(content)
    try:
        assert isinstance(saved_recipe(place, Recipe), Recipe)
    except CheckpointError as error:
        text = str(error)
    else:
        return
    assert "config.toml cannot be read" in text


ENV = {"threads": 2, "micro_batch_tokens": 8, "cores": 2, "torch": "2.13", "compute": "cpu"}


@given(tree=changed(ENV), raw=st.none() | st.binary(max_size=9))
def test_any_env_json_has_a_number_or_none(place: Path, tree: dict[str, object], raw: bytes | None):
    (place / "env.json").write_bytes(said(tree) if raw is None else raw)
    for name in ("threads", "micro_batch_tokens"):
        number = read_env(place, name)
        assert number is None or number > 0


@given(content=spoiled(LINES) | st.lists(changed(json.loads(LINES.split(b"\n")[0])).map(said)).map(b"\n".join))
def test_any_metrics_are_cut_back_to_whole_lines(place: Path, content: bytes):
    (place / "metrics.jsonl").write_bytes(content)
    MetricsLog(place / "metrics.jsonl", step=1)
    for line in (place / "metrics.jsonl").read_bytes().splitlines(keepends=True):
        assert line.endswith(b"\n")
        assert float(json.loads(line)["step"]) <= 1


@pytest.mark.parametrize("line", [b"[" * 100_000, b'{"step": 1' + b"0" * 400 + b"}", b'{"step": "x"}', b"\xff"])
def test_lines_that_are_none_are_dropped(tmp_path: Path, line: bytes):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(LINES + line + b"\n")
    MetricsLog(path, step=2)
    assert path.read_bytes() == LINES


def test_metrics_that_are_a_link_are_put_in_its_place_and_not_where_it_leads(tmp_path: Path):
    (tmp_path / "mine").write_text("precious\n")
    (tmp_path / "metrics.jsonl").symlink_to(tmp_path / "mine")
    MetricsLog(tmp_path / "metrics.jsonl", step=1)
    assert (tmp_path / "mine").read_text() == "precious\n"
    assert not (tmp_path / "metrics.jsonl").is_symlink()


def make(kind: str, path: Path) -> None:
    if kind == "link":
        path.symlink_to(path.parent / "mine")
    elif kind == "dead link":
        path.symlink_to(path.parent / "nowhere")
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)


@pytest.mark.parametrize("kind", ["link", "dead link", "folder", "pipe"])
def test_a_lock_that_is_no_plain_file_is_refused_and_nothing_is_written(tmp_path: Path, kind: str):
    (tmp_path / "mine").write_text("precious")
    make(kind, tmp_path / ".lock")
    with pytest.raises(CheckpointError, match=r"\.lock is a link or not a regular file"), lock_run_folder(tmp_path):
        pass
    with pytest.raises(DataError, match=r"\.lock is a link or not a regular file"), locked(tmp_path):
        pass
    assert (tmp_path / "mine").read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()


@given(content=st.binary(max_size=80))
def test_whatever_a_lock_says_is_one_short_line(place: Path, content: bytes):
    folder = place / "locked"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / ".lock").write_bytes(content)
    with (folder / ".lock").open("rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(CheckpointError, match="trained by another process") as caught, lock_run_folder(folder):
            pass
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < len(str(folder)) + 200
    with lock_run_folder(folder):
        assert (folder / ".lock").read_text() == f"process {os.getpid()}"
