"""Kinds for molecules, proteins, DNA, code and logs: units, kept white space, single digits, long words."""

from __future__ import annotations

import json
import re
import textwrap
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maskling.config import Layer, resolve
from maskling.errors import SettingsError
from maskling.tokenizer import fast_encoder, word_starts
from maskling.tokenizer.characters import character_word_starts
from maskling.tokenizer.library import BERT_SPECIAL_TOKENS, library_to_json, with_special_as_text
from maskling.tokenizer.normalization import INVISIBLE
from maskling.tokenizer.pre_split import chunking
from maskling.tokenizer.settings import PATTERNS, TokenizerSettings
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.tokenizer.training import count_words, train_vocabulary
from oracles.nasty_text import FRAGMENTS, nasty, pairs_of_fragments
from oracles.small_text import texts
from oracles.tokenizer_recipes import DOMAIN_RECIPES, small

MANY = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
UNITS = [name for name, recipe in DOMAIN_RECIPES.items() if recipe["kind"] in ("regex", "kmer")]

CODE = textwrap.dedent(
    """\
    class Stack:
        \"\"\"A stack.\"\"\"

        def __init__(self, items=()):
            self.items  = list(items)   # two  spaces
    \tdef tabs(self):
    \t\treturn {'a': [1, 2, 3],
                    'b': x_12 >= 10}


    print(Stack([10, 200]).items[0])  """
)
MOLECULES = ["CC(=O)Oc1ccccc1C(=O)O", "C[C@@H](N)C(=O)O", "[Na+].[Cl-]", "BrCCCl", "C%12CC%12", "O=C(O)C[C@H](O)CF"] * 3
DNA = ["".join("ACGT"[(i * i + j * i + j) % 4] for i in range(j, j + 40 + j)) for j in range(30)]


def trained(corpus: list[str], **fields: object) -> Tokenizer:
    """A tokenizer with these settings."""
    chosen = TokenizerSettings(**({"vocab_size": 600, "chinese_words": "characters"} | fields))
    return train_vocabulary(count_words(corpus, chosen), chosen)


# One text in four, and all of them in the slow suite.
SHARES = pytest.mark.parametrize("share", [4, pytest.param(1, marks=pytest.mark.slow)])


@pytest.fixture(params=["strings", "bytes"])
def split_as(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How short texts are split; without this fixture they would all be split as strings."""
    if request.param == "bytes":
        monkeypatch.setattr(fast_encoder, "_MIN_BYTES_CHARACTERS", 0)
    return request.param


@pytest.fixture(params=DOMAIN_RECIPES)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    """One of every recipe in turn."""
    return small(request.param)


@MANY
@given(batch=st.lists(nasty, max_size=4))
def test_the_fast_encoder_gives_the_ids_and_word_starts_of_the_library(
    tokenizer: Tokenizer, split_as: str, batch: list[str]
):
    plain = with_special_as_text(tokenizer._library)
    encodings = plain.encode_batch(batch, add_special_tokens=False)
    for _ in range(2):  # encoded by the library, then looked up
        found = tokenizer.encode_batch(batch)
        assert [tokens.ids.tolist() for tokens in found] == [encoding.ids for encoding in encodings]
    for text, tokens, encoding in zip(batch, found, encodings, strict=True):
        if tokenizer.kind == "WordPiece":
            expected = [not token.startswith("##") for token in encoding.tokens]
        elif tokenizer._spelling.continuing is not None:
            expected = [True] * len(encoding)
        else:
            # Word starts are read off the offsets of the normalized text, where that has the same tokens.
            text = tokenizer._encoder._library_encoder.offsets_text(text)
            encoding = plain.encode(text, add_special_tokens=False)
            at = character_word_starts(text, tokenizer.words)
            expected = word_starts.word_starts(text, encoding, at).tolist()
        assert tokens.word_starts.tolist() == expected


def test_a_joiner_at_the_front_of_a_text_does_not_depend_on_the_text_before(tokenizer: Tokenizer):
    alone = tokenizer.encode("\u200d\xc9COLE").word_starts.tolist()
    fresh = Tokenizer.__reduce__(tokenizer)[0](*Tokenizer.__reduce__(tokenizer)[1])
    (_, after) = fresh.encode_batch(["a.", "\u200d\xc9COLE"])
    assert after.word_starts.tolist() == alone


@SHARES
def test_pairs_of_fragments_have_the_ids_of_the_library(tokenizer: Tokenizer, split_as: str, share: int):
    batch = pairs_of_fragments(share)
    expected = [e.ids for e in with_special_as_text(tokenizer._library).encode_batch(batch, add_special_tokens=False)]
    assert [tokens.ids.tolist() for tokens in tokenizer.encode_batch(batch)] == expected


def test_auto_tokenizer_gives_the_same_ids_and_text(tokenizer: Tokenizer, tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    tokenizer.save(tmp_path, max_length=77)
    auto = transformers.AutoTokenizer.from_pretrained(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert again.fingerprint == tokenizer.fingerprint
    specials = re.compile(r"\[(PAD|UNK|CLS|SEP|MASK)\]|<s>|</s>|<mask>|<pad>|<unk>")
    for text in [*texts(), CODE, *MOLECULES[:6], *DNA[:3], *(f for f in FRAGMENTS if not specials.search(f))]:
        text = text.encode("utf-8", "replace").decode()
        ids = tokenizer.encode(text).ids.tolist()
        assert auto(text, add_special_tokens=False)["input_ids"] == ids
        assert again.encode(text).ids.tolist() == ids
        if tokenizer._json["decoder"]["type"] in ("Fuse", "ByteLevel"):
            assert auto.decode(ids) == tokenizer.decode(ids)
    masked = f"The quick {tokenizer.mask_token} jumps."
    assert auto(masked, add_special_tokens=False)["input_ids"] == tokenizer.encode(masked, True).ids.tolist()


def test_every_domain_kind_but_words_is_split_into_chunks(tokenizer: Tokenizer):
    words = DOMAIN_RECIPES["words"]["kind"] == "words" and tokenizer._json["pre_tokenizer"] == {
        "type": "BertPreTokenizer"
    }
    assert (chunking(library_to_json(tokenizer._library), BERT_SPECIAL_TOKENS.values()) is not None) != words


@pytest.mark.parametrize("recipe", UNITS)
def test_each_unit_is_a_word_of_its_own(recipe: str):
    tokens = small(recipe).encode(f"{MOLECULES[0]} {DNA[3]}")
    assert tokens.word_starts.all()
    assert small(recipe).starts_word[small(recipe).ordinary_ids].all()


@pytest.mark.parametrize("kind", ["regex", "kmer"])
@given(text=st.text("[MASKCLSEPUN]CO1\n ", max_size=30))
def test_special_tokens_in_a_molecule_are_text(kind: str, text: str):
    fields = {"pattern": "smiles"} if kind == "regex" else {"k": 6}
    tokenizer = trained(["[MASK][CLS]C[PAD]O1 [UNK]SEPUN"] * 3, kind=kind, **fields)
    for one in (text, text + "[MASK]", "[UNK]" + text):
        assert not set(tokenizer.encode(one).ids.tolist()) & {0, 2, 3, 4}


def test_molecules_are_split_as_published():
    tokenizer = trained(MOLECULES, kind="regex", pattern="smiles", min_count=1)
    # The pattern as published in the supplement of Schwaller et al. 2019, with Python's own engine.
    published = (
        r"(\[[^\]]+]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|\(|\)|\.|=|#|-|\+|\\\\|\/|:|~|@|\?|>|\*|\$|\%[0-9]{2}|[0-9])"
    )
    for molecule in MOLECULES:
        tokens = [tokenizer.token(id_) for id_ in tokenizer.encode(molecule).ids]
        assert tokens == re.findall(published, molecule)
        assert tokenizer.decode(tokenizer.encode(molecule).ids) == molecule
    # An atom that the training text lacks is spelled with characters, of which only the unseen are unknown.
    assert [tokenizer.token(id_) for id_ in tokenizer.encode("C[C+]Q").ids] == ["C", "[", "C", "+", "]", "[UNK]"]


def test_kmers_lie_side_by_side_and_the_rest_are_single_letters():
    tokenizer = trained(DNA, kind="kmer", k=3)
    tokens = [tokenizer.token(id_) for id_ in tokenizer.encode("ACGTACGTAC").ids]
    assert [token for token in tokens if len(token) == 3] == ["ACG", "TAC", "GTA"][: sum(len(t) == 3 for t in tokens)]
    assert "".join(tokens) == "ACGTACGTAC"
    assert tokens[-1] == "C"
    assert tokenizer.encode("ACGTN").ids[-1] == tokenizer.special.unk


def test_words_outside_the_vocabulary_are_unknown_and_characters_are_code_points():
    words = trained(["ERROR [blk_1] received", "ERROR [blk_1] received"], kind="words")
    assert [words.token(i) for i in words.encode("ERROR sent [blk_1]").ids] == [
        *("ERROR", "[UNK]", "[", "blk", "_", "1", "]")
    ]
    # q and a combining dot: two code points, which NFC does not join.
    characters = trained(["q\u0307e\u0301"] * 2, kind="characters")
    assert [characters.token(i) for i in characters.encode("e\u0301q\u0307").ids] == ["é", "q", "\u0307"]


@pytest.mark.parametrize("kind", ["bpe", "unigram", "characters", "words", "regex", "kmer"])
@pytest.mark.parametrize("digits", [False, True])
def test_code_reads_back_with_its_indentation(kind: str, digits: bool):
    fields = {"pattern": r"\w+"} if kind == "regex" else {}
    digits = digits and kind != "characters"
    tokenizer = trained([CODE] * 2, kind=kind, spaces="keep", split_digits=digits, **fields)
    ids = tokenizer.encode(CODE).ids
    assert tokenizer.decode(ids) == CODE
    assert tokenizer.special.unk not in ids
    # Sentences hold the white space before them: together they are the text.
    lines = re.findall(r"\s*\S[^\n]*?(?=\s*\n|\s*\Z)|\s+\Z", CODE)
    assert "".join(lines) == CODE
    assert np.concatenate([tokens.ids for tokens in tokenizer.encode_batch(lines)]).tolist() == ids.tolist()


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_indentation_is_one_token(kind: str):
    tokenizer = trained(["if x:\n        return y\n"] * 9, kind=kind, spaces="keep")
    assert [tokenizer.decode([i]) for i in tokenizer.encode("if x:\n        return y").ids] == [
        *("if", " x", ":", "\n       ", " return", " y")
    ]


@MANY
@given(text=st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=40))
@pytest.mark.parametrize("kind", ["bpe", "characters"])
def test_any_text_in_normal_form_reads_back(kind: str, text: str):
    text = unicodedata.normalize("NFC", re.sub(f"[{INVISIBLE}]", "", text))
    tokenizer = trained([text or "a", CODE], kind=kind, spaces="keep", min_count=1)
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram", "words", "regex", "kmer"])
def test_digits_are_single_tokens(kind: str):
    fields = {"pattern": "smiles"} if kind == "regex" else {}
    corpus = ["in 1984 and 2024 1984 C%12 x12y 1984", "½ ² 1984 ٣٤ 1984"] * 3
    tokenizer = trained(corpus, kind=kind, split_digits=True, **fields)
    for id_ in tokenizer.ordinary_ids.tolist():
        token = tokenizer.token(id_)
        text = tokenizer.decode([id_]).replace("##", "") if kind != "bpe" else tokenizer.decode([id_])
        assert not (any(c.isdecimal() for c in text) and len(text.strip()) > 1), token
    ids = tokenizer.encode("1984").ids
    assert len(ids) - (kind == "unigram" and tokenizer.token(int(ids[0])) == "▁") == 4


def test_long_words_are_cut_and_not_unknown():
    thai = "วันนี้อากาศดีมาก" * 20
    for corpus in (DNA + ["ACGT" * 80] * 3, [thai] * 3, ["パンダハンバーグ" * 40] * 3):
        tokenizer = trained(corpus, strip_accents=False, lowercase=False)
        ids = tokenizer.encode(corpus[-1]).ids
        assert tokenizer.special.unk not in ids
        assert tokenizer.decode(ids).replace(" ", "") == corpus[-1]
    assert chunking(tokenizer.tokenizer_json, BERT_SPECIAL_TOKENS.values()) is not None


def test_a_cut_word_starts_with_a_letter_not_a_mark():
    words = ["ก" + "\u0e34ก" * 99] * 3
    tokenizer = trained(words, strip_accents=False)
    tokens = [tokenizer.token(i) for i in tokenizer.encode(words[0]).ids]
    starts = [token for token in tokens if not token.startswith("##")]
    assert len(starts) >= 2
    assert all(not token.startswith("\u0e34") for token in starts)
    assert "[UNK]" not in tokens


def test_text_without_long_words_keeps_the_tokenizer_of_bert():
    rare_long = ["the quick brown fox jumps over the lazy dog. " * 4000, "x" * 101]
    pre = trained(rare_long).tokenizer_json["pre_tokenizer"]
    assert pre == {"type": "BertPreTokenizer"}


@pytest.mark.parametrize("kind", ["wordpiece", "unigram", "characters"])
def test_rare_characters_are_kept_where_they_are_many(kind: str):
    # 600 characters, each once: with min_count 2 all would be unknown.
    corpus = ["".join(map(chr, range(0x4E00 + 60 * i, 0x4E00 + 60 * i + 60))) for i in range(10)]
    tokenizer = trained(corpus, kind=kind, vocab_size=1000)
    counts = Counter(np.concatenate([t.ids for t in tokenizer.encode_batch(corpus)]).tolist())
    assert counts[tokenizer.special.unk] <= 0.005 * sum(counts.values())


def test_characters_fill_the_room_that_merges_leave():
    corpus = ["".join(map(chr, range(0x4E00, 0x4E00 + 500)))] * 2
    tokenizer = trained(corpus, vocab_size=520)  # max_alphabet alone would keep 386 of 500 characters
    assert tokenizer.special.unk not in tokenizer.encode(corpus[0]).ids


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram", "characters", "words", "kmer"])
@pytest.mark.parametrize("text", ["a", "a a a", "aaaa", "\u4e00", "1"])
def test_tiny_corpora(kind: str, text: str):
    tokenizer = trained([text], kind=kind, min_count=1)
    assert tokenizer.special.unk not in tokenizer.encode(text).ids
    again = trained([text], kind=kind, min_count=1)
    assert json.dumps(again.tokenizer_json) == json.dumps(tokenizer.tokenizer_json)


@pytest.mark.parametrize("kind", ["wordpiece", "unigram", "characters", "regex", "kmer"])
def test_a_vocabulary_smaller_than_the_alphabet_keeps_the_frequent(kind: str):
    fields = {"pattern": "."} if kind == "regex" else {}
    corpus = ["".join(chr(0x4E00 + i) * (i + 1) for i in range(60))]
    tokenizer = trained(corpus, kind=kind, vocab_size=16, **fields)
    assert tokenizer.vocab_size <= 16
    assert tokenizer.id_of(chr(0x4E00 + 59)) >= 5


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"kind": "regex"}, "needs a pattern"),
        ({"kind": "regex", "pattern": "(a"}, "not a regular expression"),
        ({"kind": "regex", "pattern": "a*"}, "matches the empty text"),
        ({"kind": "regex", "pattern": "(?=b)"}, "matches the empty text"),
        ({"kind": "regex", "pattern": r"\b|[a-z]+"}, "matches the empty text"),
        ({"pattern": "smiles"}, "no effect with the kind wordpiece"),
        ({"k": 4}, "no effect with the kind wordpiece"),
        ({"kind": "bpe", "k": 4}, "no effect with the kind bpe"),
        ({"spaces": "keep"}, "does not work with the kind wordpiece"),
        ({"kind": "characters", "split_digits": True}, "no effect with the kind characters"),
    ],
)
def test_settings_that_cannot_work_are_errors(tree: dict[str, object], message: str):
    with pytest.raises(SettingsError, match=message) as caught:
        resolve(TokenizerSettings, [Layer("a file", tree)])
    assert "\n" not in str(caught.value)


def test_case_is_kept_where_it_is_a_symbol():
    assert TokenizerSettings().lowercase
    assert TokenizerSettings(kind="bpe").lowercase
    assert not TokenizerSettings(kind="bpe", spaces="keep").lowercase
    for kind in ("characters", "words", "kmer"):
        assert not TokenizerSettings(kind=kind).lowercase
        assert TokenizerSettings(kind=kind, lowercase=True).lowercase
    for chosen in (TokenizerSettings(), TokenizerSettings(kind="kmer"), TokenizerSettings(kind="regex", pattern="dna")):
        assert TokenizerSettings.model_validate(chosen.model_dump()) == chosen


@pytest.mark.parametrize("name", PATTERNS)
def test_named_patterns_are_read_by_javascript_too(name: str):
    # Under the flag u, JavaScript knows no other escapes of punctuation than these.
    assert all(c in "^$\\.*+?()[]{}|/" for c in re.findall(r"\\(\W)", PATTERNS[name]))
