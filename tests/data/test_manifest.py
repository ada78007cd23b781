"""A manifest is read whole and checked, or refused in one line; it never leads out of its folder."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskling.data.manifest import MANIFEST, Manifest, dtype_for, load_manifest, parse_manifest
from maskling.errors import DataError

SUM = "0123456789abcdef" * 2
SHARD = {
    "name": "train-00000",
    "documents": 3,
    "sentences": 7,
    "tokens": 31,
    "checksums": {"tokens": SUM, "words": SUM, "sentences": SUM, "documents": SUM},
}
WHOLE = {
    "kind": "maskling shards",
    "format_version": 1,
    "created_by": "maskling 0.1.0",
    "vocab_size": 101,
    "dtype": "uint16",
    "tokenizer": SUM,
    "unigram_entropy": 3.5,
    "counts": SUM,
    "splits": {"train": [SHARD], "validation": []},
    "text": {"read": 5, "kept": 3, "rejected": {"short": 2}, "bad_files": [{"name": "a.gz", "problem": "broken"}]},
    "made_from": {
        "settings": {"corpus": {"dedup": "document"}},
        "sources": {"count": 1, "bytes": 5, "fingerprint": SUM, "listed": [{"name": "a.gz", "bytes": 5}]},
    },
}


def parsed(tree: object) -> Manifest:
    return parse_manifest(json.dumps(tree).encode(), Path("prepared/manifest.json"))


def changed(path: str, value: object) -> dict:
    tree = copy.deepcopy(WHOLE)
    *above, last = path.split(".")
    inner: dict | list = tree
    for key in above:
        inner = inner[int(key)] if isinstance(inner, list) else inner[key]
    inner[last] = value
    return tree


def test_what_is_written_is_read_back_the_same(tmp_path: Path):
    manifest = parsed(WHOLE)
    manifest.write(tmp_path)
    assert load_manifest(tmp_path) == manifest
    assert manifest.shards("train")[0].tokens == 31
    assert manifest.shards("validation") == ()


def test_a_field_added_later_does_not_matter():
    assert parsed({**WHOLE, "added_in_2031": [1, {}]}) == parsed(WHOLE)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("splits.train.0.name", "../../secrets", "splits.train.0.name"),
        ("splits.train.0.name", "/etc/passwd", "splits.train.0.name"),
        ("splits.train.0.name", "a\n", "splits.train.0.name"),
        ("splits.train.0.name", "a\x00b", "splits.train.0.name"),
        ("splits.train.0.name", "..", "splits.train.0.name"),
        ("splits.train.0.tokens", -1, "splits.train.0.tokens"),
        ("splits.train.0.tokens", 1 << 60, "splits.train.0.tokens"),
        ("splits.train.0.tokens", True, "splits.train.0.tokens"),
        ("splits.train.0.tokens", "31", "splits.train.0.tokens"),
        ("splits.train.0.checksums.words", "", "splits.train.0.checksums.words"),
        ("splits.train", [SHARD, SHARD], "two shards have the same name"),
        ("splits.validation", [SHARD], "two shards have the same name"),
        ("vocab_size", 0, "vocab_size"),
        ("vocab_size", 70_000, "uint16 does not match a vocabulary of 70000"),
        ("dtype", "object", "dtype"),
        ("unigram_entropy", -1.0, "unigram_entropy"),
        ("format_version", 2, "format version 2"),
        ("format_version", True, "format version"),
        ("format_version", None, "format version"),
        ("kind", "something else", "not the manifest of a prepared folder"),
    ],
)
def test_a_hostile_value_is_named_with_the_file(path: str, value: object, said: str):
    with pytest.raises(DataError) as caught:
        parsed(changed(path, value))
    assert said in str(caught.value)
    assert "prepared/manifest.json" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 200_000, b'{"a":' * 200_000, b"NaN"])
def test_bytes_that_are_not_a_manifest_are_refused(raw: bytes):
    with pytest.raises(DataError):
        parse_manifest(raw, Path("manifest.json"))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from(sorted(WHOLE)), below, max_size=3),
    max_leaves=8,
)


@st.composite
def damaged(draw: st.DrawFn) -> dict:
    """A whole manifest with a few places, at any depth, replaced by anything or taken out."""
    tree = copy.deepcopy(WHOLE)
    for _ in range(draw(st.integers(1, 3))):
        inner: dict | list = tree
        while inner:
            key = draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner))))
            if isinstance(inner[key], dict | list) and inner[key] and draw(st.booleans()):
                inner = inner[key]
                continue
            if draw(st.booleans()):
                inner[key] = draw(values)
            else:
                del inner[key]
            break
    return tree


@given(tree=damaged())
def test_a_damaged_manifest_is_refused_or_sound(tree: dict):
    check_refused_or_sound(json.dumps(tree).encode())


@given(st.binary(max_size=200) | values.map(lambda tree: json.dumps(tree).encode()))
def test_anything_at_all_is_refused(raw: bytes):
    with pytest.raises(DataError):
        parse_manifest(raw, Path("manifest.json"))


@given(place=st.integers(0, len(json.dumps(WHOLE)) - 1), byte=st.integers(0, 255))
def test_a_changed_byte_is_refused_or_sound(place: int, byte: int):
    raw = bytearray(json.dumps(WHOLE).encode())
    raw[place] = byte
    check_refused_or_sound(bytes(raw))


def check_refused_or_sound(raw: bytes) -> None:
    try:
        manifest = parse_manifest(raw, Path("manifest.json"))
    except DataError:
        return
    for shard in (*manifest.splits.train, *manifest.splits.validation):
        assert Path(shard.name).name == shard.name
        assert shard.name.isascii()
        assert 0 <= shard.tokens < 1 << 48
    assert manifest.dtype == dtype_for(manifest.vocab_size)
    assert parse_manifest(json.dumps(manifest.model_dump(mode="json")).encode(), Path("again")) == manifest


def test_missing_and_unfinished_folders_have_different_errors(tmp_path: Path):
    with pytest.raises(DataError, match=r"nowhere is not a folder; make one with: maskling prepare"):
        load_manifest(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"has no manifest\.json; run 'maskling prepare'"):
        load_manifest(tmp_path)


def test_a_manifest_that_is_not_a_file_is_refused(tmp_path: Path):
    (tmp_path / MANIFEST).mkdir()
    with pytest.raises(DataError, match="is not a file"):
        load_manifest(tmp_path)


def test_a_huge_manifest_is_not_read(tmp_path: Path):
    with (tmp_path / MANIFEST).open("wb") as file:
        file.truncate(1 << 40)  # sparse: reading it would take all memory
    with pytest.raises(DataError, match="too large"):
        load_manifest(tmp_path)


def test_ids_up_to_65_534_take_two_bytes():
    assert dtype_for(65_535) == "uint16"
    assert dtype_for(65_536) == "uint32"


def test_the_fingerprint_follows_the_tokens_and_not_the_notes():
    assert parsed(changed("created_by", "another")).fingerprint == parsed(WHOLE).fingerprint
    other = changed("splits.train.0.checksums.tokens", "f" * 32)
    assert parsed(other).fingerprint != parsed(WHOLE).fingerprint
    assert parsed(changed("tokenizer", "f" * 32)).fingerprint != parsed(WHOLE).fingerprint
