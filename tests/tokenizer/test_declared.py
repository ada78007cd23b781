"""What a folder declares is heeded: its class, special and added tokens; what is missing is added on request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors
from tokenizers import Tokenizer as Library

from maskling.errors import TokenizerError
from maskling.tokenizer.tokenizer import Tokenizer
from small_models import byte_level

BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
AMINO = ["<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWC", "X", ".", "-", "<mask>"]


def folder(where: Path, vocabulary: list[str], **files: Any) -> Path:
    where.mkdir(exist_ok=True)
    (where / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    for name, content in files.items():
        (where / f"{name}.json").write_text(json.dumps(content))
    return where


def roberta(where: Path, **files: Any) -> Path:
    """RoBERTa as it was published first: vocab.json and merges.txt, without tokenizer.json."""
    where.mkdir(exist_ok=True)
    model = byte_level(where / "made").tokenizer_json["model"]
    vocabulary = model["vocab"] | {"<mask>": len(model["vocab"])}
    (where / "vocab.json").write_text(json.dumps(vocabulary))
    (where / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in model["merges"]))
    for name, content in files.items():
        (where / f"{name}.json").write_text(json.dumps(content))
    return where


def spelled(tokenizer: Tokenizer, text: str) -> list[str]:
    return [tokenizer.token(id_) for id_ in tokenizer.encode(text, special_in_text=True).ids.tolist()]


MASK = {
    "__type": "AddedToken",
    "content": "<mask>",
    "lstrip": True,
    "rstrip": False,
    "normalized": False,
    "single_word": False,
}


@pytest.mark.parametrize(
    "files",
    [
        {"tokenizer_config": {"tokenizer_class": "RobertaTokenizer"}},
        {"config": {"model_type": "roberta"}},
        {},
        {"tokenizer_config": {"tokenizer_class": "RobertaTokenizerFast", "mask_token": MASK}},
        {"special_tokens_map": {"mask_token": MASK}, "config": {"model_type": "roberta"}},
    ],
)
def test_roberta_without_tokenizer_json_has_two_separators_and_a_mask_that_takes_the_space(
    files: dict[str, Any], tmp_path: Path
):
    tokenizer = Tokenizer.load(roberta(tmp_path / "m", **files))
    assert spelled(tokenizer, "the <mask> fox") == ["the", "<mask>", "Ġfox"]
    assert tokenizer.num_separators == 2
    assert not tokenizer.token_types
    tokenizer.save(tmp_path / "saved")
    assert spelled(Tokenizer.load(tmp_path / "saved"), "the <mask> fox") == ["the", "<mask>", "Ġfox"]


@pytest.mark.parametrize("lstrip", [True, False])
def test_the_declared_flags_of_a_mask_win_and_the_saved_folder_has_the_form_of_the_given_one(
    lstrip: bool, tmp_path: Path
):
    transformers = pytest.importorskip("transformers")
    config = {"tokenizer_class": "RobertaTokenizer", "mask_token": MASK | {"lstrip": lstrip}}
    given = roberta(tmp_path / "m", tokenizer_config=config, config={"model_type": "roberta"})
    tokenizer = Tokenizer.load(given)
    tokenizer.save(tmp_path / "saved")
    for place in (given, tmp_path / "saved"):
        auto = transformers.AutoTokenizer.from_pretrained(place)
        ids = tokenizer.encode("the <mask> fox", special_in_text=True).ids.tolist()
        assert ids == auto("the <mask> fox", add_special_tokens=False)["input_ids"]
        pair = auto.convert_ids_to_tokens(auto("the", "fox")["input_ids"])
        assert pair == ["<s>", "the", "</s>", "</s>", "f", "ox", "</s>"] or pair[1:4] == ["the", "</s>", "</s>"]


def test_data_that_an_earlier_version_prepared_with_roberta_still_fits(tmp_path: Path):
    tokenizer = Tokenizer.load(roberta(tmp_path / "m"))
    tree = json.loads(json.dumps(tokenizer.tokenizer_json))
    for token in tree["added_tokens"]:
        token["lstrip"] = False  # as it was read then
    old = tokenizer.with_json(tree)
    assert old.fingerprint != tokenizer.fingerprint
    assert tokenizer.matches(old.fingerprint)
    assert tokenizer.encode("the <mask> fox").ids.tolist() == old.encode("the <mask> fox").ids.tolist()
    tree["model"]["vocab"] = {**tree["model"]["vocab"], "more": tokenizer.vocab_size}
    assert not tokenizer.matches(tokenizer.with_json(tree).fingerprint)


def test_esm_takes_the_longest_token_at_each_place(tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    special = {"unk": "<unk>", "pad": "<pad>", "mask": "<mask>", "cls": "<cls>", "eos": "<eos>"}
    given = folder(
        tmp_path / "m",
        [*AMINO, "ATG", "AT"],
        tokenizer_config={"tokenizer_class": "EsmTokenizer"},
        special_tokens_map={f"{role}_token": name for role, name in special.items()},
    )
    ours, auto = Tokenizer.load(given), transformers.AutoTokenizer.from_pretrained(given)
    for text in ("MKTAYIAK", "MK<mask>TA", "MKbbTA", "M K  zz T", "ATGATTA", ""):
        assert ours.encode(text, special_in_text=True).ids.tolist() == auto(text, add_special_tokens=False)["input_ids"]
    ids = ours._library.encode("MK", "T").ids
    assert ids == auto("MK", "T")["input_ids"]
    assert ours.special.mask not in ours.encode("MK<mask>TA").ids  # in a corpus it is text


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"tokenizer_config": {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab"}},
            "BertJapaneseTokenizer, whose words are cut by MeCab",
        ),
        ({"config": {"model_type": "roformer"}}, "RoFormerTokenizer, whose words are cut by jieba"),
        ({"tokenizer_config": {"tokenizer_class": "DNATokenizer"}}, "k-mers"),
        (
            {"tokenizer_config": {"auto_map": {"AutoTokenizer": ["tokenization_x.XTokenizer", None]}}},
            r"XTokenizer, which is program code of its own \(tokenization_x\.XTokenizer\)",
        ),
        ({"tokenizer_config": {"tokenizer_class": "TapasTokenizer"}}, "TapasTokenizer, whose rules for vocab.txt"),
    ],
)
def test_a_class_whose_words_are_cut_by_code_is_refused_by_name(files: dict[str, Any], message: str, tmp_path: Path):
    given = folder(tmp_path / "m", [*BERT, "a"], **files)
    with pytest.raises(TokenizerError, match=message) as caught:
        Tokenizer.load(given)
    assert "\n" not in str(caught.value)
    assert Tokenizer.load(given / "vocab.txt").vocab_size == 6


def test_tokens_that_a_folder_declares_beside_vocab_txt_are_added_as_in_transformers(tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    given = folder(
        tmp_path / "m",
        ["<pad>", "<unk>", "<s>", "</s>", "[M]", "the", "town", "##s"],
        tokenizer_config={"tokenizer_class": "BertTokenizer", "do_lower_case": True},
        special_tokens_map={
            "pad_token": "<pad>",
            "unk_token": "<unk>",
            "cls_token": "<s>",
            "sep_token": "</s>",
            "mask_token": "[M]",
            "additional_special_tokens": ["<ent>", "</ent>"],
        },
    )
    ours, auto = Tokenizer.load(given), transformers.AutoTokenizer.from_pretrained(given)
    text = "The <ent>town</ent> [M] towns"
    assert ours.encode(text, special_in_text=True).ids.tolist() == auto(text, add_special_tokens=False)["input_ids"]
    assert ours.vocab_size == len(auto) == 10


def gpt2(where: Path, declared: bool = True) -> Path:
    """GPT-2's form: byte-level BPE, one special token, a post-processor without a template."""
    where.mkdir(exist_ok=True)
    made = byte_level(where / "made").tokenizer_json["model"]
    pieces = [piece for piece in made["vocab"] if not piece.startswith("<") or len(piece) == 1]
    library = Library(
        models.BPE({piece: id_ for id_, piece in enumerate(pieces)}, [tuple(pair) for pair in made["merges"]])
    )
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder, library.post_processor = decoders.ByteLevel(), processors.ByteLevel(trim_offsets=True)
    library.add_special_tokens([AddedToken("<|endoftext|>", normalized=False)])
    library.save(str(where / "tokenizer.json"))
    if declared:
        names = {f"{role}_token": "<|endoftext|>" for role in ("bos", "eos", "unk")}
        config = {"tokenizer_class": "GPT2Tokenizer", **names}
        (where / "tokenizer_config.json").write_text(json.dumps(config))
    return where


@pytest.mark.parametrize("declared", [True, False])
def test_the_special_tokens_that_gpt2_lacks_are_added_on_request(declared: bool, tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    given = gpt2(tmp_path / "m", declared)
    with pytest.raises(TokenizerError, match=r"tokenizer\.add_missing = true"):
        Tokenizer.load(given)
    ours, plain = Tokenizer.load(given, add_missing=True), Library.from_file(str(given / "tokenizer.json"))
    text = "The quick brown fox, <|x|> jumps."
    assert ours.encode(text).ids.tolist() == plain.encode(text).ids
    assert spelled(ours, "the [MASK] fox") == ["the", "[MASK]", "Ġfox"]  # the space belongs to the masked word
    special = ours.special
    assert len({special.pad, special.unk, special.cls, special.sep, special.mask}) == 5
    assert {special.pad, special.cls, special.sep, special.mask} <= set(range(plain.get_vocab_size(), ours.vocab_size))
    ours.save(tmp_path / "saved")
    assert Tokenizer.load(tmp_path / "saved").fingerprint == ours.fingerprint
    auto = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    ids = auto("the", "fox")["input_ids"]
    assert (ids[0], ids[-1], ids.count(special.sep)) == (special.cls, special.sep, 2)
    assert (
        auto("the [MASK] fox", add_special_tokens=False)["input_ids"]
        == ours.encode("the [MASK] fox", special_in_text=True).ids.tolist()
    )


def test_nothing_is_added_where_nothing_is_missing(tmp_path: Path):
    given = folder(tmp_path / "m", [*BERT, "a"])
    assert Tokenizer.load(given, add_missing=True).fingerprint == Tokenizer.load(given).fingerprint


def test_a_new_unknown_token_is_what_unknown_words_become(tmp_path: Path):
    library = Library(models.WordLevel({"C": 0, "O": 1}, unk_token="?"))
    library.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    library.save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer.load(tmp_path, add_missing=True)
    assert spelled(tokenizer, "C N O") == ["C", "[UNK]", "O"]
    assert tokenizer.encode("C [MASK] O").ids.tolist()[1] == tokenizer.special.unk


@pytest.mark.parametrize("kind", ["unigram", "wordlevel"])
def test_a_corpus_injects_no_special_token_that_the_model_knows(kind: str, tmp_path: Path):
    pieces = ["<pad>", "<unk>", "<s>", "</s>", "<mask>", "▁", "a", "<", "s", ">", "/"]
    model = (
        models.Unigram([(piece, -1.0 if index > 4 else 0.0) for index, piece in enumerate(pieces)], unk_id=1)
        if kind == "unigram"
        else models.WordLevel({piece: index for index, piece in enumerate(pieces)}, unk_token="<unk>")
    )
    library = Library(model)
    library.pre_tokenizer = pre_tokenizers.Metaspace() if kind == "unigram" else pre_tokenizers.WhitespaceSplit()
    library.add_special_tokens([AddedToken(name) for name in pieces[:5]])
    library.save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer.load(tmp_path)
    for text in ("<s>", "a <s> a", "a<mask>a", "</s> <mask>"):
        found = set(tokenizer.encode(text).ids.tolist())
        assert not found & {0, 2, 3, 4}, text
