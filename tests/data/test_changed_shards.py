"""A shard that changes under a run is an error in words: reading a map of a shorter file would be SIGBUS."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import toy_corpus
from maskling.data.shards import open_shards
from maskling.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return toy_corpus.write(tmp_path / "toy", documents=40)


@pytest.mark.parametrize("part", ["tokens", "words"])
@pytest.mark.parametrize("how", ["cut", "changed"])
def test_a_shard_that_changes_in_use_is_named(folder: Path, part: str, how: str):
    split = open_shards(folder).split("train")
    spans = np.array([0, 100]), np.array([10, 20])
    split.gather(*spans)
    path = next((folder / "shards").glob(f"train-*.{part}.npy"))
    if how == "cut":
        os.truncate(path, 130)
    else:
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        os.utime(path, ns=(1, 1))
    with pytest.raises(DataError, match=rf"{part}\.npy was changed or cut short"):
        split.gather(*spans)


def test_a_folder_that_is_deleted_in_use_stays_readable(folder: Path):
    split = open_shards(folder).split("train")
    before = split.gather(np.array([3]), np.array([9]))
    for path in (folder / "shards").iterdir():
        path.unlink()
    assert (split.gather(np.array([3]), np.array([9]))[0] == before[0]).all()
