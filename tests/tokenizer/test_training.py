"""Counting words, and training: equal counts give equal bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Library
from tokenizers import models, pre_tokenizers, trainers

from maskling.errors import TokenizerError
from maskling.tokenizer import pipeline, train_bpe, training
from maskling.tokenizer.settings import TokenizerSettings
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.tokenizer.training import count_words, train_vocabulary
from oracles.small_text import texts

KINDS = ["wordpiece", "bpe", "unigram"]

# Text with special rules (split, lowercased, dropped or kept), and words that repeat.
ODD = [
    "\0",
    "\ud800",
    "\x0b",
    "\x1f",
    "\x7f",
    "\u00a0",
    "\u200b",
    "\u0301",
    "İ",
    "I\u0307",
    "I",
    "ı",
    "=\u0338",
    "\u0338",
    "Σ",
    "में",
    "\u200c",
    "\x1d",
    "\u1161",
    "ß",
    "ﬁ",
    "’",
    "…",
    "¿",
    "中国",
    "的",
    "，",
    "𝒳",
]
COMMON = [
    "the",
    "The",
    "THE",
    "don't",
    "naïve",
    "e\u0301",
    "x" * 16,
    "x" * 17,
    "y" * 40,
    "(a)",
    "3.14",
    "a_b",
    "$5",
    "--",
]
TEXT = st.lists(st.sampled_from([*ODD, *COMMON, " ", " ", "\n", "\t", "  "]), max_size=30).map("".join)

TRAIN = """
import sys
from oracles.small_text import texts
from maskling.tokenizer.settings import TokenizerSettings
from maskling.tokenizer.training import count_words, train_vocabulary
settings = TokenizerSettings(kind=sys.argv[1], vocab_size=500, min_count=1)
train_vocabulary(count_words(texts(), settings), settings).save(sys.argv[2])
"""


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bytes_in_every_process(kind: str, tmp_path: Path):
    root = Path(__file__).parents[1]
    for seed in ("0", "1", "77"):
        threads = "2" if seed == "0" else "1"
        environment = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": str(root),
            "RAYON_NUM_THREADS": threads,
        }
        subprocess.run([sys.executable, "-c", TRAIN, kind, str(tmp_path / seed)], check=True, env=environment)
    files = [{file.name: file.read_bytes() for file in (tmp_path / seed).iterdir()} for seed in ("0", "1", "77")]
    assert files[0] == files[1] == files[2]
    assert "tokenizer.json" in files[0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_texts_and_the_parts_of_a_corpus_do_not_matter(kind: str):
    settings = TokenizerSettings(kind=kind, vocab_size=500, min_count=1)
    forwards = count_words(texts(), settings)
    parts = sum((count_words([text], settings) for text in texts()[5:] + texts()[:5]), Counter())
    assert forwards == parts
    parts = Counter(dict(reversed(parts.items())))
    assert list(forwards) != list(parts)
    assert train_vocabulary(forwards, settings).fingerprint == train_vocabulary(parts, settings).fingerprint


@pytest.mark.parametrize("kind", KINDS)
def test_counted_words_are_those_that_the_tokenizer_splits_off(kind: str):
    settings = TokenizerSettings(kind=kind, vocab_size=500, min_count=1, dotless_i=False)
    counts = count_words(texts(), settings)
    library = train_vocabulary(counts, settings)._library
    expected: Counter[str] = Counter()
    for text in texts():
        normal = library.normalizer.normalize_str(text)
        expected.update(word for word, _ in library.pre_tokenizer.pre_tokenize_str(normal))
    if kind == "bpe":  # runs of white space may be counted in other pieces
        expected, counts = (Counter({w: n for w, n in c.items() if w.strip("ĠĊ")}) for c in (expected, counts))
    assert counts == expected


def wordpiece_by_hand() -> Tokenizer:
    # "ab" and "ac" six times, "b" once: pairs a+##b 6, a+##c 4.
    settings = TokenizerSettings(vocab_size=16, min_count=2)
    return train_vocabulary({"ab": 6, "ac": 4, "b": 3, "é": 1}, settings)


def test_wordpiece_on_counts_done_by_hand():
    tokenizer = wordpiece_by_hand()
    tokens = [tokenizer.token(id_) for id_ in range(tokenizer.vocab_size)]
    assert tokens[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    # Letters in both forms, then merges from the most frequent pair; the character below min_count last.
    assert set(tokens[5:11]) == {"a", "b", "c", "##a", "##b", "##c"}
    # There is room, so that é may continue a word too.
    assert tokens[11:] == ["ab", "ac", "é", "##é"]


def test_special_tokens_come_first_and_the_size_is_kept(tokenizer: Tokenizer):
    assert [tokenizer.token(id_) for id_ in range(5)] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    special = tokenizer.special
    assert (special.pad, special.unk, special.cls, special.sep, special.mask) == (0, 1, 2, 3, 4)
    assert 300 < tokenizer.vocab_size <= 600


@pytest.mark.parametrize("kind", KINDS)
def test_a_corpus_of_one_word_gives_a_small_vocabulary(kind: str):
    settings = TokenizerSettings(kind=kind, vocab_size=1000, min_count=1)
    tokenizer = train_vocabulary(count_words(["word"], settings), settings)
    assert tokenizer.vocab_size < 1000
    ids = tokenizer.encode("word").ids
    assert tokenizer.special.unk not in ids
    assert tokenizer.decode(ids) == "word"


@pytest.mark.parametrize("kind", KINDS)
def test_no_words_is_an_error(kind: str):
    settings = TokenizerSettings(kind=kind)
    with pytest.raises(TokenizerError, match="no words"):
        train_vocabulary(count_words(["", " \n"], settings), settings) if kind != "bpe" else train_vocabulary(
            {}, settings
        )


def test_a_vocabulary_too_small_for_bytes_is_an_error():
    with pytest.raises(TokenizerError, match="set it to 261 or more"):
        train_vocabulary({"word": 3}, TokenizerSettings(kind="bpe", vocab_size=200))


def test_bytes_leave_nothing_unknown():
    settings = TokenizerSettings(kind="bpe", vocab_size=300, min_count=1)
    tokenizer = train_vocabulary(count_words(["abc"], settings), settings)
    text = "日本 😀 ü \u0301"
    ids = tokenizer.encode(text).ids
    assert tokenizer.special.unk not in ids
    assert tokenizer.decode(ids).strip() == "日本 😀 ü \u0301"


@pytest.mark.parametrize("kind", ["wordpiece", "unigram"])
def test_rare_characters_make_room_for_pieces(kind: str):
    many = "".join(chr(code) for code in range(0x4E00, 0x4E00 + 400))
    settings = TokenizerSettings(kind=kind, vocab_size=205, min_count=1, max_alphabet=0.5)
    tokenizer = train_vocabulary(count_words([many, "中国 中国 training trained trainer " * 9], settings), settings)
    single = [id_ for id_ in tokenizer.ordinary_ids if len(tokenizer.token(id_).removeprefix("##")) == 1]
    # These words have few pieces: more characters fill the room that is left, after all pieces.
    longer = [id_ for id_ in tokenizer.ordinary_ids if id_ not in single]
    assert len(single) == 200 - len(longer)
    if kind == "wordpiece":
        assert max(longer) < tokenizer.ordinary_ids[100 + len(longer)]
    assert len(tokenizer.encode("trained")) == 1
    assert tokenizer.special.unk in tokenizer.encode(many[-1]).ids


@pytest.mark.parametrize("kind", ["wordpiece", "bpe"])
def test_scaling_large_counts_down_keeps_the_vocabulary(kind: str, monkeypatch: pytest.MonkeyPatch):
    settings = TokenizerSettings(kind=kind, vocab_size=400, min_count=1, dotless_i=False)
    counts = count_words(texts(), settings)
    plain = train_vocabulary(counts, settings)
    monkeypatch.setattr(train_bpe, "MAX_TRAINING_WORDS", sum(counts.values()) * 10)
    scaled = train_vocabulary(Counter({word: count * 100 for word, count in counts.items()}), settings)
    assert scaled.fingerprint == plain.fingerprint


def test_few_words_too_long_to_be_encoded_are_ignored():
    settings = TokenizerSettings(vocab_size=60, min_count=1)
    tokenizer = train_vocabulary(count_words(["xy" * 60, "ab ab " * 40_000], settings), settings)
    assert tokenizer.id("xy") is None
    assert tokenizer.id("ab") is not None


def test_unigram_spells_with_fewer_tokens_than_characters_and_close_to_the_library():
    settings = TokenizerSettings(kind="unigram", vocab_size=400, min_count=1)
    counts = count_words(texts(), settings)
    ours = train_vocabulary(counts, settings)
    theirs = Library(models.Unigram())
    theirs.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.UnigramTrainer(vocab_size=395, show_progress=False, unk_token="[UNK]", special_tokens=["[UNK]"])
    theirs.train_from_iterator([f"{word} " * count for word, count in counts.items()], trainer)
    words = [word for word, count in counts.items() for _ in range(count)]
    length_of_theirs = sum(len(encoding) for encoding in theirs.encode_batch(words))
    length = len(ours.encode(" ".join(texts())).ids)
    assert length < 1.1 * length_of_theirs
    assert length < 0.7 * sum(map(len, words))


def counted_by_library(texts: list[str], settings: TokenizerSettings) -> Counter[str]:
    normalizer, pre_tokenizer = pipeline.normalizer(settings), pipeline.pre_tokenizer(settings)
    words: Counter[str] = Counter()
    for text in texts:
        whole = text.encode("utf-16", "surrogatepass").decode(
            "utf-16", "replace"
        )  # half a surrogate pair is no text for the library
        words.update(word for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(whole)))
    return words


@given(
    texts=st.lists(TEXT, max_size=12),
    normalization=st.sampled_from(["unicode", "bert"]),
    lowercase=st.booleans(),
    dotless=st.booleans(),
    strips=st.sampled_from([None, True, False]),
    chinese=st.booleans(),
    first=st.sampled_from([1, 20, 1 << 14]),
    max_chunks=st.sampled_from([3, 1 << 18]),
)
def test_counts_equal_those_of_the_library(
    texts: list[str],
    normalization: Any,
    lowercase: bool,
    dotless: bool,
    strips: bool | None,
    chinese: bool,
    first: int,
    max_chunks: int,
):
    settings = TokenizerSettings(
        normalization=normalization,
        lowercase=lowercase,
        dotless_i=dotless and lowercase and normalization == "unicode",
        strip_accents=strips,
        split_chinese=chinese,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_FIRST_BATCH", first)
        patch.setattr(training, "_MAX_CHUNKS", max_chunks)
        assert count_words(texts, settings) == counted_by_library(texts, settings)


def test_plain_words_skip_the_library(monkeypatch: pytest.MonkeyPatch):
    split: list[str] = []
    real = pipeline.pre_tokenizer(TokenizerSettings())

    class Recorder:
        def pre_tokenize_str(self, text: str) -> object:
            split.append(text)
            return real.pre_tokenize_str(text)

    monkeypatch.setattr(pipeline, "pre_tokenizer", lambda _: Recorder())
    texts = ["The quick brown fox, the lazy dog. " * 1000] * 20
    counts = count_words(texts, TokenizerSettings())
    assert counts["the"] == 2 * counts["fox"] == 40_000
    assert set(split) == {",", "."}


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
@given(text=TEXT, times=st.integers(1, 5), first=st.integers(1, 30))
def test_a_long_text_is_counted_in_parts(kind: Any, text: str, times: int, first: int):
    settings = TokenizerSettings(kind=kind, dotless_i=False)
    whole = count_words([text * times], settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_FIRST_BATCH", first)
        patch.setattr(training, "_MAX_BATCH", 2 * first)
        assert count_words([text * times], settings) == whole


def test_batches_of_a_book_on_one_line_are_bounded():
    book = "the quick brown fox jumps over the lazy dog " * 50_000
    longest = max(sum(map(len, batch)) for batch in training._batches([book, book]))
    assert longest < 1.1 * (1 << 20)


@given(texts=st.lists(TEXT, max_size=12), kind=st.sampled_from(KINDS), dotless=st.booleans())
def test_the_lower_case_of_i_is_decided_after_all_words_are_counted(texts: list[str], kind: Any, dotless: bool):
    settings = TokenizerSettings(kind=kind)
    decided = settings.model_copy(update={"dotless_i": dotless})
    assert training._with_lower_i(count_words(texts, settings), decided) == count_words(texts, decided)
