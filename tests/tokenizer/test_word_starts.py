"""Word starts, tokens that can start a word, and decoded text."""

from __future__ import annotations

import itertools
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskling.errors import MissingExtra, TokenizerError
from maskling.tokenizer import characters, segmentation
from maskling.tokenizer.segmentation import WordRules, resolve_words
from maskling.tokenizer.settings import TokenizerSettings
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.tokenizer.training import count_words, train_vocabulary
from oracles.nasty_text import nasty
from oracles.small_text import texts
from oracles.tokenizer_recipes import small

KINDS = ["wordpiece-cased", "bpe-cased", "unigram-cased"]


def words(tokenizer: Tokenizer, text: str) -> list[str]:
    """The text of each word, put together from its tokens."""
    tokens = tokenizer.encode(text)
    edges = [*np.flatnonzero(tokens.word_starts), len(tokens.ids)]
    return [tokenizer.decode(tokens.ids[a:b]).strip() for a, b in itertools.pairwise(edges)]


@pytest.mark.parametrize("recipe", KINDS)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The quick foxes jumped", ["The", "quick", "foxes", "jumped"]),
        ("jumped, quickly!", ["jumped", ",", "quickly", "!"]),
        ("the dogs (lazy dogs).", ["the", "dogs", "(", "lazy", "dogs", ")", "."]),
        ("didn't", ["didn", "'", "t"]),
        ("we'll - eat", ["we", "'", "ll", "-", "eat"]),
        ("1,000 dogs in 1854", ["1", ",", "000", "dogs", "in", "1854"]),
        ("tokens1854", ["tokens1854"]),
        ("  two\n\nlines ", ["two", "lines"]),
        ("中国的文字", ["中", "国", "的", "文", "字"]),
        ("BERT模型由谷歌发布。", ["BERT", "模", "型", "由", "谷", "歌", "发", "布", "。"]),
        ("“They’ve”", ["“", "They", "’", "ve", "”"]),
        ("", []),
    ],
)
def test_words_are_split_at_white_space_and_punctuation(recipe: str, text: str, expected: list[str]):
    assert [word for word in words(small(recipe, backwards=True), text) if word] == expected


@pytest.mark.parametrize("recipe", ["wordpiece", "wordpiece-cased", "bpe", "unigram"])
def test_jieba_joins_chinese_characters_into_words_and_changes_no_ids(recipe: str):
    pytest.importorskip("rjieba")
    text = "BERT, 我来到北京清华大学，中国的文字 was here。北京"
    plain = small(recipe, backwards=True)
    joined = small(recipe, backwards=True, chinese_words="jieba")
    for batch in ([text], ["the fox", text, "", text]):
        one, other = plain.encode_batch(batch), joined.encode_batch(batch)
        assert [tokens.ids.tolist() for tokens in one] == [tokens.ids.tolist() for tokens in other]
        starts = [tokens.word_starts for tokens in other]
    case = text.lower() if recipe != "wordpiece-cased" else text
    known = "wordpiece" in recipe
    for tokens in (joined.encode(text), joined.encode(text, special_in_text=True)):
        assert tokens.word_starts.tolist() == starts[-1].tolist()
    if not known:
        pieces = [piece for piece in words(joined, text) if piece]
        assert "".join(pieces) == case.replace(" ", "")
        assert {"来到", "北京", "清华大学", "中国"} <= set(pieces)
    else:
        # [UNK] hides characters, so count: 我 来到 北京 清华大学 is 1 + 2 + 2 + 4 characters.
        begin = joined.encode("BERT, ").ids.size
        assert starts[-1][begin : begin + 9].tolist() == [True, True, False, True, False, True, False, False, False]


def test_jieba_in_text_that_has_none_of_the_common_characters():
    pytest.importorskip("rjieba")
    tokenizer = small("wordpiece", chinese_words="jieba")
    tokens = tokenizer.encode("北京清华大学 北京 x北京y")
    assert tokens.word_starts.astype(int).tolist() == [1, 0, 1, 0, 0, 0, 1, 0, 1, 1, 0, 1]


def test_a_library_that_is_not_installed_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(segmentation, "_installed", lambda _: False)
    assert resolve_words("auto", "auto") == WordRules("characters", "spaces")
    with pytest.raises(MissingExtra, match=r"tokenizer.chinese_words = 'jieba' needs .*rjieba.*maskling\[words\]"):
        resolve_words("jieba", "auto")
    with pytest.raises(MissingExtra, match=r"tokenizer.words = 'icu' needs .*icu4py.*maskling\[words\]"):
        resolve_words("auto", "icu")
    monkeypatch.setattr(segmentation, "_installed", lambda package: package == "icu4py")
    assert resolve_words("auto", "auto") == WordRules("icu", "icu")


def split_words(text: str, rules: WordRules) -> list[str]:
    starts = [*np.flatnonzero(characters.character_word_starts(text, rules)), len(text)]
    return [text[begin:end] for begin, end in itertools.pairwise(starts)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # The expected words are those of ICU's own tests and documentation where it has them, else read by eye.
        ("ภาษาไทยภาษาไทย", "ภาษา ไทย ภาษา ไทย"),
        ("ปี2024ABCไทย", "ปี 2024ABC ไทย"),
        ("មនុស្សទាំងអស់កើតមក", "មនុស្ស ទាំងអស់ កើតមក"),
        ("ມະນຸດທຸກຄົນ", "ມະນຸດ ທຸກຄົນ"),
        ("လူတိုင်းသည်", "လူ တိုင်း သည်"),
        ("東京都に住む。", "東京 都 に 住む 。"),
        ("データ処理、人間は", "データ 処理 、 人間 は"),
        ("𠀀中はい", "𠀀 中 はい"),  # above U+FFFF: two UTF-16 units
        ("我来到北京", "我 来到 北京"),  # no kana: Chinese
    ],
)
def test_words_of_scripts_without_spaces_come_from_dictionaries(text: str, expected: str):
    pytest.importorskip("icu4py")
    pytest.importorskip("rjieba")
    assert split_words(text, WordRules("jieba", "icu")) == expected.split()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("กำ!\u0e49น", ["กำ", "!\u0e49", "น"]),
        ("#\ufe0f\u20e3 ok", ["#\ufe0f\u20e3 ", "ok"]),
        ("葛\U000e0100城", ["葛\U000e0100", "城"]),
        ("नमस्ते", ["नमस्ते"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("កើត\u200bមក", ["កើត\u200b", "មក"]),  # a zero-width space is a space
        ("\u0301a", ["\u0301a"]),
    ],
)
def test_marks_and_joiners_never_start_a_word(text: str, expected: list[str]):
    for rules in (WordRules(), WordRules("characters", "icu")):
        assert split_words(text, rules) == expected


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_tokens_start_the_words_of_the_dictionary_and_ids_do_not_depend_on_it(kind: str):
    pytest.importorskip("icu4py")
    text = "ภาษาไทยและภาษาลาว abc 東京都に住む"
    # Trained on its characters (WordPiece: doubled, for those inside a word), so that no token is longer than one.
    repeat = 2 if kind == "wordpiece" else 1
    corpus = " ".join(repeat * character for character in text if character != " ")
    fields = {"kind": kind, "strip_accents": False, "min_count": 1}
    plain, split = (
        train_vocabulary(count_words([corpus], each), each)
        for each in (TokenizerSettings(**fields, words=words) for words in ("spaces", "icu"))
    )
    for batch in ([text], ["abc", text, ""]):
        one, other = plain.encode_batch(batch), split.encode_batch(batch)
        assert [tokens.ids.tolist() for tokens in one] == [tokens.ids.tolist() for tokens in other]
    tokens = split.encode(text)
    edges = [*np.flatnonzero(tokens.word_starts), len(tokens.ids)]
    pieces = [split.decode(tokens.ids[a:b]).replace(" ", "") for a, b in itertools.pairwise(edges)]
    pieces = [piece.replace("#", "") for piece in pieces if piece]
    assert pieces == ["ภาษา", "ไทย", "และ", "ภาษา", "ลาว", "abc", "東京", "都", "に", "住む"]
    assert split.encode(text, special_in_text=True).word_starts.tolist() == tokens.word_starts.tolist()


def test_a_tokenizer_opens_without_the_library_of_its_words_and_says_so_when_it_needs_it(
    monkeypatch: pytest.MonkeyPatch,
):
    tokenizer = small("bpe", words="icu", chinese_words="jieba")
    for name in ("_icu", "_jieba"):
        getattr(segmentation, name).cache_clear()
    monkeypatch.setitem(sys.modules, "icu4py.breakers", None)
    monkeypatch.setitem(sys.modules, "rjieba", None)
    assert len(tokenizer.encode("the fox"))
    for text, package in (("ภาษา", "icu4py"), ("北京", "rjieba")):
        with pytest.raises(MissingExtra, match=rf"{package}.*maskling\[words\]"):
            tokenizer.encode(text)


def test_tokens_that_can_start_a_word():
    for recipe, starting, not_starting in (
        ("wordpiece-cased", ["the", ",", "中"], ["##s", "[MASK]", "[PAD]"]),
        ("bpe-cased", ["Ġthe", ",", "Ġ"], ["s", "er", "[MASK]"]),
        ("unigram-cased", ["▁the", ",", "中"], ["s", "[MASK]"]),
    ):
        tokenizer = small(recipe)
        starts = tokenizer.starts_word
        assert starts.shape == (tokenizer.vocab_size,)
        assert all(starts[tokenizer.id_of(token)] for token in starting), recipe
        assert not any(starts[tokenizer.id_of(token)] for token in not_starting), recipe


def test_most_words_start_with_a_token_that_can_start_one(tokenizer: Tokenizer):
    tokens = tokenizer.encode(" ".join(texts()[:5]))
    agree = tokenizer.starts_word[tokens.ids] == tokens.word_starts
    assert agree.mean() > (0.85 if tokenizer.kind != "WordPiece" else 0.999)


def test_ordinary_ids_leave_out_special_unused_and_added_tokens(tmp_path: Path):
    tokens = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused17]", "unused", "[", "a"]
    (tmp_path / "vocab.txt").write_text("\n".join(tokens))
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer.ordinary_ids.tolist() == [7, 8, 9]
    assert tokenizer.special_ids.tolist() == [0, 2, 3, 4, 5]
    assert tokenizer.starts_word.nonzero()[0].tolist() == [7, 8, 9]


@pytest.mark.parametrize("recipe", KINDS)
def test_special_tokens_in_the_text_are_plain_text_by_default(recipe: str):
    tokenizer = small(recipe)
    text = "The [MASK] fox [SEP]"
    assert not set(tokenizer.encode(text).ids.tolist()) & {0, 2, 3, 4}
    tokens = tokenizer.encode(text, special_in_text=True)
    assert tokens.ids.tolist().count(tokenizer.special.mask) == 1
    assert tokens.ids.tolist()[-1] == tokenizer.special.sep
    assert tokens.word_starts[tokens.ids.tolist().index(tokenizer.special.mask)]


@pytest.mark.parametrize("recipe", KINDS)
def test_decoded_text_reads_well(recipe: str):
    tokenizer = small(recipe)
    for text in ("The quick brown fox jumped.", "中国的文字", "我来到北京，中国。"):
        tokens = tokenizer.encode(text)
        if tokenizer.special.unk not in tokens.ids:
            assert tokenizer.decode(tokens.ids) == text
    ids = [tokenizer.special.cls, *tokenizer.encode("The fox").ids, tokenizer.special.sep]
    assert tokenizer.decode(ids, skip_special=True) == "The fox"
    assert "[CLS]" in tokenizer.decode(ids)
    assert tokenizer.decode([]) == ""


@given(ids=st.lists(st.integers(-5, 10_000), min_size=1, max_size=9))
def test_ids_outside_the_vocabulary_are_an_error(tokenizer: Tokenizer, ids: list[int]):
    if min(ids) < 0 or max(ids) >= tokenizer.vocab_size:
        with pytest.raises(TokenizerError, match="token ids must be between 0 and"):
            tokenizer.decode(ids)
    else:
        assert isinstance(tokenizer.decode(ids), str)
    with pytest.raises(TokenizerError):
        tokenizer.token(-1)


@given(text=nasty)
def test_a_first_token_starts_a_word_and_continuations_never_stand_alone(tokenizer: Tokenizer, text: str):
    tokens = tokenizer.encode(text)
    assert len(tokens.word_starts) == len(tokens.ids)
    assert not len(tokens) or tokens.word_starts[0]


def test_a_copy_in_a_worker_process_is_the_same(tokenizer: Tokenizer):
    tokenizer.encode("warm the table")
    data = pickle.dumps(tokenizer)
    copy = pickle.loads(data)
    assert copy.fingerprint == tokenizer.fingerprint
    assert [t.ids.tolist() for t in copy.encode_batch(texts())] == [
        t.ids.tolist() for t in tokenizer.encode_batch(texts())
    ]


def test_the_fingerprint_depends_only_on_what_determines_ids(tokenizer: Tokenizer):
    library = tokenizer._library.from_str(tokenizer._library.to_str())
    library.decoder = None
    same = Tokenizer(library, tokenizer._special_tokens, max_length=9, token_types=False)
    assert same.fingerprint == tokenizer.fingerprint
    others = {small(recipe).fingerprint for recipe in KINDS}
    assert len(others) == len(KINDS)
