"""What was written is read back, span by span; what was damaged is named."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskling.data.manifest import SHARD_ARRAYS, Manifest, ShardArrays, Splits, dtype_for, shard_file, write_shard
from maskling.data.npy import map_array, write_array
from maskling.data.shards import COUNTS, MappedShards, ShardFiles, Split, in_memory, open_shards
from maskling.errors import DataError

# Documents of sentences of ids; a document and a sentence may be empty.
corpora = st.lists(st.lists(st.lists(st.integers(0, 40), max_size=6), max_size=4), min_size=1, max_size=7)


def prepared(folder: Path, train: list[ShardArrays], validation: list[ShardArrays], vocab_size: int) -> Manifest:
    """Write a prepared folder (without a tokenizer) from arrays."""
    counts = sum((np.bincount(shard.tokens, minlength=vocab_size) for shard in train), np.zeros(vocab_size, np.int64))
    manifest = Manifest(
        created_by="a test",
        vocab_size=vocab_size,
        dtype=dtype_for(vocab_size).name,
        tokenizer="0" * 32,
        unigram_entropy=1.0,
        counts=write_array(folder / COUNTS, counts.astype(np.int64)),
        splits=Splits(
            train=tuple(write_shard(folder, f"train-{i}", shard) for i, shard in enumerate(train)),
            validation=tuple(write_shard(folder, f"validation-{i}", shard) for i, shard in enumerate(validation)),
        ),
    )
    manifest.write(folder)
    return manifest


def shard(*documents: list[list[int]], vocab_size: int = 101) -> ShardArrays:
    sentences = [sentence for document in documents for sentence in document]
    tokens = np.array([token for sentence in sentences for token in sentence], np.int64)
    return ShardArrays.of(
        vocab_size,
        tokens=tokens,
        word_starts=tokens % 2 == 0,
        sentences=[len(sentence) for sentence in sentences],
        documents=[len(document) for document in documents],
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    train = [shard([[3, 5, 8], [13]], [[21, 34, 55, 89]]), shard([[2], [4, 6], [10, 12, 14, 16]])]
    prepared(tmp_path, train, [shard([[1, 1, 2]])], vocab_size=101)
    return tmp_path


def test_a_folder_is_read_back_with_offsets_that_run_on_from_shard_to_shard(folder: Path):
    shards = open_shards(folder, verify=True)
    split = shards.split("train")
    assert (split.num_tokens, split.num_sentences, split.num_documents) == (15, 6, 3)
    first, second = split.blocks()
    assert (first.first_token, first.first_sentence, first.first_document) == (0, 0, 0)
    assert (second.first_token, second.first_sentence, second.first_document) == (8, 3, 2)
    assert first.sentences.tolist() == [0, 3, 4, 8]
    assert first.documents.tolist() == [0, 2, 3]
    assert second.sentences.tolist() == [0, 1, 3, 7]
    assert second.documents.tolist() == [0, 3]
    assert second.tokens.tolist() == [2, 4, 6, 10, 12, 14, 16]
    assert first.word_starts().tolist() == [False, False, True, False, False, True, False, False]
    assert shards.split("validation").num_tokens == 3
    assert shards.counts[[1, 2, 3, 89]].tolist() == [0, 1, 1, 1]
    assert shards.counts.shape == (101,)


def test_spans_come_in_the_order_asked_from_any_shard(folder: Path):
    tokens, words = (
        open_shards(folder).split("train").gather(np.array([9, 0, 8, 4, 15, 3]), np.array([3, 3, 1, 4, 0, 1]))
    )
    assert tokens.tolist() == [4, 6, 10, 3, 5, 8, 2, 21, 34, 55, 89, 13]
    assert words.tolist() == [token % 2 == 0 for token in tokens.tolist()]
    assert tokens.dtype == np.uint16
    assert words.dtype == bool


@given(documents=corpora, per_shard=st.integers(1, 3), data=st.data())
def test_gather_equals_slicing(documents: list, per_shard: int, data: st.DataObject):
    words = [[[token % 3 == 0 for token in sentence] for sentence in document] for document in documents]
    split = in_memory(documents, words, documents_per_shard=per_shard)
    flat = [token for document in documents for sentence in document for token in sentence]
    spans = []
    for block in split.blocks():
        end = block.first_token + len(block.tokens)
        start = st.integers(block.first_token, end)
        spans += [
            (first, last) for first, last in data.draw(st.lists(st.tuples(start, start), max_size=4)) if first <= last
        ]
    spans = data.draw(st.permutations(spans))
    tokens, starts = split.gather(np.array([a for a, _ in spans]), np.array([b - a for a, b in spans]))
    assert tokens.tolist() == [token for a, b in spans for token in flat[a:b]]
    assert starts.tolist() == [token % 3 == 0 for token in tokens.tolist()]


@given(documents=corpora, per_shard=st.integers(1, 3))
def test_blocks_tell_the_documents_back(documents: list, per_shard: int):
    split = in_memory(documents, documents_per_shard=per_shard)
    told = []
    for block in split.blocks():
        sentences = [block.tokens[a:b].tolist() for a, b in zip(block.sentences, block.sentences[1:], strict=False)]
        told += [sentences[a:b] for a, b in zip(block.documents, block.documents[1:], strict=False)]
        assert block.word_starts().all()
    assert told == documents
    assert split.num_documents == len(documents)
    assert split.num_sentences == sum(map(len, documents))


def test_a_span_beyond_its_shard_is_refused(folder: Path):
    split = open_shards(folder).split("train")
    for start, length in ((7, 2), (14, 2), (-1, 1), (15, 1), (0, -1)):
        with pytest.raises(IndexError):
            split.gather(np.array([start]), np.array([length]))


def test_no_spans_and_no_shards_give_nothing():
    for split in (Split([]), in_memory([[[1, 2]]])):
        tokens, words = split.gather(np.zeros(0, np.int64), np.zeros(0, np.int64))
        assert len(tokens) == len(words) == 0
    assert list(Split([]).blocks()) == []


def test_large_vocabularies_keep_every_id(tmp_path: Path):
    prepared(tmp_path, [shard([[65_534, 65_535, 69_999]], vocab_size=70_000)], [], vocab_size=70_000)
    split = open_shards(tmp_path, verify=True).split("train")
    assert split.gather(np.array([0]), np.array([3]))[0].tolist() == [65_534, 65_535, 69_999]


def test_a_split_goes_to_another_process_as_names(folder: Path):
    split = open_shards(folder).split("train")
    split.gather(np.array([0]), np.array([1]))
    sent = pickle.dumps(split)
    assert len(sent) < 2500
    assert pickle.loads(sent).gather(np.array([8]), np.array([2]))[0].tolist() == [2, 4]


def test_only_so_many_files_stay_open(folder: Path):
    manifest = open_shards(folder).manifest
    mapped = MappedShards([ShardFiles(folder, info, 101) for info in manifest.splits.train * 5], files_max=3)
    open_files = Path("/proc/self/fd")
    if not open_files.exists():
        pytest.skip("needs /proc to count open files")
    before = len(list(open_files.iterdir()))
    assert [len(mapped.arrays(place).tokens) for place in range(10)] == [8, 7] * 5
    assert len(list(open_files.iterdir())) - before <= 3


def test_blocks_can_be_kept_without_their_files(folder: Path):
    blocks = list(open_shards(folder).split("train").blocks())
    assert len(pickle.dumps(blocks)) < 3000
    assert [block.sentences.tolist() for block in pickle.loads(pickle.dumps(blocks))] == [[0, 3, 4, 8], [0, 1, 3, 7]]


def test_in_memory_numbers_are_those_of_the_example():
    split = in_memory([[[5, 6], [7]], [], [[8, 9]]], documents_per_shard=2)
    assert [block.documents.tolist() for block in split.blocks()] == [[0, 2, 2], [0, 1]]


# ---- damage


@pytest.mark.parametrize("part", SHARD_ARRAYS)
def test_a_flipped_bit_is_found_by_verify(folder: Path, part: str):
    path = shard_file(folder, "train-1", part)
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1 << 3
    path.write_bytes(raw)
    with pytest.raises(DataError, match=rf"train-1\.{part}\.npy is damaged.*delete the folder and prepare it again"):
        open_shards(folder, verify=True)


@pytest.mark.parametrize("part", SHARD_ARRAYS)
@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "longer", "not numpy", "folder"])
def test_a_file_that_is_not_whole_is_found_by_opening(folder: Path, part: str, damage: str):
    path = shard_file(folder, "train-0", part)
    raw = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        path.write_bytes({"empty": b"", "truncated": raw[:-1], "longer": raw + b"\0", "not numpy": b"x" * 300}[damage])
    with pytest.raises(DataError, match=rf"train-0\.{part}\.npy"):
        open_shards(folder)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<u2', 'fortran_order': False, 'shape': (1000000000000,), }",
        "{'descr': '<u2', 'fortran_order': False, 'shape': (8, 1), }",
        "{'descr': '<u2', 'fortran_order': True, 'shape': (8,), }",
        "{'descr': '<u4', 'fortran_order': False, 'shape': (8,), }",
        "{'descr': '>u2', 'fortran_order': False, 'shape': (8,), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (8,), }",
        "{'descr': [('a', '<u2')], 'fortran_order': False, 'shape': (8,), }",
        "{'descr': '<u2', 'fortran_order': False, 'shape': (-8,), }",
        "{'descr': '<u2', 'fortran_order': False, 'shape': 8, }",
        "{'descr': '<u2'}",
        "__import__('os').abort()",
        "(" * 900,
        "9**9**9",
    ],
)
def test_a_lying_header_is_refused(tmp_path: Path, header: str):
    path = tmp_path / "a.npy"
    body = header.encode().ljust(118)
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body + bytes(16))
    with pytest.raises(DataError, match=r"a\.npy"):
        map_array(path, np.dtype(np.uint16), 8)


@given(place=st.integers(0, 127), byte=st.integers(0, 255))
def test_a_changed_byte_in_a_header_is_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int
):
    path = tmp_path_factory.mktemp("arrays") / "a.npy"
    write_array(path, np.arange(8, dtype=np.uint16))
    raw = bytearray(path.read_bytes())
    raw[place] = byte
    path.write_bytes(raw)
    try:
        found = map_array(path, np.dtype(np.uint16), 8)
    except DataError:
        return
    assert found.tolist() == list(range(8))


@pytest.mark.parametrize(
    ("part", "values"),
    [("sentences", [0, 5, 3, 8]), ("sentences", [0, 3, 9, 8]), ("sentences", [1, 3, 4, 8]), ("sentences", [0, 3, 4, 7]),
     ("documents", [0, 4, 3]), ("documents", [0, 2, 4]), ("documents", [0, -2, 3])],
)  # fmt: skip
def test_offsets_out_of_order_never_reach_the_plan(folder: Path, part: str, values: list[int]):
    write_array(shard_file(folder, "train-0", part), np.array(values))
    split = open_shards(folder).split("train")
    with pytest.raises(DataError, match=rf"train-0\.{part}\.npy is damaged"):
        list(split.blocks())


def test_ids_outside_the_vocabulary_are_found_by_verify(tmp_path: Path):
    prepared(tmp_path, [], [shard([[3, 150]], vocab_size=101)], vocab_size=101)
    with pytest.raises(DataError, match=r"validation-0\.tokens\.npy is damaged: it holds an id"):
        open_shards(tmp_path, verify=True)


def test_counts_that_are_not_the_shards_are_found(folder: Path):
    counts = np.array(open_shards(folder).counts)
    counts[7] += 1
    write_array(folder / COUNTS, counts)
    with pytest.raises(DataError, match=r"counts\.npy is damaged"):
        _ = open_shards(folder).counts
    manifest = open_shards(folder).manifest
    manifest.model_copy(update={"counts": write_array(folder / COUNTS, counts)}).write(folder)
    with pytest.raises(DataError, match=r"counts\.npy does not match the tokens"):
        open_shards(folder, verify=True)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux says what is mapped")
def test_blocks_that_were_passed_are_unmapped(folder: Path):
    def mapped() -> int:
        return Path("/proc/self/maps").read_text().count(str(folder))

    split = open_shards(folder).split("train")
    before, counts = mapped(), []
    for block in split.blocks():
        assert block.tokens.sum() > 0
        counts.append(mapped() - before)
    assert len(counts) > 1
    assert max(counts) == counts[0] == 4
    assert mapped() == before


def test_writing_twice_gives_the_same_bytes(tmp_path: Path):
    infos = [write_shard(tmp_path / name, "train-0", shard([[3, 5], [8]])) for name in ("a", "b")]
    assert infos[0] == infos[1]
    for part in SHARD_ARRAYS:
        a, b = (shard_file(tmp_path / name, "train-0", part) for name in ("a", "b"))
        assert a.read_bytes() == b.read_bytes()
