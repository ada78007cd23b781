"""An export is what it says: to transformers, to SentenceTransformer, to maskling; or it is not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from maskling.errors import ModelError
from maskling.exporting import folder as export_folder
from maskling.exporting.cards import CardFacts
from maskling.exporting.folder import export_model
from maskling.infer.model import load
from maskling.model.attention import AttentionPattern
from maskling.model.masked_lm import MaskedLM
from maskling.tokenizer.tokenizer import Tokenizer
from small_models import bert, byte_level, modern, roberta, wordpiece

transformers = pytest.importorskip("transformers")

KINDS = {
    "bert": (wordpiece, bert),
    "bert-pair": (wordpiece, lambda tokenizer: bert(tokenizer, pair_head=True)),
    "roberta": (byte_level, roberta),
    "modern": (wordpiece, modern),
    "modern-bytes": (byte_level, modern),
}
TEXTS = ["The quick brown fox jumps over the lazy dog.", "A souvenir!", "foxing, of the dog of the dog of the dog of a"]


@pytest.fixture(params=KINDS)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[MaskedLM, Tokenizer, Path]:
    make_tokenizer, make_module = KINDS[request.param]
    tokenizer = make_tokenizer(tmp_path / "vocabulary")
    module = make_module(tokenizer)
    export_model(module, tokenizer, tmp_path / "model", CardFacts(seq_length=40))
    return module, tokenizer, tmp_path / "model"


def test_auto_model_gives_the_logits_of_the_module_for_what_auto_tokenizer_reads(
    made: tuple[MaskedLM, Tokenizer, Path],
) -> None:
    module, tokenizer, folder = made
    theirs = transformers.AutoModelForMaskedLM.from_pretrained(folder).eval()
    encoded = transformers.AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt")
    ids, real = encoded["input_ids"], encoded["attention_mask"]
    for row, text in zip(ids, TEXTS, strict=True):
        own = [tokenizer.special.cls, *tokenizer.encode(text).ids, tokenizer.special.sep]
        assert row[: len(own)].tolist() == own
    with torch.no_grad():
        expected = theirs(**encoded).logits
        positions = torch.arange(ids.shape[1]).expand(ids.shape)
        found = module.predict(
            module(ids, positions, torch.zeros_like(ids), AttentionPattern.from_attention_mask(real))
        )
    torch.testing.assert_close(found[real.bool()], expected[real.bool()], rtol=1e-5, atol=1e-5)


def test_the_named_class_of_each_family_finds_every_weight(made: tuple[MaskedLM, Tokenizer, Path]) -> None:
    module, _, folder = made
    name = transformers.AutoConfig.from_pretrained(folder).architectures[0]
    assert (name == "BertForPreTraining") == module.config.pair_head
    _, report = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]


def test_the_pair_head_of_transformers_judges_as_the_module_does(tmp_path: Path) -> None:
    tokenizer = wordpiece(tmp_path / "vocabulary")
    module = bert(tokenizer, pair_head=True)
    export_model(module, tokenizer, tmp_path / "model", CardFacts())
    theirs = transformers.BertForPreTraining.from_pretrained(tmp_path / "model").eval()
    encoded = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")("the fox", "a dog .", return_tensors="pt")
    assert encoded["token_type_ids"].sum() == 4
    ids = encoded["input_ids"]
    with torch.no_grad():
        hidden = module(
            ids,
            torch.arange(ids.shape[1])[None],
            encoded["token_type_ids"],
            AttentionPattern.from_attention_mask(ids >= 0),
        )
        expected = theirs(**encoded).seq_relationship_logits
    torch.testing.assert_close(module.pair(hidden[:, 0]), expected, rtol=1e-5, atol=1e-5)


def test_sentence_transformers_gives_the_vectors_that_maskling_gives(made: tuple[MaskedLM, Tokenizer, Path]) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    _, _, folder = made
    theirs = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    assert theirs.max_seq_length == 40
    ours = load(folder, device="cpu")
    assert ours.max_length == 40
    too_long = " ".join(["the fox and a dog"] * 30)
    texts = [*TEXTS, "", too_long]
    with pytest.warns(UserWarning, match="1 of 5 texts longer than 40 tokens"):
        found = ours.embed(texts)
    np.testing.assert_allclose(found, theirs.encode(texts), rtol=1e-4, atol=1e-5)


def test_an_old_export_stays_when_the_new_one_reads_back_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = wordpiece(tmp_path / "vocabulary")
    module = bert(tokenizer)
    out = tmp_path / "model"
    export_model(module, tokenizer, out, CardFacts(name="The first"))
    write = export_folder.write_weights

    def write_wrong(module: MaskedLM, folder: Path) -> None:
        with torch.no_grad():
            next(module.parameters()).add_(0.001)
            write(module, folder)
            next(module.parameters()).sub_(0.001)

    monkeypatch.setattr(export_folder, "write_weights", write_wrong)
    with pytest.raises(ModelError, match="masked-token logits differed"):
        export_model(module, tokenizer, out, CardFacts(name="The second"))
    assert "The first" in (out / "README.md").read_text()
    assert [path.name for path in tmp_path.iterdir() if "model" in path.name] == ["model"]


def test_a_model_whose_logits_are_not_numbers_is_not_exported(tmp_path: Path) -> None:
    tokenizer = wordpiece(tmp_path / "vocabulary")
    module = bert(tokenizer)
    with torch.no_grad():
        next(module.parameters())[3] = torch.nan
        next(module.parameters())[0] = torch.nan
    with pytest.raises(ModelError, match="include NaN or infinity"):
        export_model(module, tokenizer, tmp_path / "model", CardFacts())
    assert not (tmp_path / "model").exists()


def test_export_leaves_the_mode_of_the_module_as_it_was(tmp_path: Path) -> None:
    tokenizer = wordpiece(tmp_path / "vocabulary")
    module = bert(tokenizer).train()
    export_model(module, tokenizer, tmp_path / "model", CardFacts())
    assert module.training


def test_what_a_killed_export_left_is_cleared_away(tmp_path: Path) -> None:
    tokenizer = wordpiece(tmp_path / "vocabulary")
    for left in ("model.123.partial", "model-2.123.partial"):
        (tmp_path / "runs" / left).mkdir(parents=True)
        (tmp_path / "runs" / left / "config.json").write_text("{")
    export_model(bert(tokenizer), tokenizer, tmp_path / "runs" / "model", CardFacts())
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"model", "model-2.123.partial"}
