"""A file of vectors that is filled piece by piece, whatever stops it in between."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from maskling.errors import DataError
from maskling.infer.vector_file import Done, identity_of, vector_file

VECTORS = np.arange(28, dtype=np.float32).reshape(7, 4)
MADE_FROM = {"model": "one", "layer": None}


class StoppedError(Exception):
    """Ends a block in the middle."""


def fill(path: Path, upto: int, made_from: dict[str, object] = MADE_FROM, texts: int = 7) -> Done:
    """Go on to `upto` and stop there; returns what was there before."""
    with vector_file(path, texts, 4, made_from) as filling:
        before = filling.done
        filling.add(VECTORS[before.texts : upto], 1)
        if upto < texts:
            raise StoppedError
    return before


def stop_at(path: Path, upto: int) -> None:
    with pytest.raises(StoppedError):
        fill(path, upto)


def test_a_stopped_file_goes_on_and_is_in_place_only_when_it_is_whole(tmp_path: Path):
    path = tmp_path / "some" / "vectors.npy"
    stop_at(path, 2)
    stop_at(path, 5)
    assert not path.exists()
    assert fill(path, 7) == Done(5, cut=2)
    assert np.array_equal(np.load(path), VECTORS)
    assert [one.name for one in path.parent.iterdir()] == ["vectors.npy"]


def test_what_was_there_stays_until_the_new_is_whole(tmp_path: Path):
    path = tmp_path / "vectors.npy"
    path.write_bytes(b"old")
    stop_at(path, 3)
    assert path.read_bytes() == b"old"
    fill(path, 7)
    assert np.array_equal(np.load(path), VECTORS)


@pytest.mark.parametrize("made_from", [{"model": "another", "layer": None}, {"model": "one"}])
def test_vectors_of_something_else_are_not_gone_on_with(tmp_path: Path, made_from: dict[str, object]):
    stop_at(tmp_path / "vectors.npy", 3)
    assert fill(tmp_path / "vectors.npy", 7, made_from) == Done()


def test_more_texts_are_something_else(tmp_path: Path):
    stop_at(tmp_path / "vectors.npy", 3)
    assert fill(tmp_path / "vectors.npy", 5, texts=5) == Done()
    assert np.array_equal(np.load(tmp_path / "vectors.npy"), VECTORS[:5])


def test_a_write_that_was_cut_short_is_made_again(tmp_path: Path):
    path = tmp_path / "vectors.npy"
    stop_at(path, 5)
    kept = tmp_path / "vectors.npy.making" / "vectors.npy"
    with kept.open("ab") as file:  # half a row that nobody has counted
        file.write(b"half")
    assert fill(path, 7) == Done(5, 1)
    assert np.array_equal(np.load(path), VECTORS)


@pytest.mark.parametrize("damage", ["short", "header", "note", "no note", "no file"])
def test_what_is_damaged_is_begun_anew(tmp_path: Path, damage: str):
    path = tmp_path / "vectors.npy"
    stop_at(path, 5)
    folder = tmp_path / "vectors.npy.making"
    kept, note = folder / "vectors.npy", folder / "done.json"
    raw = kept.read_bytes()
    if damage == "short":
        kept.write_bytes(raw[:-1])
    elif damage == "header":
        kept.write_bytes(b"X" + raw[1:])
    elif damage == "note":
        note.write_text(json.dumps([5]))
    else:
        (note if damage == "no note" else kept).unlink()
    assert fill(path, 7) == Done()
    assert np.array_equal(np.load(path), VECTORS)


def test_two_do_not_write_the_same_file(tmp_path: Path):
    path = tmp_path / "vectors.npy"
    with pytest.raises(DataError, match="being written by another process"), vector_file(path, 7, 4, MADE_FROM):
        fill(path, 7)
    stop_at(path, 2)  # a lock is given back


def test_texts_are_told_apart_by_where_they_end():
    assert identity_of(["ab", "c"]) != identity_of(["a", "bc"])
    assert identity_of(["\udcff"]) == identity_of(["\udcff"])


def test_changed_vectors_are_made_again(tmp_path: Path):
    path = tmp_path / "vectors.npy"
    stop_at(path, 5)
    kept = tmp_path / "vectors.npy.making" / "vectors.npy"
    content = bytearray(kept.read_bytes())
    content[-20:] = bytes(20)
    kept.write_bytes(content)
    assert fill(path, 7) == Done()
    assert np.array_equal(np.load(path), VECTORS)


def test_a_stopped_file_of_an_earlier_version_goes_on(tmp_path: Path):
    path = tmp_path / "vectors.npy"
    stop_at(path, 5)
    (tmp_path / "vectors.npy.making" / "done.json").write_text('{"texts": 5, "cut": 1}')
    assert fill(path, 7) == Done(5, 1)
    assert np.array_equal(np.load(path), VECTORS)


@pytest.mark.parametrize(
    "done", ["[" * 100_000, '{"texts": -5}', '{"texts": 8}', '{"texts": "5"}', "null", '{"cut": 9}']
)
def test_a_count_that_cannot_be_is_none(tmp_path: Path, done: str):
    path = tmp_path / "vectors.npy"
    stop_at(path, 5)
    (tmp_path / "vectors.npy.making" / "done.json").write_text(done)
    assert fill(path, 7) == Done()
    assert np.array_equal(np.load(path), VECTORS)
