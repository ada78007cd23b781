"""Saved tokenizers give the same ids in transformers (5.x here, 4.57 in its own environment)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as Library

from maskling.errors import MissingExtra
from maskling.tokenizer import segmentation
from maskling.tokenizer.settings import TokenizerSettings
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.tokenizer.training import count_words, train_vocabulary
from oracles.nasty_text import FRAGMENTS
from oracles.small_text import texts

transformers = pytest.importorskip("transformers")

# Without half characters and without special tokens: AutoTokenizer reads those as specials.
PLAIN = [f for f in FRAGMENTS if not f.startswith(("[", "<mask", "</s"))]
TEXTS = [*texts(), *PLAIN, " ".join(PLAIN), "".join(PLAIN), "see [URL] x[URL].<ent> y"]
MODELS = {
    "none": None,
    "bert": {"model_type": "bert", "vocab_size": 600},
    "modernbert": {"model_type": "modernbert", "vocab_size": 600},
    "roberta": {"model_type": "roberta", "vocab_size": 600},
}


def check(tokenizer: Tokenizer, folder: Path) -> None:
    """Everything that must agree between a saved tokenizer and AutoTokenizer."""
    auto = transformers.AutoTokenizer.from_pretrained(folder)
    special = tokenizer.special
    assert (auto.pad_token_id, auto.unk_token_id, auto.cls_token_id, auto.sep_token_id, auto.mask_token_id) == (
        special.pad,
        special.unk,
        special.cls,
        special.sep,
        special.mask,
    )
    assert auto.model_max_length == 77
    assert len(auto) == tokenizer.vocab_size
    for text in TEXTS:
        ids = tokenizer.encode(text).ids.tolist()
        assert auto(text, add_special_tokens=False)["input_ids"] == ids
        assert auto(text)["input_ids"] == tokenizer._library.encode(text).ids
    masked = f"The quick brown {tokenizer.mask_token} jumps."
    ids = tokenizer.encode(masked, special_in_text=True).ids.tolist()
    assert auto(masked, add_special_tokens=False)["input_ids"] == ids
    assert ids.count(special.mask) == 1


@pytest.mark.parametrize("model", MODELS)
def test_auto_tokenizer_gives_the_same_ids(tokenizer: Tokenizer, model: str, tmp_path: Path):
    tokenizer.save(tmp_path, max_length=77)
    if MODELS[model]:
        (tmp_path / "config.json").write_text(json.dumps(MODELS[model]))
    check(tokenizer, tmp_path)


def test_two_segments_have_token_types_and_input_names_follow_the_model(tokenizer: Tokenizer, tmp_path: Path):
    tokenizer.save(tmp_path / "bert", max_length=77)
    tokenizer.save(tmp_path / "modern", token_types=False)
    bert = transformers.AutoTokenizer.from_pretrained(tmp_path / "bert")
    both = bert("the fox", "a dog")
    first, second = (tokenizer.encode(text).ids.tolist() for text in ("the fox", "a dog"))
    assert both["input_ids"] == [2, *first, 3, *second, 3]
    assert both["token_type_ids"] == [0] * (len(first) + 2) + [1] * (len(second) + 1)
    assert set(bert.model_input_names) == {"input_ids", "token_type_ids", "attention_mask"}
    modern = transformers.AutoTokenizer.from_pretrained(tmp_path / "modern")
    assert set(modern("the fox")) == {"input_ids", "attention_mask"}


def test_saved_and_loaded_is_the_same_tokenizer(tokenizer: Tokenizer, tmp_path: Path):
    tokenizer.save(tmp_path, max_length=77, token_types=False)
    again = Tokenizer.load(tmp_path)
    assert (again.fingerprint, again.special, again.max_length) == (tokenizer.fingerprint, tokenizer.special, 77)
    assert not again.token_types
    again.save(tmp_path / "again")
    for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / file).read_bytes()


def test_a_bert_pipeline_is_saved_as_bert_tokenizer_with_vocab_txt(tmp_path: Path, tokenizer: Tokenizer):
    tokenizer.save(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    bert = tokenizer.tokenizer_json["normalizer"]["type"] == "BertNormalizer"
    assert config["tokenizer_class"] == ("BertTokenizer" if bert else "PreTrainedTokenizerFast")
    # Beside another normalizer, vocab.txt would be read with BERT's and give other ids.
    assert (tmp_path / "vocab.txt").exists() == bert
    if bert:
        assert Tokenizer.load(tmp_path / "vocab.txt").vocab_size == tokenizer.vocab_size


@pytest.mark.parametrize("name", ["bert-base-uncased", "bert-base-chinese"])
def test_published_vocabularies(name: str, shared_data: Path, tmp_path: Path):
    path = shared_data / "vocab" / f"{name}-vocab.txt"
    tokenizer = Tokenizer.load(path)
    assert tokenizer.vocab_size == {"bert-base-uncased": 30522, "bert-base-chinese": 21128}[name]
    special = tokenizer.special
    assert (special.pad, special.unk, special.cls, special.sep, special.mask) == (0, 100, 101, 102, 103)
    own = transformers.BertTokenizerFast(vocab=str(path))
    for text in TEXTS:
        assert tokenizer.encode(text).ids.tolist() == own(text, add_special_tokens=False)["input_ids"]
    tokenizer.save(tmp_path, max_length=77)
    (tmp_path / "config.json").write_text(json.dumps(MODELS["bert"]))
    check(tokenizer, tmp_path)
    assert not any(tokenizer.token(int(id_)).startswith("[unused") for id_ in tokenizer.ordinary_ids)
    assert (tmp_path / "vocab.txt").read_bytes().rstrip(b"\n") == path.read_bytes().rstrip(b"\n")


def roberta_folder(folder: Path) -> Path:
    """A RoBERTa-shaped tokenizer saved by transformers: own special names, <mask> that eats the space before it."""
    library = Library(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True)]
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=special,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    library.train_from_iterator(texts(), trainer)
    library.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    names = {"cls": "<s>", "bos": "<s>", "sep": "</s>", "eos": "</s>", "pad": "<pad>", "unk": "<unk>", "mask": "<mask>"}
    whole = transformers.PreTrainedTokenizerFast(
        tokenizer_object=library, **{f"{role}_token": name for role, name in names.items()}
    )
    whole.save_pretrained(folder)
    return folder


def test_a_roberta_folder_is_read_and_written_unchanged(tmp_path: Path):
    tokenizer = Tokenizer.load(roberta_folder(tmp_path / "theirs"))
    assert tokenizer.mask_token == "<mask>"
    assert (tokenizer.special.cls, tokenizer.special.sep, tokenizer.special.pad) == (0, 2, 1)
    tokenizer.save(tmp_path / "ours", max_length=77)
    (tmp_path / "ours" / "config.json").write_text(json.dumps(MODELS["roberta"]))
    check(tokenizer, tmp_path / "ours")
    auto = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    assert auto("a", "b")["input_ids"].count(2) == 3


def test_added_words_and_runs_of_spaces_as_modernbert_has_them(tmp_path: Path, tokenizer: Tokenizer):
    library = Library.from_str(tokenizer._library.to_str())
    library.normalizer = normalizers.NFC()
    library.add_tokens([AddedToken("  ", normalized=True), AddedToken("|||IP|||", normalized=True), "[unused0]"])
    library.save(str(tmp_path / "tokenizer.json"))
    extended = Tokenizer.load(tmp_path / "tokenizer.json")
    batch = [*TEXTS, "the  fox", "at |||IP||| [unused0]   x", "plain", "  ", "a \u212a||IP|||"]
    expected = [encoding.ids for encoding in library.encode_batch(batch, add_special_tokens=False)]
    assert [tokens.ids.tolist() for tokens in extended.encode_batch(batch)] == expected
    added = [extended.id("  "), extended.id("|||IP|||"), extended.id("[unused0]")]
    assert not set(added) & set(extended.ordinary_ids.tolist())


@pytest.mark.slow
def test_transformers_4_57_agrees(tokenizer: Tokenizer, tmp_path: Path):
    script = Path(__file__).with_name("check_other_transformers.py")
    cases = [{"text": text, "ids": tokenizer._library.encode(text).ids} for text in TEXTS]
    masked = f"The quick brown {tokenizer.mask_token} jumps."
    cases.append({"text": masked, "ids": tokenizer._library.encode(masked).ids})
    for model, config in MODELS.items():
        folder = tmp_path / model
        tokenizer.save(folder, max_length=77)
        if config:
            (folder / "config.json").write_text(json.dumps(config))
        (folder / "cases.json").write_text(json.dumps(cases))
    done = subprocess.run(
        [sys.executable, script, *(str(tmp_path / model) for model in MODELS)], capture_output=True, text=True
    )
    if done.returncode == 77:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("rules", [("characters", "spaces"), ("jieba", "icu"), ("icu", "spaces")])
def test_words_are_found_as_the_folder_records_whatever_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rules: tuple[Any, Any]
):
    pytest.importorskip("rjieba")
    pytest.importorskip("icu4py")
    text = "我们今天去北京大学 มนุษย์ทั้งหลายเกิดมา"
    settings = TokenizerSettings(vocab_size=300, min_count=1, chinese_words=rules[0], words=rules[1])
    made = train_vocabulary(count_words([text], settings), settings)
    made.save(tmp_path)
    ours = Tokenizer.load(tmp_path)
    assert (ours.words.chinese, ours.words.others) == rules
    assert ours.encode(text).word_starts.tolist() == made.encode(text).word_starts.tolist()
    assert Tokenizer.load(tmp_path, "characters", "spaces").words == segmentation.NO_DICTIONARIES
    transformers.AutoTokenizer.from_pretrained(tmp_path).save_pretrained(tmp_path / "again")
    assert Tokenizer.load(tmp_path / "again").words == ours.words

    monkeypatch.setattr(segmentation, "_installed", lambda _: False)
    here = Tokenizer.load(tmp_path)
    assert here.words == segmentation.NO_DICTIONARIES
    assert here.encode(text).ids.tolist() == made.encode(text).ids.tolist()
    here.check_words(["plain text"])
    if rules != ("characters", "spaces"):
        monkeypatch.setattr(segmentation, "_icu", lambda: missing("icu4py"))
        monkeypatch.setattr(segmentation, "_jieba", lambda: missing("rjieba"))
        with pytest.raises(MissingExtra, match="maskling\\[words\\]"):
            here.check_words([text])
    here.save(tmp_path / "kept")
    monkeypatch.undo()
    assert Tokenizer.load(tmp_path / "kept").words == ours.words


def missing(package: str) -> None:
    raise MissingExtra(package, "words", "finding words")
