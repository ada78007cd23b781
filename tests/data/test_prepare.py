"""From text to a prepared folder: what is in it, what is left out, and what is said about it."""

from __future__ import annotations

import gzip
import math
import os
import re
import sys
from collections import Counter
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from maskling.corpus.document import Document
from maskling.corpus.pipeline import CleanDocument, process_document
from maskling.data.manifest import MANIFEST
from maskling.data.prepare.events import Prepared, Reading, ShardWritten, TokenizerTrained, TokenizerTraining
from maskling.data.shards import open_shards
from maskling.errors import CorpusError, DataError, SettingsError, TokenizerError
from maskling.tokenizer.tokenizer import Tokenizer
from tiny_corpus import contents, documents_of, events, jsonl, prepared, settings, texts

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return jsonl(tmp_path_factory.mktemp("corpus") / "a.jsonl", texts(40))


@pytest.fixture(scope="module")
def done(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepared(corpus, tmp_path_factory.mktemp("prepared") / "out", settings())


def vocabulary(path: Path, tokens: list[str]) -> Path:
    path.write_text("\n".join([*VOCABULARY, *tokens]) + "\n", encoding="utf-8")
    return path


def test_the_folder_holds_each_document_as_the_tokenizer_reads_it(corpus: Path, done: Prepared):
    shards = open_shards(done.folder, verify=True)
    tokenizer = Tokenizer.load(shards.tokenizer_folder)
    expected: dict[str, list[list[list[int]]]] = {"train": [], "validation": []}
    for number, text in enumerate(texts(40)):
        clean = process_document(Document(text, str(number), "a"), settings().corpus)
        assert isinstance(clean, CleanDocument)
        split = "validation" if clean.digest / 2**64 < 0.2 else "train"
        sentences, start = [], 0
        for length in clean.sentences:
            sentences.append(tokenizer.encode(clean.text[start : start + length]).ids.tolist())
            start += length
        assert list(chain(*sentences)) == tokenizer.encode(clean.text).ids.tolist()
        expected[split].append(sentences)
    assert documents_of(shards.split("train")) == expected["train"]
    assert documents_of(shards.split("validation")) == expected["validation"]
    assert expected["validation"]
    assert len(done.manifest.splits.train) > 3


def test_word_starts_are_the_tokenizers(done: Prepared):
    shards = open_shards(done.folder)
    tokenizer = Tokenizer.load(shards.tokenizer_folder)
    for block in shards.split("train").blocks():
        pieces = [tokenizer.token(token) for token in block.tokens.tolist()]
        assert block.word_starts().tolist() == [not piece.startswith("##") for piece in pieces]
        assert any(piece.startswith("##") for piece in pieces)


def test_the_numbers_of_the_manifest_are_those_of_the_text(corpus: Path, done: Prepared):
    shards = open_shards(done.folder)
    manifest = shards.manifest
    train = [token for document in documents_of(shards.split("train")) for sentence in document for token in sentence]
    counts = Counter(train)
    assert {token: count for token, count in enumerate(shards.counts.tolist()) if count} == counts
    shares = [count / len(train) for count in counts.values()]
    assert manifest.unigram_entropy == pytest.approx(-sum(share * math.log(share) for share in shares))
    assert manifest.text.read == manifest.text.kept == 40
    assert manifest.text.kept_bytes == sum(len(text.encode()) for text in texts(40))
    assert done.train_tokens == len(train)
    assert done.train_documents + done.validation_documents == 40
    assert done.bytes_per_token == manifest.text.kept_bytes / (done.train_tokens + done.validation_tokens)
    assert manifest.vocab_size == 120
    assert done.warnings() == []


def test_only_what_a_reader_needs_is_left(done: Prepared):
    names = {path.relative_to(done.folder).parts[0] for path in done.folder.rglob("*")}
    assert names == {MANIFEST, "counts.npy", "shards", "tokenizer", ".lock"}
    assert {path.suffix for path in (done.folder / "shards").iterdir()} == {".npy"}


def test_text_is_kept_on_request_and_can_be_prepared_again(corpus: Path, tmp_path: Path, done: Prepared):
    prepared(corpus, tmp_path / "kept", settings(shards={"keep_text": True}))
    assert {path.name[5:] for path in (tmp_path / "kept" / "text").iterdir()} == {".jsonl.zst"}
    again = prepared(tmp_path / "kept" / "text", tmp_path / "again", settings())
    for split in ("train", "validation"):
        assert documents_of(open_shards(again.folder).split(split)) == documents_of(
            open_shards(done.folder).split(split)
        )


def test_progress_is_reported_from_the_first_byte_to_the_last(corpus: Path, tmp_path: Path):
    seen = events(corpus, tmp_path / "out", settings())
    kinds = [type(event) for event in seen]
    assert list(dict.fromkeys(kinds)) == [Reading, TokenizerTraining, TokenizerTrained, ShardWritten, Prepared]
    reading = [event for event in seen if isinstance(event, Reading)]
    assert reading[-1].documents == 40
    assert reading[-1].read_bytes == reading[-1].total_bytes == corpus.stat().st_size
    shards = [event for event in seen if isinstance(event, ShardWritten)]
    assert [event.parts for event in shards] == list(range(1, shards[0].num_parts + 1))


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_progress_grows_within_a_file_and_over_files(tmp_path: Path, compress: Callable[[bytes], bytes]):
    paths = []
    for number in range(2):
        path = jsonl(tmp_path / f"{number}.jsonl{'.gz' if compress is gzip.compress else ''}", texts(9000, number))
        path.write_bytes(compress(path.read_bytes()))
        paths.append(path)
    size = paths[0].stat().st_size
    chosen = settings(shards={"part_bytes": 1 << 16})
    seen = [event.read_bytes for event in events(paths, tmp_path / "out", chosen) if isinstance(event, Reading)]
    assert seen == sorted(seen)
    assert any(0 < place < size for place in seen)
    assert any(size < place < seen[-1] for place in seen)
    assert seen[-1] == sum(path.stat().st_size for path in paths)


def test_the_settings_have_defaults(tmp_path: Path):
    from maskling.data.prepare.prepare import prepare

    source = jsonl(tmp_path / "a.jsonl", texts(30))
    last = list(prepare([str(source)], tmp_path / "out"))[-1]
    assert isinstance(last, Prepared)
    assert last.train_documents + last.validation_documents == 30


# ---- what is left out


def test_duplicates_and_rejects_are_counted_by_reason(tmp_path: Path):
    one, two, three = texts(3)
    source = jsonl(tmp_path / "a.jsonl", [one, "Hi.", two, one, "1 2 3 4 5 6 7 8 9", three, two, one])
    result = prepared(source, tmp_path / "out", settings(corpus={"filters": {"min_characters": 5}}))
    assert result.manifest.text.read == 8
    assert result.manifest.text.kept == 3
    assert result.manifest.text.rejected == {"duplicate": 3, "not_alphabetic": 1, "too_short": 1}


def test_duplicates_stay_when_asked_and_all_on_one_side(tmp_path: Path):
    documents = texts(12)
    source = jsonl(tmp_path / "a.jsonl", documents * 3)
    result = prepared(source, tmp_path / "out", settings(corpus={"dedup": "none"}))
    shards = open_shards(result.folder)
    sides = [documents_of(shards.split(name)) for name in ("train", "validation")]
    assert len(sides[0]) + len(sides[1]) == 36
    assert all(side.count(document) == 3 for side in sides for document in side)


def test_a_bad_file_is_reported_and_the_rest_is_there(tmp_path: Path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for name, seed in (("a", 1), ("c", 2)):
        jsonl(folder / f"{name}.jsonl", texts(8, seed))
    whole = gzip.compress(jsonl(tmp_path / "b.jsonl", texts(8, 3)).read_bytes())
    (folder / "b.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.txt").write_bytes(b"")
    (folder / "photo.jpg").write_bytes(b"\xff\xd8")
    result = prepared(folder, tmp_path / "out", settings())
    assert [Path(file.name).name for file in result.manifest.text.bad_files] == ["b.jsonl.gz", "empty.txt"]
    assert result.manifest.made_from is not None
    assert result.manifest.made_from.sources.skipped == {".jpg": 1}
    assert result.manifest.text.kept >= 16
    assert "b.jsonl.gz" in result.warnings()[0]
    assert ".jpg" in result.warnings()[-1]


def test_a_bad_file_stops_everything_when_asked(tmp_path: Path):
    (tmp_path / "a.jsonl.gz").write_bytes(b"not gzip at all")
    with pytest.raises(CorpusError, match=r"a\.jsonl\.gz"):
        prepared(tmp_path / "a.jsonl.gz", tmp_path / "out", settings(corpus={"on_bad_file": "stop"}))


def test_an_error_names_the_filters_that_rejected_everything(tmp_path: Path):
    source = jsonl(tmp_path / "a.jsonl", ["Hi.", "Yes.", "12345678901234567890"])
    with pytest.raises(CorpusError, match=r"nothing is left of the 3 documents.*1 not alphabetic, 2 too short"):
        prepared(source, tmp_path / "out", settings(corpus={"filters": {"min_characters": 5}}))


@pytest.mark.parametrize("content", [b"", b"\n\n", b'{"text": ""}\n', b'{"other": "field"}\n', b"\x00\x01\x02"])
def test_a_corpus_without_text_is_one_line_of_error(tmp_path: Path, content: bytes):
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(CorpusError) as caught:
        prepared(tmp_path / "a.jsonl", tmp_path / "out", settings())
    assert "\n" not in str(caught.value)


def test_a_corpus_of_one_word_has_nothing_to_learn(tmp_path: Path):
    source = jsonl(tmp_path / "a.jsonl", ["word " * 50])
    words = vocabulary(tmp_path / "vocab.txt", ["word"])
    with pytest.raises(DataError, match="nothing to learn"):
        prepared(source, tmp_path / "out", settings(tokenizer={"path": str(words)}))


def test_a_corpus_that_the_tokenizer_makes_nothing_of_has_nothing_to_learn(tmp_path: Path):
    # Variation selectors alone: cleaning keeps them, the normalizer drops them.
    source = jsonl(tmp_path / "a.jsonl", ["\ufe0f\u0301" * 9])
    chosen = settings(
        corpus={"filters": {"min_characters": 0, "min_alphabetic": 0, "max_repeated_words": 1}},
        tokenizer={"normalization": "bert"},
    )
    with pytest.raises((DataError, TokenizerError)) as caught:
        prepared(source, tmp_path / "out", chosen)
    assert "\n" not in str(caught.value)


def test_empty_sentences_are_dropped(tmp_path: Path):
    # The accents of the second sentence have no letter to sit on and vanish when accents are stripped.
    source = jsonl(tmp_path / "a.jsonl", ["One two three.\n\n\u0301\u0301\n\nFour five six.", *texts(5)])
    result = prepared(
        source, tmp_path / "out", settings(shards={"validation_fraction": 0}, tokenizer={"strip_accents": True})
    )
    split = open_shards(result.folder).split("train")
    (block,) = split.blocks()
    assert np.all(np.diff(block.sentences) > 0)
    assert np.all(np.diff(block.documents) > 0)
    assert len(documents_of(split)[0]) == 2


# ---- validation


def test_a_document_keeps_its_side_when_the_corpus_grows(tmp_path: Path):
    small = texts(30)
    large = (small + texts(30, seed=5))[::-1]
    seen = {word for text in large for word in re.findall(r"\w+|[.!?]", text.lower())}
    words = vocabulary(tmp_path / "vocab.txt", sorted(seen))
    held_out = []
    for name, some in (("small", small), ("large", large)):
        source = jsonl(tmp_path / f"{name}.jsonl", some)
        result = prepared(source, tmp_path / name, settings(tokenizer={"path": str(words)}))
        held_out.append(documents_of(open_shards(result.folder).split("validation")))
    assert held_out[0]
    assert all(document in held_out[1] for document in held_out[0])
    assert len(held_out[1]) > len(held_out[0])


def test_two_documents_are_one_per_split(tmp_path: Path):
    for fraction in (0.001, 0.999):
        result = prepared(
            jsonl(tmp_path / "a.jsonl", texts(2)),
            tmp_path / str(fraction),
            settings(shards={"validation_fraction": fraction}),
        )
        assert (result.train_documents, result.validation_documents) == (1, 1)


def test_one_document_leaves_nothing_to_hold_out_and_says_so(tmp_path: Path):
    for fraction in (0.001, 0.999):
        result = prepared(
            jsonl(tmp_path / "a.jsonl", texts(1)),
            tmp_path / str(fraction),
            settings(shards={"validation_fraction": fraction}),
        )
        assert (result.train_documents, result.validation_documents) == (1, 0)
        assert any("only one document" in line for line in result.warnings())


def test_nothing_is_held_out_on_request(tmp_path: Path):
    result = prepared(
        jsonl(tmp_path / "a.jsonl", texts(9)), tmp_path / "out", settings(shards={"validation_fraction": 0})
    )
    assert (result.train_documents, result.validation_documents) == (9, 0)
    assert any("shards.validation_fraction" in line for line in result.warnings())


# ---- tokenizers


def test_a_given_tokenizer_is_copied_unchanged(corpus: Path, tmp_path: Path, done: Prepared):
    result = prepared(corpus, tmp_path / "out", settings(tokenizer={"path": str(done.folder)}))
    assert result.manifest.tokenizer == done.manifest.tokenizer
    assert contents(result.folder / "shards") == contents(done.folder / "shards")


def test_a_tokenizer_that_does_not_fit_is_warned_about(corpus: Path, tmp_path: Path):
    words = vocabulary(tmp_path / "vocab.txt", ["ka", ".", "!", "?"])
    result = prepared(corpus, tmp_path / "out", settings(tokenizer={"path": str(words)}))
    assert result.unknown_share > 0.5
    assert result.manifest.unknown_tokens == open_shards(result.folder).counts[1]
    assert any("unknown" in line and "--tokenizer.path" in line for line in result.warnings())


def test_a_tokenizer_that_covers_nothing_is_refused(corpus: Path, tmp_path: Path):
    words = vocabulary(tmp_path / "vocab.txt", ["quite", "other", "words"])
    with pytest.raises(DataError, match=r"all [\d,]+ tokens are unknown"):
        prepared(corpus, tmp_path / "out", settings(tokenizer={"path": str(words)}))


def test_a_missing_tokenizer_is_reported_before_anything_is_read(tmp_path: Path, corpus: Path):
    with pytest.raises(TokenizerError):
        prepared(corpus, tmp_path / "out", settings(tokenizer={"path": str(tmp_path / "nowhere")}))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_every_kind_of_tokenizer_gives_lossless_sentences(corpus: Path, tmp_path: Path, kind: str):
    result = prepared(corpus, tmp_path / "out", settings(tokenizer={"kind": kind, "vocab_size": 400}))
    tokenizer = Tokenizer.load(result.folder / "tokenizer")
    shards = open_shards(result.folder, verify=True)
    found = [
        list(chain(*document)) for name in ("train", "validation") for document in documents_of(shards.split(name))
    ]
    expected = [tokenizer.encode(text).ids.tolist() for text in texts(40)]
    assert sorted(found) == sorted(expected)


def test_settings_out_of_range_are_refused():
    from maskling.config import Layer, resolve
    from maskling.data.prepare.settings import PrepareSettings

    for section, key, value in (
        ("shards", "part_bytes", 10),
        ("shards", "part_bytes", "lots"),
        ("shards", "validation_fraction", 1),
        ("system", "workers", -1),
    ):
        with pytest.raises(SettingsError, match=rf"{section}\.{key}"):
            resolve(PrepareSettings, [Layer("a test", {section: {key: value}})])
    taken = resolve(PrepareSettings, [Layer("a test", {"shards": {"part_bytes": "4096"}, "system": {"workers": "2"}})])
    assert taken.settings.shards.part_bytes == 4096
    assert taken.settings.system.num_workers == 2


def test_chinese_text_meets_the_published_vocabulary(shared_data: Path, tmp_path: Path):
    lines = gzip.decompress((shared_data / "chinese" / "classical.jsonl.gz").read_bytes()).splitlines(keepends=True)
    source = tmp_path / "a.jsonl"
    source.write_bytes(b"".join(lines[:40])[:400_000])
    words = shared_data / "vocab" / "bert-base-chinese-vocab.txt"
    result = prepared(source, tmp_path / "out", settings(tokenizer={"path": str(words)}, shards={"part_bytes": 65536}))
    assert result.unknown_share < 0.02
    assert 2 < result.bytes_per_token < 4
    open_shards(result.folder, verify=True)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take no such names")
def test_files_with_undecodable_names_are_prepared_like_others(tmp_path: Path):
    folder = tmp_path / "books"
    folder.mkdir()
    for number, text in enumerate(texts(40)):
        Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9%d.txt" % number)).write_text(text)
    (folder / "bad.jsonl").write_text("{")
    first = prepared(folder, tmp_path / "out", settings(workers=2))
    assert first.manifest.text.kept == 40
    assert "\\udce90.txt" in (tmp_path / "out" / MANIFEST).read_text()
    assert prepared(folder, tmp_path / "out", settings(workers=2)).already
