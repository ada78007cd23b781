"""A search finds what comparing every text with every query finds; an index on disk is whole or not there."""

from __future__ import annotations

import json
import os
import resource
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskling.errors import DataError, ModelError, SettingsError
from maskling.exporting.cards import CardFacts
from maskling.exporting.folder import export_model
from maskling.infer import index as index_module
from maskling.infer import search
from maskling.infer.index import Index, Indexed, build_index
from maskling.infer.model import Model, load
from maskling.model.sentence_transformers import read_pooling
from small_models import bert, modern, wordpiece

TEXTS = [
    "the quick brown fox jumps over the lazy dog",
    "a gift of paris",
    "the dog sees the fox",
    "paris sees a fox",
    "so quick , so lazy !",
    "a gift in paris , a dog in paris",
    "the fox",
    "over the brown dog jumps the lazy fox .",
]
QUERIES = ["a lazy dog", "paris", "the fox"]


@pytest.fixture(scope="module", params=[bert, modern], ids=["bert", "modern"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("model")
    tokenizer = wordpiece(place / "tok")
    export_model(request.param(tokenizer), tokenizer, place / "model", CardFacts(seq_length=40))
    return place / "model"


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load(folder, device="cpu")


def slow(model: Model, texts: list[str], query: str, top_k: int, pooling: str = "mean") -> list[tuple[str, float]]:
    """Every text with its cosine, one at a time."""
    asked = model.embed(query, pooling=pooling).astype(np.float64)
    found = []
    for text in texts:
        vector = model.embed(text, pooling=pooling).astype(np.float64)
        found.append((text, float(vector @ asked / np.linalg.norm(vector) / np.linalg.norm(asked))))
    return sorted(found, key=lambda one: -one[1])[:top_k]


def same(hits: list, expected: list[tuple[str, float]]) -> bool:
    return [hit.text for hit in hits] == [text for text, _ in expected] and np.allclose(
        [hit.score for hit in hits], [score for _, score in expected], atol=1e-5
    )


@pytest.mark.parametrize("top_k", [1, 3, 99])
def test_texts_in_memory(model: Model, top_k: int):
    for query in QUERIES:
        assert same(model.search(TEXTS, query, top_k=top_k), slow(model, TEXTS, query, top_k))
    together = model.search(TEXTS, QUERIES, top_k=top_k)
    alone = [model.search(TEXTS, query, top_k=top_k) for query in QUERIES]
    assert [[hit.id for hit in hits] for hits in together] == [[hit.id for hit in hits] for hits in alone]
    assert model.search(TEXTS, "the fox", top_k=1)[0].id == "6"


@given(data=st.data(), rows=st.integers(1, 7), queries=st.integers(1, 5), top_k=st.integers(1, 12))
def test_the_largest_products_are_found_in_any_blocks(data: st.DataObject, rows: int, queries: int, top_k: int):
    numbers = st.integers(-3, 3)  # so that there are ties
    table = np.array(data.draw(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=20)), dtype=np.float32)
    asked = np.array(
        data.draw(st.lists(st.tuples(numbers, numbers), min_size=queries, max_size=queries)), dtype=np.float32
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(table)), max_size=3)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "_ROWS", rows)
        patch.setattr(search, "_QUERIES", 2)
        found, scores = search.nearest(asked, np.split(table, cuts), top_k)
    products = asked @ table.T
    for row in range(queries):
        expected = sorted(range(len(table)), key=lambda number: (-products[row, number], number))[:top_k]
        assert found[row].tolist() == expected
        assert scores[row].tolist() == products[row, expected].tolist()


def index_of(model: Model, tmp_path: Path, part_texts: int = 3) -> Path:
    (tmp_path / "texts.txt").write_text("\n\n".join(TEXTS) + "\n", encoding="utf-8")
    build_index(model, [str(tmp_path / "texts.txt")], tmp_path / "index", part_texts)
    return tmp_path / "index"


def test_an_index_of_several_parts_finds_the_same(model: Model, tmp_path: Path):
    place = index_of(model, tmp_path)
    assert len(list(place.glob("*.vectors.npy"))) == 3
    index = Index.open(place)
    assert len(index) == len(TEXTS)
    assert list(index.texts()) == TEXTS
    for query, hits in zip(QUERIES, index.search(model, QUERIES, top_k=4), strict=True):
        assert same(hits, slow(model, TEXTS, query, 4))
    assert index.search(model, ["the fox"], top_k=1)[0][0].id == "texts.txt:7"
    assert not [path for path in tmp_path.iterdir() if path.name not in ("texts.txt", "index")]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux says what is open")
def test_an_index_of_many_parts_keeps_no_file_open(model: Model, tmp_path: Path):
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS * 4), encoding="utf-8")
    assert build_index(model, [str(tmp_path / "texts.txt")], tmp_path / "index", 1) == Indexed(32, 0)
    assert len(list((tmp_path / "index").glob("*.vectors.npy"))) == 32
    index = Index.open(tmp_path / "index")
    assert same(index.search(model, ["paris"], top_k=1)[0], slow(model, TEXTS, "paris", 1))
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()
    found = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 12, found[1]))
    try:
        assert len(Index.open(tmp_path / "index").search(model, ["paris"], top_k=40)[0]) == 32
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, found)


def test_long_texts_make_parts_of_few_and_progress_is_reported_within_them(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(index_module, "PART_CHARACTERS", 60)
    monkeypatch.setattr("maskling.infer.forward.CPU_BATCH_TOKENS", 16)
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    done: list[int] = []
    files = [str(tmp_path / "texts.txt")]
    found = build_index(model, files, tmp_path / "index", 100, on_progress=lambda count, _: done.append(count))
    sizes = [part["texts"] for part in json.loads((tmp_path / "index" / "index.json").read_text())["parts"]]
    starts = np.cumsum([0, *sizes])
    lengths = [len(text) for text in TEXTS]
    assert found.texts == sum(sizes) == len(TEXTS)
    assert all(sum(lengths[a : b - 1]) < 60 for a, b in pairwise(starts))
    assert 1 < len(sizes) < len(TEXTS)
    assert set(starts[1:].tolist()) < set(done)
    assert done[-1] == len(TEXTS)
    assert done == sorted(done)
    assert list(Index.open(tmp_path / "index").texts()) == TEXTS


def test_a_stopped_index_is_not_there_and_goes_on(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    embedded: list[int] = []
    real = index_module.embed_texts

    def counted(reader: Model, texts: list[str], **options: object) -> object:
        embedded.append(len(texts))
        return real(reader, texts, **options)

    monkeypatch.setattr(index_module, "embed_texts", counted)
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    files, place = [str(tmp_path / "texts.txt")], tmp_path / "index"

    def stop(done: int, _: int | None) -> None:
        if done > 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_index(model, files, place, 3, on_progress=stop)
    assert embedded == [3, 3, 2]
    with pytest.raises(DataError, match="holds no index"):
        Index.open(place)
    assert build_index(model, files, place, 3).texts == 8
    assert embedded == [3, 3, 2, 2]
    assert build_index(model, files, place, 3) == Indexed(0, 0)
    assert list(Index.open(place).texts()) == TEXTS


def test_changed_texts_make_the_index_anew_and_moved_ones_do_not(model: Model, tmp_path: Path):
    place = index_of(model, tmp_path)
    (tmp_path / "texts.txt").rename(tmp_path / "others.txt")
    others = [str(tmp_path / "others.txt")]
    assert build_index(model, others, place) == Indexed(0, 0)
    (tmp_path / "others.txt").write_text("the dog\nthe fox\n")
    assert build_index(model, others, place).texts == 2
    assert list(Index.open(place).texts()) == ["the dog", "the fox"]


def test_an_index_of_another_model_is_refused_and_made_anew(model: Model, folder: Path, tmp_path: Path):
    place = index_of(model, tmp_path)
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    pooling = json.loads((other / "1_Pooling/config.json").read_text())
    pooling |= {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (other / "1_Pooling/config.json").write_text(json.dumps(pooling))
    changed = load(other, device="cpu")
    with pytest.raises(DataError, match="built with another model"):
        Index.open(place).search(changed, QUERIES)
    assert build_index(changed, [str(tmp_path / "texts.txt")], place).texts == 8
    for query, hits in zip(QUERIES, Index.open(place).search(changed, QUERIES, top_k=4), strict=True):
        assert same(hits, slow(changed, TEXTS, query, 4, pooling="cls"))


def test_a_damaged_index_says_so(model: Model, tmp_path: Path):
    place = index_of(model, tmp_path)
    with (place / "part-00001.vectors.npy").open("ab") as file:
        file.write(b"more")
    with pytest.raises(DataError, match=r"is damaged .* it is built again"):
        Index.open(place)
    assert build_index(model, [str(tmp_path / "texts.txt")], place).texts == len(TEXTS)
    assert len(Index.open(place)) == len(TEXTS)


def test_a_folder_of_other_things_is_left_alone(model: Model, tmp_path: Path):
    (tmp_path / "texts.txt").write_text("the fox\n")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="other things than an index"):
        build_index(model, [str(tmp_path / "texts.txt")], tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_one_process_at_a_time_makes_an_index(model: Model, tmp_path: Path):
    (tmp_path / "texts.txt").write_text("the fox\nthe dog\n")
    files = [str(tmp_path / "texts.txt")]
    refused: list[str] = []

    def build_too(_: int, __: int | None) -> None:
        with pytest.raises(DataError) as error:
            build_index(model, files, tmp_path / "index", 1)
        refused.append(str(error.value))

    assert build_index(model, files, tmp_path / "index", 1, on_progress=build_too).texts == 2
    assert refused
    assert all(f"is being built by another process (process {os.getpid()}" in text for text in refused)
    assert list(Index.open(tmp_path / "index").texts()) == ["the fox", "the dog"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index", "texts.txt"]


def test_what_cannot_be_asked_is_refused(model: Model, tmp_path: Path):
    with pytest.raises(SettingsError, match="top_k is 0; it must be 1 or more"):
        model.search(TEXTS, "fox", top_k=0)
    with pytest.raises(SettingsError, match="read only once"):
        build_index(model, ["-"], tmp_path / "index")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"1_Pooling/config.json": {"pooling_mode_max_tokens": True}}, "asks for max_tokens"),
        ({"modules.json": [{"type": "sentence_transformers.models.Dense"}]}, "a layer of type Dense"),
        ({"modules.json": {}}, "is not a file that Sentence-Transformers writes"),
    ],
)
def test_vectors_that_are_not_calculated_here_are_refused(files: dict[str, object], said: str, tmp_path: Path):
    for name, value in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(value))
    with pytest.raises(ModelError, match=said):
        read_pooling(tmp_path)


def test_a_folder_without_pooling_means_the_mean(tmp_path: Path):
    assert read_pooling(tmp_path) == "mean"


@pytest.mark.slow
def test_sentence_transformers_finds_the_same(model: Model, folder: Path):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    peer = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    expected = sentence_transformers.util.semantic_search(peer.encode(QUERIES), peer.encode(TEXTS), top_k=3)
    for hits, theirs in zip(model.search(TEXTS, QUERIES, top_k=3), expected, strict=True):
        assert same(hits, [(TEXTS[one["corpus_id"]], one["score"]) for one in theirs])
