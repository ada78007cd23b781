"""SentencePiece models give the ids of sentencepiece itself, and of the classes of transformers that shift them."""

from __future__ import annotations

import contextlib
import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from maskling.errors import TokenizerError
from maskling.tokenizer.tokenizer import Tokenizer
from oracles.sentencepiece_models import OPTIONS, model_bytes
from oracles.small_text import texts

sentencepiece = pytest.importorskip("sentencepiece")

READ = [name for name in OPTIONS if name not in ("word", "suffix")]
# Not the charsmap's odd corners: the library looks up five bytes together, and forgets what follows a match in them.
FRAGMENTS = [
    *("the", "The", "quick", "3.14", "naïve", "nai\u0308ve", "ﬁne", "½", "①", "\u1112\u1161\u11ab", "한국어", "中国"),
    *(
        "<url>",
        "C++",
        "(",
        ")",
        "<b>",
        "\n",
        "\t",
        "\xa0",
        " ",
        "  ",
        "   ",
        "▁",
        "😀",
        "ß",
        "İ",
        "\u200b",
        "zz",
        "\u3000",
    ),
    *("<s>", "</s>", "<unk>", "<pad>", "[CLS]", "[MASK]", "1,", "“", "it's"),
]
pieces_of_text = st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join)


def load(name: str, folder: Path) -> tuple[Tokenizer, Any]:
    file = folder / "tokenizer.model"
    file.write_bytes(model_bytes(name))
    return (
        Tokenizer.load(file, add_missing=True),
        sentencepiece.SentencePieceProcessor(model_proto=model_bytes(name)),
    )


def agree(ours: list[int], theirs: list[int], model: Any) -> bool:
    """Whether ids are the same, or another segmentation of equal likelihood: sentencepiece adds up in 32 bits."""
    if ours == theirs:
        return True
    spelled = ["".join(map(model.id_to_piece, ids)) for ids in (ours, theirs)]
    scores = [sum(map(model.get_score, ids)) for ids in (ours, theirs)]
    return spelled[0] == spelled[1] and scores[0] == pytest.approx(scores[1], abs=1e-4)


@pytest.fixture(scope="module", params=READ)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, Any]:
    return load(request.param, tmp_path_factory.mktemp("spm"))


def test_text_has_the_ids_of_sentencepiece(both: tuple[Tokenizer, Any]):
    ours, theirs = both
    for text in texts():
        assert agree(ours.encode(text).ids.tolist(), theirs.encode(text), theirs), text


@given(text=pieces_of_text)
@example("a<s>b")
@example("<url>the")
@example(" the  dog ")
def test_odd_text_has_the_ids_of_sentencepiece_and_injects_no_special_token(both: tuple[Tokenizer, Any], text: str):
    ours, theirs = both
    assert agree(ours.encode(text).ids.tolist(), theirs.encode(text), theirs)


def test_a_saved_folder_has_the_same_ids_in_transformers(both: tuple[Tokenizer, Any], tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    ours, _ = both
    ours.save(tmp_path)
    assert Tokenizer.load(tmp_path).fingerprint == ours.fingerprint
    auto = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in texts():
        assert auto(text, add_special_tokens=False)["input_ids"] == ours.encode(text).ids.tolist()
    assert auto.convert_tokens_to_ids(ours.mask_token) == ours.special.mask
    ids = auto("the", "dog")["input_ids"]
    assert [ids[0], ids[-1]] == [ours.special.cls, ours.special.sep]


def folder_of(where: Path, name: str, file: str, model_type: str, **config: Any) -> Path:
    where.mkdir(exist_ok=True)
    (where / file).write_bytes(model_bytes(name))
    (where / "tokenizer_config.json").write_text(json.dumps(config))
    (where / "config.json").write_text(json.dumps({"model_type": model_type}))
    return where


FOLDERS: dict[str, dict[str, Any]] = {
    "xlm-roberta": {"name": "unigram", "file": "sentencepiece.bpe.model", "tokenizer_class": "XLMRobertaTokenizer"},
    "camembert": {"name": "unigram", "file": "sentencepiece.bpe.model", "tokenizer_class": "CamembertTokenizerFast"},
    "mbart": {"name": "unigram", "file": "sentencepiece.bpe.model", "tokenizer_class": "MBartTokenizer"},
    "t5": {"name": "t5", "file": "spiece.model", "tokenizer_class": "T5Tokenizer", "extra_ids": 3},
    "albert": {"name": "albert", "file": "spiece.model", "tokenizer_class": "AlbertTokenizer"},
    "deberta-v2": {"name": "deberta", "file": "spm.model", "do_lower_case": False, "vocab_type": "spm"},
    "llama": {"name": "llama", "file": "tokenizer.model", "tokenizer_class": "LlamaTokenizer"},
}
# The special tokens of each published folder, and where sentencepiece's id of a piece goes.
SHIFT = {"xlm-roberta": 1, "camembert": 4, "mbart": 1, "t5": 0, "albert": 0, "deberta-v2": 0, "llama": 0}


def albert_text(text: str) -> str:
    """What ALBERT's own code does with a text before SentencePiece (do_lower_case, no keep_accents)."""
    decomposed = unicodedata.normalize("NFKD", text.replace("``", '"').replace("''", '"'))
    return "".join(c for c in decomposed if not unicodedata.combining(c)).lower()


@pytest.mark.parametrize("kind", FOLDERS)
def test_the_folder_of_a_published_class_has_its_ids(kind: str, tmp_path: Path):
    name = FOLDERS[kind]["name"]
    ours = Tokenizer.load(folder_of(tmp_path / "m", model_type=kind, **FOLDERS[kind]), add_missing=True)
    theirs = sentencepiece.SentencePieceProcessor(model_proto=model_bytes(name))
    for text in texts():
        ids = theirs.encode(albert_text(text) if kind == "albert" else text)
        expected = [ours.special.unk if id_ == theirs.unk_id() else id_ + SHIFT[kind] for id_ in ids]
        assert ours.encode(text).ids.tolist() == expected, text


@pytest.mark.parametrize("kind", ["xlm-roberta", "camembert", "mbart", "t5", "llama"])
def test_the_folder_of_a_published_class_is_read_as_transformers_reads_it(kind: str, tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    folder = folder_of(tmp_path / "m", model_type=kind, **FOLDERS[kind])
    ours, auto = Tokenizer.load(folder, add_missing=True), transformers.AutoTokenizer.from_pretrained(folder)
    if kind != "mbart":  # version 5 leaves the charsmap of mBART out; version 4 and sentencepiece do not
        for text in filter(str.strip, texts()):  # version 5 drops a space that Llama's own code keeps
            assert ours.encode(text).ids.tolist() == auto(text, add_special_tokens=False)["input_ids"]
    if kind not in ("t5", "llama"):  # they have neither <mask> nor a start token around a text
        assert len(auto) == ours.vocab_size
        roles = (auto.pad_token_id, auto.unk_token_id, auto.cls_token_id, auto.sep_token_id, auto.mask_token_id)
        special = ours.special
        assert roles == (special.pad, special.unk, special.cls, special.sep, special.mask)
        masked = f"The quick {ours.mask_token} fox"
        assert (
            ours.encode(masked, special_in_text=True).ids.tolist()
            == auto(masked, add_special_tokens=False)["input_ids"]
        )
    if kind in ("xlm-roberta", "camembert"):
        ours.save(tmp_path / "saved")
        again = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
        assert again("the", "dog")["input_ids"] == auto("the", "dog")["input_ids"]
        assert ours.num_separators == 2
        assert not ours.token_types


def test_t5_has_its_sentinels_after_the_pieces(tmp_path: Path):
    ours = Tokenizer.load(folder_of(tmp_path / "m", model_type="t5", **FOLDERS["t5"]), add_missing=True)
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model_bytes("t5")).get_piece_size()
    assert [ours.token(pieces + index) for index in range(3)] == ["<extra_id_2>", "<extra_id_1>", "<extra_id_0>"]


@pytest.mark.parametrize("flags", [{"do_lower_case": False, "keep_accents": True}, {"do_lower_case": False}, {}])
def test_the_flags_of_albert_are_heeded(flags: dict[str, bool], tmp_path: Path):
    ours = Tokenizer.load(folder_of(tmp_path / "m", model_type="albert", **{**FOLDERS["albert"], **flags}))
    expected = "Café" if flags.get("keep_accents") else "cafe" if not flags else "Cafe"
    assert ours.normalized("Café") == expected


def test_tokenizer_json_wins_over_a_model_beside_it(tmp_path: Path):
    folder = folder_of(tmp_path / "m", model_type="xlm-roberta", **FOLDERS["xlm-roberta"])
    other, _ = load("bpe", tmp_path)
    other.save(folder)
    assert Tokenizer.load(folder).kind == "BPE"


def test_a_token_that_the_folder_adds_has_its_declared_id(tmp_path: Path):
    folder = folder_of(tmp_path / "m", model_type="deberta-v2", **FOLDERS["deberta-v2"])
    size = Tokenizer.load(folder).vocab_size
    (folder / "added_tokens.json").write_text(json.dumps({"[MASK]": size - 1, "covid-19": size}))
    assert Tokenizer.load(folder).encode("covid-19").ids.tolist() == [size]
    (folder / "added_tokens.json").write_text(json.dumps({"covid-19": size + 5}))
    with pytest.raises(TokenizerError, match="declares the id"):
        Tokenizer.load(folder)


REFUSED = {
    "word": "SentencePiece model of type WORD",
    "suffix": "SentencePiece model with treat_whitespace_as_suffix",
}


@pytest.mark.parametrize("name", REFUSED)
def test_models_that_the_library_cannot_reproduce_are_refused_by_name(name: str, tmp_path: Path):
    (tmp_path / "spm.model").write_bytes(model_bytes(name))
    with pytest.raises(TokenizerError, match=REFUSED[name]):
        Tokenizer.load(tmp_path)


DAMAGED = {
    "cut": (lambda: model_bytes("bpe")[:-300], "is not a SentencePiece model, or it is damaged"),
    "empty": (lambda: b"", "is not a SentencePiece model"),
    "zip": (lambda: b"PK\x03\x04" + bytes(500), "is not a SentencePiece model"),
    "long number": (lambda: b"\xff" * 100, "is not a SentencePiece model"),
    "gguf": (lambda: b"GGUF\x03\x00\x00\x00" + bytes(99), "is a GGUF file"),
    "tiktoken": (lambda: b"IQ== 0\nIg== 1\nIw== 2\n", "is a tiktoken vocabulary"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_or_other_file_is_one_clear_line(case: str, tmp_path: Path):
    make, message = DAMAGED[case]
    (tmp_path / "tokenizer.model").write_bytes(make())
    for path in (tmp_path, tmp_path / "tokenizer.model"):
        with pytest.raises(TokenizerError, match=message) as caught:
            Tokenizer.load(path)
        assert "\n" not in str(caught.value)


@given(where=st.integers(0, 3000), byte=st.integers(0, 255))
def test_any_changed_byte_is_read_or_refused(where: int, byte: int, tmp_path_factory: pytest.TempPathFactory):
    data = bytearray(model_bytes("llama"))
    data[where % len(data)] = byte
    file = tmp_path_factory.mktemp("spm") / "tokenizer.model"
    file.write_bytes(data)
    with contextlib.suppress(TokenizerError):
        Tokenizer.load(file, add_missing=True).encode("a text")
