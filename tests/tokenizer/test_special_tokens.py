"""Special tokens beyond the five stay whole, and a mask in a text is encoded as in training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken
from tokenizers import Tokenizer as Library

from maskling.data.assemble import assemble
from maskling.data.masking.corruption import MaskingVocabulary
from maskling.data.pairing.strategy import Segments
from maskling.data.shards import in_memory
from maskling.errors import TokenizerError
from maskling.tokenizer import normalization, older
from maskling.tokenizer.settings import TokenizerSettings
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.tokenizer.training import count_words, train_vocabulary
from oracles.small_text import texts
from oracles.tokenizer_recipes import small

KINDS = ["wordpiece", "bpe", "unigram"]
OURS = ("[URL]", "<ent>", "</ent>")


def marked(kind: Any, **fields: Any) -> Tokenizer:
    settings = TokenizerSettings(kind=kind, vocab_size=600, min_count=1, special_tokens=OURS, **fields)
    return train_vocabulary(count_words([*texts(), "see [URL] the <ent>fox</ent>"], settings), settings)


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_stay_whole_and_are_never_masked_or_drawn(kind: str, tmp_path: Path):
    tokenizer = marked(kind)
    ids = [tokenizer.id_of(token) for token in OURS]
    assert ids == [5, 6, 7]
    text = "the <ent>fox</ent> at [URL], [MASK] [URL"
    assert [id_ for id_ in tokenizer.encode(text).ids.tolist() if id_ in ids] == [6, 7, 5]
    assert tokenizer.special.mask not in tokenizer.encode(text).ids
    assert tokenizer.special.mask in tokenizer.encode(text, special_in_text=True).ids
    assert not set(ids) & set(tokenizer.ordinary_ids.tolist())
    assert set(ids) < set(tokenizer.special_ids.tolist())
    tokens = tokenizer.encode(text)
    split = in_memory([[tokens.ids.tolist()]], [[tokens.word_starts.tolist()]])
    one = [np.array([value], np.int64) for value in (0, len(tokens), 0, 0, -1)]
    for predicts_unknown in (False, True):
        found, words = assemble(split, Segments(*one), MaskingVocabulary.of(tokenizer), False, predicts_unknown)
        assert (words.word[np.isin(found, ids)] == -1).all()
    tokenizer.save(tmp_path)
    names = json.loads((tmp_path / "special_tokens_map.json").read_text())
    assert names["additional_special_tokens"] == list(OURS)
    assert Tokenizer.load(tmp_path).fingerprint == tokenizer.fingerprint


def test_words_are_counted_between_special_tokens():
    settings = TokenizerSettings(special_tokens=OURS, dotless_i=False)
    assert count_words(["a<ent>b</ent> [URL][URL]"], settings) == {"a": 1, "b": 1}


def test_too_many_special_tokens():
    settings = TokenizerSettings(vocab_size=16, special_tokens=tuple(f"<{n}>" for n in range(11)))
    with pytest.raises(TokenizerError, match="no room for words beside 16 special tokens"):
        train_vocabulary({"a": 3}, settings)


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_of_a_given_tokenizer_stay_whole_in_a_corpus(kind: str, tmp_path: Path):
    library = Library.from_str(small(kind)._library.to_str())
    library.add_special_tokens([AddedToken("<ent>", normalized=False), "[unused1]"])
    library.save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer.load(tmp_path / "tokenizer.json")
    text = "the <ent>fox [unused1]"
    expected = library.encode(text, add_special_tokens=False).ids
    assert tokenizer.encode(text).ids.tolist() == expected
    assert tokenizer.id_of("<ent>") in expected


@pytest.mark.parametrize("recipe", ["wordpiece", "bpe", "bpe-cased", "unigram", "unigram-cased", "bert"])
def test_a_typed_mask_gives_the_ids_of_a_masked_word(recipe: str):
    tokenizer = small(recipe)
    checked = 0
    for text in texts():
        tokens = tokenizer.encode(text)
        (spans,) = tokenizer.encode_with_offsets([text])
        for begin, end in _words(text):
            inside = np.flatnonzero((spans.begins >= begin) & (spans.ends <= end) & (spans.ends > spans.begins))
            if len(inside) != 1 or not tokens.word_starts[inside[0]]:
                continue  # more than one token, or a token for the space before it
            masked = tokens.ids.copy()
            masked[inside[0]] = tokenizer.special.mask
            typed = tokenizer.encode(f"{text[:begin]}{tokenizer.mask_token}{text[end:]}", special_in_text=True)
            assert typed.ids.tolist() == masked.tolist(), text[max(0, begin - 20) : end + 20]
            checked += 1
    assert checked > 20


def _words(text: str) -> list[tuple[int, int]]:
    """Words after one space, or at the start: the space before a mask belongs to it."""
    found, start = [], 0
    for index, character in enumerate([*text, " "]):
        if not character.isalpha():
            if index > start and text[start - 1 : start] in ("", " "):
                found.append((start, index))
            start = index + 1
    return found


def as_before(kind: str) -> dict[str, Any]:
    """A tokenizer.json as earlier versions trained it."""
    tree: dict[str, Any] = json.loads(json.dumps(small(kind).tokenizer_json))
    steps = [{"type": "Lowercase"}, {"type": "NFD"}, {"type": "StripAccents"}, {"type": "NFC"}]
    tree["normalizer"] = {"type": "Sequence", "normalizers": steps}
    for token in tree["added_tokens"]:
        token["lstrip"] = False
    if kind == "unigram":
        tree["pre_tokenizer"] = older._old_unigram()
    return tree


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_tokenizers_of_earlier_versions_keep_their_ids_and_fingerprint(kind: str, tmp_path: Path):
    tree = as_before(kind)
    (tmp_path / "tokenizer.json").write_text(json.dumps(tree))
    tokenizer, library = Tokenizer.load(tmp_path / "tokenizer.json"), Library.from_str(json.dumps(tree))
    names = {role: f"[{role.upper()}]" for role in ("pad", "unk", "cls", "sep", "mask")}
    parts = {key: tree[key] for key in ("added_tokens", "normalizer", "pre_tokenizer", "model")}
    assert older.original(tokenizer.tokenizer_json) | parts == older.original(tokenizer.tokenizer_json)
    before = Tokenizer(library, names)
    assert tokenizer.fingerprint == before.fingerprint
    for text in [*texts(), " The  fox\u00a0is\n(here) .", "\u0301fox", "the\u200bfox"]:
        assert tokenizer.encode(text).ids.tolist() == library.encode(text, add_special_tokens=False).ids
    typed = tokenizer.encode("The [MASK] of the [MASK].", special_in_text=True).ids.tolist()
    assert [tokenizer.token(id_) for id_ in typed if id_ == 4 or tokenizer.token(id_) in ("Ġ", "▁", ".")] == [
        "[MASK]",
        "[MASK]",
        ".",
    ]
    tokenizer.save(tmp_path / "again")
    assert Tokenizer.load(tmp_path / "again").fingerprint == tokenizer.fingerprint
    (mask,) = (t for t in json.loads((tmp_path / "again/tokenizer.json").read_text())["added_tokens"] if t["id"] == 4)
    assert mask["lstrip"] == (kind == "bpe")


def test_tokenizers_from_elsewhere_are_left_as_they_are():
    tree = as_before("bpe")
    tree["added_tokens"].insert(0, tree["added_tokens"].pop())
    assert older.mended(tree) is tree
    assert older.original(tree) is tree
    wordpiece = small("bert").tokenizer_json
    assert older.mended(wordpiece) is wordpiece
    assert normalization.recognize(wordpiece["normalizer"], "wordpiece") is None
