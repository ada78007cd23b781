"""An untrusted tokenizer folder works or is refused in one line, whatever its bytes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers

import small_models
from hostile_json import changed, said, spoiled
from maskling.errors import TokenizerError
from maskling.tokenizer.tokenizer import Tokenizer

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TEXT = "A first try: 中文 ünïcödé \U0001f600 aab 1234 [MASK] the quick foxing " + "a" * 120
CONFIG = {
    "tokenizer_class": "BertTokenizer",
    "do_lower_case": True,
    "strip_accents": None,
    "tokenize_chinese_chars": True,
    "model_max_length": 512,
    "model_input_names": ["input_ids", "token_type_ids"],
    "mask_token": {"content": "[MASK]", "special": True},
    "cls_token": "[CLS]",
    "added_tokens_decoder": {"0": {"content": "[PAD]", "special": True}},
}


def unigram() -> dict[str, Any]:
    scores = [(name, 0.0) for name in SPECIALS] + [("▁a", -1.5), ("▁b", -2.0), ("a", -2.5), ("b", -3.0), ("▁", -1.0)]
    library = tokenizers.Tokenizer(models.Unigram(scores, unk_id=1))
    library.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("``", '"'), normalizers.Strip()])
    numbers = pre_tokenizers.Split(tokenizers.Regex(r"\d{1,3}"), "isolated")
    library.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), numbers])
    library.decoder = decoders.Sequence([decoders.Metaspace(), decoders.Strip(" ", 1, 0), decoders.Fuse()])
    library.add_special_tokens(SPECIALS)
    return json.loads(library.to_str())


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """A good tokenizer.json of each kind."""
    folder = tmp_path_factory.mktemp("good")
    return [
        small_models.wordpiece(folder / "w").tokenizer_json,
        small_models.byte_level(folder / "b").tokenizer_json,
        unigram(),
    ]


def works_or_is_refused(folder: Path) -> None:
    said = ""
    try:
        tokenizer = Tokenizer.load(folder)
        tokenizer.encode(TEXT)
        tokenizer.encode(TEXT, special_in_text=True)
        tokenizer.encode_with_offsets([TEXT])
        tokenizer.decode(range(min(9, len(tokenizer))))
        assert len(tokenizer.special_ids) >= 5
        assert len(tokenizer.starts_word) == len(tokenizer)
        shutil.rmtree(folder / "again", ignore_errors=True)
        tokenizer.save(folder / "again")
        assert Tokenizer.load(folder / "again").fingerprint == tokenizer.fingerprint
    except TokenizerError as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) < 1500


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile") / "folder"


def holding(place: Path, **files: bytes) -> Path:
    """The folder with these files, and no others."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    for name, content in files.items():
        (place / name.replace("__", ".")).write_bytes(content)
    return place


@given(data=st.data())
def test_any_tokenizer_json(trees: list[dict[str, Any]], place: Path, data: st.DataObject):
    tree = data.draw(st.sampled_from(trees).flatmap(changed))
    works_or_is_refused(holding(place, tokenizer__json=said(tree)))


@given(content=spoiled(("\n".join(small_models.VOCABULARY) + "\n").encode()))
def test_any_vocab_txt(place: Path, content: bytes):
    works_or_is_refused(holding(place, vocab__txt=content))


@given(config=changed(CONFIG), names=changed({f"{name[1:-1].lower()}_token": name for name in SPECIALS}))
def test_any_configuration(place: Path, config: dict[str, Any], names: dict[str, Any]):
    vocabulary = "\n".join([*SPECIALS, "a", "b", "##a"]).encode()
    files = {"vocab__txt": vocabulary, "tokenizer_config__json": said(config), "special_tokens_map__json": said(names)}
    works_or_is_refused(holding(place, **files))


def test_an_id_that_would_need_two_thousand_million_rows_is_refused(trees: list[dict[str, Any]], place: Path):
    tree = json.loads(json.dumps(trees[0]))
    tree["model"]["vocab"]["fox"] = 2**31  # ended the process in the library's memory before it was looked for
    with pytest.raises(TokenizerError, match="ids up to 2147483648; the ids must be 0, 1, 2"):
        Tokenizer.load(holding(place, tokenizer__json=said(tree)))
