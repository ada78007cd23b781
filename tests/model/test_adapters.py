"""Folders of PEFT adapters: merged with their base model, they give the outputs of transformers and PEFT."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import small_models
from maskling.adapters import adapters_on
from maskling.cli.main import run
from maskling.errors import ModelError
from maskling.exporting.cards import CardFacts
from maskling.exporting.folder import export_model
from maskling.infer.model import load
from maskling.model.locate import find_model

# Of transformers about a method of its own that PEFT calls.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
TEXTS = ["the quick brown fox", "a gift of paris so lazy", "the dog in the fox"]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bases")
    found = {}
    for family in ("bert", "roberta", "modern"):
        make = small_models.byte_level if family == "roberta" else small_models.wordpiece
        tokenizer = make(folder / f"tokenizer-{family}")
        found[family] = folder / family
        export_model(getattr(small_models, family)(tokenizer), tokenizer, found[family], CardFacts(seq_length=32))
    return found


def made(base: Path, out: Path, auto: str, labels: int | None = None, **settings: Any) -> torch.nn.Module:
    """Write an adapter as a person with PEFT does, with random numbers in all that it trains; returns its model."""
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    given = {} if labels is None else {"num_labels": labels}
    torch.manual_seed(4)
    model = getattr(transformers, auto).from_pretrained(base, dtype=torch.float32, **given)
    adapted = peft.get_peft_model(model, peft.LoraConfig(**{"r": 3, "lora_alpha": 5, **settings}))
    with torch.no_grad():
        for name, value in adapted.named_parameters():
            if value.requires_grad:
                value.add_(torch.randn_like(value) * (0.1 if "magnitude" in name else 0.2))
    adapted.save_pretrained(out)
    return adapted.eval()


HEAD = ["pooler", "classifier"]
SEQUENCES = "AutoModelForSequenceClassification"


@pytest.mark.parametrize(
    ("family", "auto", "settings"),
    [
        ("bert", SEQUENCES, {"task_type": "SEQ_CLS", "modules_to_save": ["pooler"]}),
        ("bert", SEQUENCES, {"task_type": "SEQ_CLS", "modules_to_save": ["pooler"], "use_dora": True}),
        ("bert", "AutoModelForTokenClassification", {"task_type": "TOKEN_CLS", "bias": "all"}),
        (
            "bert",
            SEQUENCES,
            {"modules_to_save": ["pooler", "classifier"], "target_modules": ["word_embeddings", "key"]},
        ),
        ("roberta", SEQUENCES, {"task_type": "SEQ_CLS", "use_rslora": True, "target_modules": ["dense", "query"]}),
        (
            "modern",
            SEQUENCES,
            {
                "task_type": "SEQ_CLS",
                "target_modules": "all-linear",
                "modules_to_save": ["head", "classifier"],
                "rank_pattern": {"Wo": 2},
                "alpha_pattern": {"layers.1.attn.Wqkv": 9, "mlp.Wo": 4},
            },
        ),
        ("modern", "AutoModelForTokenClassification", {"task_type": "TOKEN_CLS", "target_modules": ["Wqkv"]}),
    ],
)
def test_a_fine_tuned_adapter_gives_the_logits_of_peft(
    bases: dict[str, Path], tmp_path: Path, family: str, auto: str, settings: dict[str, Any]
) -> None:
    if auto == "AutoModelForTokenClassification" and family == "modern":
        settings = {**settings, "modules_to_save": ["head", "classifier"]}
    theirs = made(bases[family], tmp_path / "adapter", auto, labels=3, **settings)
    ours = load(tmp_path / "adapter")
    scorer = ours.need_task_scorer("test")
    assert scorer.head_config.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    rows = ours.token_sequences(TEXTS)[0]
    for text, row in zip(TEXTS, rows, strict=True):
        with torch.no_grad():
            logits = theirs(input_ids=torch.tensor([[*map(int, row)]])).logits[0]
        predicted = ours.predict(text)
        if auto == SEQUENCES:
            assert predicted.score == pytest.approx(float(logits.softmax(-1).max()), abs=1e-5)
            assert predicted.label == f"LABEL_{int(logits.argmax())}"
        else:
            tags = {f"LABEL_{int(index)}" for index in logits[1:-1].argmax(-1)}
            assert {word.tag for word in predicted.words} <= tags


def test_an_adapted_encoder_gives_the_vectors_of_peft(bases: dict[str, Path], tmp_path: Path) -> None:
    theirs = made(bases["bert"], tmp_path / "adapter", "AutoModel", task_type="FEATURE_EXTRACTION")
    ours = load(tmp_path / "adapter")
    rows = ours.token_sequences(TEXTS)[0]
    for vector, row in zip(ours.embed(TEXTS), rows, strict=True):
        with torch.no_grad():
            states = theirs(input_ids=torch.tensor([[*map(int, row)]])).last_hidden_state[0]
        torch.testing.assert_close(torch.from_numpy(vector), states.mean(0), atol=1e-5, rtol=1e-5)


def test_an_adapted_masked_language_model_fills_masks(bases: dict[str, Path], tmp_path: Path) -> None:
    theirs = made(bases["bert"], tmp_path / "adapter", "AutoModelForMaskedLM", target_modules=["query", "dense"])
    ours = load(tmp_path / "adapter")
    row = pytest.importorskip("transformers").AutoTokenizer.from_pretrained(bases["bert"])("the [MASK] sees").input_ids
    with torch.no_grad():
        chances = theirs(input_ids=torch.tensor([row])).logits[0, 2].softmax(-1)
    for filled in ours.fill("the [MASK] sees", top_k=3).masks[0]:
        assert filled.probability == pytest.approx(float(chances[filled.ids[0]]), abs=1e-5)


@pytest.fixture
def adapter(bases: dict[str, Path], tmp_path: Path) -> Path:
    made(bases["bert"], tmp_path / "adapter", SEQUENCES, 3, task_type="SEQ_CLS", modules_to_save=["pooler"])
    return tmp_path / "adapter"


def changed(folder: Path, **changes: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_every_verb_takes_an_adapter_and_its_base(
    adapter: Path, bases: dict[str, Path], tmp_path: Path, capsys
) -> None:
    straight = load(adapter).predict(TEXTS[0])
    shutil.copytree(bases["bert"], tmp_path / "moved")
    changed(adapter, base_model_name_or_path="someone/base")
    with pytest.raises(ModelError, match=r"its base model someone/base is not here; give the folder .* with --base"):
        load(adapter)
    based = ["--base", str(tmp_path / "moved")]
    assert run(["export", str(adapter), "--out", str(tmp_path / "merged"), *based]) == 0
    assert load(tmp_path / "merged").predict(TEXTS[0]).score == pytest.approx(straight.score, abs=1e-6)
    capsys.readouterr()
    assert run(["predict", str(adapter), "--text", TEXTS[0], *based]) == 0
    assert capsys.readouterr().out.startswith(straight.label)
    assert run(["embed", str(adapter), TEXTS[0], "--out", str(tmp_path / "v.npy"), *based]) == 0
    train = tmp_path / "train.csv"
    train.write_text("text,label\n" + "the fox,a\nthe dog,b\na gift,a\nparis,b\n" * 5)
    options = ["--train", str(train), "--out", str(tmp_path / "run"), "--train.steps", "2", "--system.device", "cpu"]
    assert run(["finetune", str(adapter), *options, *based]) == 0
    assert run(["predict", str(adapter), "--text", TEXTS[0]]) == 2
    assert "is an adapter, and its base model someone/base is not here" in capsys.readouterr().err


def test_the_base_is_found_in_the_cache_of_the_hub(
    adapter: Path, bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = load(adapter).predict(TEXTS[0])
    model = tmp_path / "cache" / "models--someone--base"
    shutil.copytree(bases["bert"], model / "snapshots" / "abc123")
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("abc123")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    changed(adapter, base_model_name_or_path="someone/base")
    assert load(adapter).predict(TEXTS[0]) == straight
    changed(adapter, base_model_name_or_path="../cache")
    with pytest.raises(ModelError, match="is not here"):
        load(adapter)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"peft_type": "IA3"}, "peft_type = 'IA3' is not supported, only LORA"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights = 'pissa' is not supported"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"something_new": True}, "something_new = True is not supported"),
        ({"lora_alpha": "5"}, "lora_alpha = '5' is not a number"),
        ({"alpha_pattern": ["x"]}, "alpha_pattern does not map"),
        ({"base_model_name_or_path": None}, "it does not name its base model"),
    ],
)
def test_what_is_not_supported_is_refused(adapter: Path, changes: dict[str, Any], named: str) -> None:
    changed(adapter, **changes)
    with pytest.raises(ModelError, match=named):
        load(adapter)


def test_an_adapter_of_another_base_is_refused(adapter: Path, bases: dict[str, Path], tmp_path: Path) -> None:
    with adapters_on(bases["modern"]), pytest.raises(ModelError, match="which its base model does not have"):
        load(adapter)
    weights = load_file(adapter / "adapter_model.safetensors")
    name = next(name for name in weights if "lora_B" in name)
    save_file(weights | {name: torch.zeros(7, 3)}, adapter / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="does not fit its base model"):
        load(adapter)
    (adapter / "adapter_model.safetensors").write_bytes(b"no")
    with pytest.raises(ModelError, match="damaged"):
        load(adapter)
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"but no adapter_model\.safetensors"):
        load(adapter)
    changed(adapter, base_model_name_or_path=str(adapter))
    with pytest.raises(ModelError, match="is an adapter itself"):
        find_model(adapter)
