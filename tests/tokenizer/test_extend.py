"""New words become one ordinary token each and all other text keeps its ids, for every kind of tokenizer."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest
import tokenizers
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import AddedToken, models, pre_tokenizers

from maskling.errors import TokenizerError
from maskling.tokenizer.extend import (
    NewWord,
    check_words,
    choose_words,
    count_split_words,
    extend_tokenizer,
    recount_tokens,
    unusable_message,
)
from maskling.tokenizer.tokenizer import Tokenizer
from oracles.nasty_text import nasty
from oracles.tokenizer_recipes import RECIPES, small
from small_models import byte_level, wordpiece

WORDS = ["quizzology", "zymurgist", "fibroblast"]
DOMAIN = [
    "The zymurgist and a fibroblast. A zymurgist's zymurgy, (zymurgist) zymurgists; 2020 2020 2020 dog's fibroblast"
]


def given_words(tokenizer: Tokenizer, words: list[str]) -> list[NewWord]:
    """Words as new tokens, or the error for those that cannot be one."""
    checked = check_words(tokenizer, words)
    if checked.unusable:
        raise TokenizerError(unusable_message(checked.unusable, len(checked.usable)))
    return list(checked.usable)


@functools.cache
def with_words(recipe: str) -> Tokenizer:
    tokenizer = small(recipe)
    return extend_tokenizer(tokenizer, given_words(tokenizer, WORDS))


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_given_word_is_one_ordinary_token_and_reads_as_it_was_written(recipe: str):
    before, after = small(recipe), with_words(recipe)
    assert all(before.token(id_) == after.token(id_) for id_ in range(before.vocab_size))
    for word in WORDS:
        (id_,) = after.encode(word).ids.tolist()
        assert id_ >= before.vocab_size
        assert id_ in after.ordinary_ids
        assert after.encode(f"the {word} dog").word_starts.sum() == 3
        assert len(after.encode(f"the {word} dog")) == len(before.encode("the")) + 1 + len(before.encode(" dog"))
        assert after.decode(after.encode(f"the {word}, dog").ids) == after.decode(before.encode(f"the {word}, dog").ids)
    assert after.fingerprint != before.fingerprint
    assert after.special == before.special


@pytest.mark.parametrize("recipe", RECIPES)
@given(text=nasty)
@example("quizzolog fibroblas, fibro blast zymurgis")
def test_text_without_the_new_words_keeps_its_ids(recipe: str, text: str):
    before, after = small(recipe), with_words(recipe)
    assert after.encode(text).ids.tolist() == before.encode(text).ids.tolist()
    assert after.encode(text).word_starts.tolist() == before.encode(text).word_starts.tolist()


words_and_others = st.lists(st.sampled_from([*WORDS, "the", "s", "es", "ing", "(", "'", " ", "a"]), max_size=9)


@pytest.mark.parametrize("recipe", RECIPES)
@given(text=words_and_others.map("".join))
def test_text_with_the_new_words_is_the_same_text_in_no_more_tokens(recipe: str, text: str):
    before, after = small(recipe), with_words(recipe)
    assert after.decode(after.encode(text).ids) == before.decode(before.encode(text).ids)
    assert len(after.encode(text)) <= len(before.encode(text))


def test_a_longer_word_continues_from_the_new_token_where_the_model_does_that():
    plural = {name: with_words(name) for name in ("wordpiece", "bpe", "unigram")}
    wordpiece_plural = plural["wordpiece"].encode("fibroblasts").ids.tolist()
    assert [plural["wordpiece"].token(id_) for id_ in wordpiece_plural] == ["fibroblast", "##s"]
    assert plural["bpe"].encode("fibroblasts").ids.tolist() == small("bpe").encode("fibroblasts").ids.tolist()
    first, *rest = plural["unigram"].encode("fibroblasts").ids.tolist()
    whole = small("unigram").encode("fibroblast").ids.tolist()
    old = small("unigram").encode("fibroblasts").ids.tolist()
    # The new piece stands for its old ones, so it is taken where they were the best spelling.
    assert (first >= small("unigram").vocab_size) == (old[: len(whole)] == whole)
    assert rest


@pytest.mark.parametrize("recipe", RECIPES)
def test_words_of_a_text_are_chosen_by_tokens_saved(recipe: str):
    tokenizer = small(recipe)
    fragments = count_split_words(tokenizer, [DOMAIN, ["fibroblast"] * 2])
    assert fragments.num_tokens == sum(len(tokenizer.encode(text)) for text in [*DOMAIN, "fibroblast", "fibroblast"])
    words = choose_words(tokenizer, fragments, count=2, min_count=2)
    saved = [word.count * (len(word.pieces) - 1) for word in words]
    assert saved == sorted(saved, reverse=True)
    assert len(words) == 2
    assert {word.text.strip() for word in words} == {"zymurgist", "fibroblast"}  # not 2020, however often
    after = extend_tokenizer(tokenizer, words)
    texts = [*DOMAIN, "fibroblast", "fibroblast"]
    assert recount_tokens(tokenizer, after, fragments) == (sum(len(after.encode(text)) for text in texts), {})


def test_counting_drops_the_rarest_words_first():
    tokenizer = small("wordpiece")
    fragments = count_split_words(tokenizer, [["fibroblast fibroblast zymurgist zymurgy quizzology"]], max_words=2)
    assert [tokenizer.decode(run) for run in fragments.counts] == ["fibroblast"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fibroblast", "the", "dog"], r"2 of 3 cannot .*'the', 'dog' \(one token already\)"),
        (["covid-19"], r"'covid-19' \(split into covid - 19 first\).*--special FILE"),
        (["cell line", "the"], r"'cell line' \(split into cell line first\); 'the' \(one token already\)"),
        ([" ", ""], "no word to add"),
        (["x" * 101], "splits the text there first"),
        (["fibroblast", "\u200b"], "nothing is left of it"),
    ],
)
def test_words_that_cannot_be_added_are_an_error(words: list[str], message: str):
    with pytest.raises(TokenizerError, match=message):
        given_words(small("wordpiece"), words)


def test_a_text_without_words_to_add_is_an_error():
    fragments = count_split_words(small("wordpiece"), [["the dog"]])
    with pytest.raises(TokenizerError, match="no word of this text that occurs 2 times"):
        choose_words(small("wordpiece"), fragments, count=5, min_count=2)


def test_a_word_that_makes_another_unspellable_is_reported_and_not_chosen(tmp_path: Path):
    tokenizer = wordpiece(tmp_path)  # has "##uven" and "##ir", but no "##v"
    words = given_words(tokenizer, ["sou"]) if len(tokenizer.encode("sou")) > 1 else []
    assert words == []
    (tmp_path / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "s", "so", "##u", "##uv"])
    )
    tokenizer = Tokenizer.load(tmp_path / "vocab.txt")
    fragments = count_split_words(tokenizer, [["sou souv souv sou sou"]])
    after = extend_tokenizer(tokenizer, given_words(tokenizer, ["sou"]))
    assert recount_tokens(tokenizer, after, fragments)[1] == {"sou": "souv"}
    assert [word.token for word in choose_words(tokenizer, fragments, count=2, min_count=1)] == ["sou", "souv"]
    with pytest.raises(TokenizerError, match="no word"):
        choose_words(tokenizer, fragments, count=1, min_count=3)


def test_tokens_beside_the_vocabulary_keep_their_ids(tmp_path: Path):
    before = byte_level(tmp_path)  # <mask> was added after the vocabulary was trained
    assert before.tokenizer_json["model"]["vocab"].get("<mask>") is None
    words = given_words(before, ["zymurgist"])
    assert [word.token for word in words] == ["Ġzymurgist", "zymurgist"]
    after = extend_tokenizer(before, words)
    assert after.special == before.special
    assert after.encode("a <mask>", special_in_text=True).ids.tolist()[-1] == before.special.mask
    assert after.encode("a <mask>").ids.tolist() == before.encode("a <mask>").ids.tolist()


def test_a_byte_level_vocabulary_with_unreachable_tokens_cannot_be_extended(tmp_path: Path):
    before = byte_level(tmp_path)
    tree = json.loads(json.dumps(before.tokenizer_json))
    tree["model"]["vocab"] |= {"<mask>": before.special.mask, "Ġstray": before.vocab_size}
    with pytest.raises(TokenizerError, match="'Ġstray', which its own merges never make"):
        given_words(before.with_json(tree), ["zymurgist"])


def test_unknown_words_are_added_to_a_word_level_model(tmp_path: Path):
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    library = tokenizers.Tokenizer(models.WordLevel({word: i for i, word in enumerate([*special, "C", "O"])}, "[UNK]"))
    library.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    library.add_special_tokens([AddedToken(name, special=True) for name in special])
    library.save(str(tmp_path / "tokenizer.json"))
    before = Tokenizer.load(tmp_path)
    after = extend_tokenizer(before, given_words(before, ["[Pd++]"]))
    assert after.encode("C [Pd++] O").ids.tolist() == [5, 7, 6]


@pytest.mark.parametrize("recipe", ["wordpiece", "wordpiece-cased", "bpe", "unigram"])
def test_auto_tokenizer_reads_the_extended_files_alike(recipe: str, tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    after = with_words(recipe)
    after.save(tmp_path)
    auto = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert len(auto) == after.vocab_size
    for text in ["the fibroblast, fibroblasts (zymurgist) quizzology", *DOMAIN]:
        assert auto(text, add_special_tokens=False)["input_ids"] == after.encode(text).ids.tolist()
    assert Tokenizer.load(tmp_path).fingerprint == after.fingerprint
