"""LoRA: frozen weights, exact resume, and adapters that PEFT opens and gives the same logits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from maskling.errors import SettingsError
from maskling.finetuning.finetune import finetune, open_training_data
from maskling.finetuning.recipe import FinetuneRecipe
from maskling.infer.model import load
from maskling.model.device import Compute
from maskling.train.distributed import Ranks
from maskling.train.engine import Engine
from maskling.train.events import Started, Step
from maskling.train.memory_fit import fit_to_memory
from maskling.train.run import trained_parameters
from maskling.train.step import take_step

Make = Callable[..., FinetuneRecipe]
CPU = Compute(torch.device("cpu"), torch.float32, "cpu")
LORA = {"lora.rank": 3, "lora.alpha": 7, "train.steps": 6, "train.evaluate_every": 3}
AUTO = {"tag": "TokenClassification", "answer": "QuestionAnswering"}
# Of transformers about a method of its own that PEFT calls.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
TEXTS = ["the quick brown fox", "a gift of paris so lazy", "the dog in the fox"]


def engine_of(recipe: FinetuneRecipe) -> Engine:
    data = open_training_data(recipe)
    task = data.build_task(data.complete_recipe(recipe, None), Ranks())
    return Engine.build(task, task.first_module(), CPU, Ranks())


def their_logits(model: torch.nn.Module, rows: list[Any]) -> list[torch.Tensor]:
    """The logits of transformers, one text at a time."""
    found = []
    for row in rows:
        with torch.no_grad():
            out = model.eval()(input_ids=torch.tensor([[*map(int, row)]]))
        found.append(out.logits[0] if "logits" in out else torch.stack([out.start_logits[0], out.end_logits[0]], -1))
    return found


@pytest.mark.parametrize("optimizer", ["adamw", "bert2018", "muon"])
@pytest.mark.parametrize("model", ["bert", "roberta", "modern"])
def test_only_the_matrices_and_the_head_are_trained_and_have_state(recipe_of: Make, model: str, optimizer: str) -> None:
    engine = engine_of(recipe_of("classify", {**LORA, "optimizer.kind": optimizer}, model))
    before = {name: value.detach().clone() for name, value in engine.module.named_parameters()}
    # B is 0, so A has no gradient in the first step.
    for step in range(2):
        take_step(engine, engine.task.batch_builder(Ranks())(step), 1.0)
    found = {name for name, value in engine.module.named_parameters() if not torch.equal(value, before[name])}
    assert found == {name for name in before if ".lora_" in name or name.startswith("head.")}
    targets = ("query", "value") if model != "modern" else ("Wqkv",)
    assert {name.rpartition(".")[2] for name in found if ".lora_" in name} == set(targets)
    assert {name.partition("|")[0] for name in engine.optimizer.state()} == found
    assert all(value.grad is None for name, value in engine.module.named_parameters() if name not in found)


def test_it_begins_as_the_model_that_it_adapts(recipe_of: Make) -> None:
    adapted, whole = (engine_of(recipe_of("tag", changes, "bert")) for changes in ({**LORA, "seed": 3}, {"seed": 3}))
    assert adapted.evaluate() == whole.evaluate()


@pytest.mark.parametrize("model", ["bert", "modern"])
@pytest.mark.parametrize("at", [2, 5])
def test_a_run_left_goes_on_to_the_same_bits(recipe_of: Make, tmp_path: Path, at: int, model: str) -> None:
    recipe = recipe_of("tag", {**LORA, "encoder.dropout": 0.1, "lora.dropout": 0.2}, model)
    list(finetune(recipe, tmp_path / "straight"))
    for event in finetune(recipe, tmp_path / "left"):
        if isinstance(event, Step) and event.step == at:
            break
    list(finetune(recipe, tmp_path / "left"))
    for name in ("checkpoints/step-000006/model.safetensors", "adapter/adapter_model.safetensors"):
        one, other = load_file(tmp_path / "straight" / name), load_file(tmp_path / "left" / name)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_micro_batches_and_packed_rows_change_nothing_but_rounding(recipe_of: Make) -> None:
    quiet = {**LORA, "encoder.dropout": 0, "encoder.head_dropout": 0}
    found = []
    for changes in ({}, {"system.micro_batch_tokens": 4096}, {"packing.kind": "none"}):
        engine = engine_of(recipe_of("classify", {**quiet, **changes}, "bert"))
        for step in range(3):
            take_step(engine, engine.task.batch_builder(Ranks())(step), 1.0)
        found.append(dict(engine.module.named_parameters()))
    for other in found[1:]:
        for name, value in found[0].items():
            torch.testing.assert_close(other[name], value, atol=1e-4, rtol=1e-3, msg=name)


@pytest.mark.parametrize(
    ("kind", "model", "targets"),
    [
        ("classify", "bert", None),
        ("multi", "bert", "query,output.dense"),
        ("classify", "modern", "all-linear"),
        ("regress", "roberta", "dense"),
        ("tag", "bert", "all-linear"),
        ("tag", "modern", None),
        ("answer", "roberta", None),
        ("answer", "modern", "Wo,Wi"),
    ],
)
def test_peft_opens_the_adapter_and_gives_the_same_logits(
    recipe_of: Make, models: dict[str, Path], tmp_path: Path, kind: str, model: str, targets: str | None
) -> None:
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    changes = {**LORA, **({"lora.targets": targets} if targets else {})}
    events = list(finetune(recipe_of(kind, changes, model), tmp_path / "run"))
    started = next(event for event in events if isinstance(event, Started))
    folder, merged = tmp_path / "run" / "adapter", tmp_path / "run" / "model"
    held = load_file(folder / "adapter_model.safetensors")
    assert started.trained == sum(value.numel() for value in held.values())

    auto = f"AutoModelFor{AUTO.get(kind, 'SequenceClassification')}"
    labels = {} if kind == "answer" else {"num_labels": {"regress": 1, "tag": 3}.get(kind, 2)}
    pooling = {"classifier_pooling": "mean"} if model == "modern" else {}
    base = getattr(transformers, auto).from_pretrained(models[model], dtype=torch.float32, **labels, **pooling)
    theirs = peft.PeftModel.from_pretrained(base, folder)
    names = {name for name, _ in theirs.named_parameters() if "lora_" in name}
    # Every matrix that PEFT has made is in the file: none keeps the values it was made with.
    assert len(names) == sum("lora_" in name for name in held)
    whole = getattr(transformers, auto).from_pretrained(merged)
    rows = load(merged).token_sequences(TEXTS)[0]
    for one, other in zip(their_logits(theirs, rows), their_logits(whole, rows), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    ours, again = load(folder), load(merged)
    assert ours.need_task_scorer("test").head_config == again.need_task_scorer("test").head_config
    if kind in ("classify", "tag"):
        assert [str(one) for one in ours.predict(TEXTS)] == [str(one) for one in again.predict(TEXTS)]


def test_frozen_layers_have_no_matrices(recipe_of: Make, models: dict[str, Path], tmp_path: Path) -> None:
    list(finetune(recipe_of("classify", {**LORA, "encoder.frozen_layers": 1}, "bert"), tmp_path / "run"))
    folder = tmp_path / "run" / "adapter"
    assert all(".layer.1." in name for name in load_file(folder / "adapter_model.safetensors") if "lora_" in name)
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    base = transformers.AutoModelForSequenceClassification.from_pretrained(models["bert"], num_labels=2)
    theirs = peft.PeftModel.from_pretrained(base, folder)
    assert not any(".layer.0." in name for name, _ in theirs.named_parameters() if "lora_" in name)


def test_the_expected_memory_is_that_of_what_is_trained(recipe_of: Make) -> None:
    needed = {}
    for name, changes in (("all", {}), ("lora", LORA)):
        engine = engine_of(recipe_of("classify", changes, "bert"))
        trained = trained_parameters(engine.module)
        assert (trained is None) == (name == "all")
        fit = fit_to_memory(engine.task, engine.module.config, CPU, Ranks(), trained_parameters=trained)
        assert fit.memory is not None
        needed[name] = fit.memory
        if trained is not None:
            state = sum(value.numel() for key, value in engine.optimizer.state().items() if not key.endswith("|step"))
            assert (fit.memory.gradients, fit.memory.moments) == (4 * trained, 8 * trained)
            assert state in (0, 2 * trained)
    assert needed["lora"].moments < needed["all"].moments / 5
    assert needed["lora"].snapshot < needed["all"].snapshot


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"lora.alpha": 4}, "without lora.rank there is no LoRA"),
        ({"lora.rank": 2, "encoder.fresh": True}, "has none; leave one of them out"),
        ({"lora.rank": 0}, "lora.rank"),
        (
            {"lora.rank": 2, "lora.targets": "query,valeu"},
            "no layer of the encoder is called 'valeu'; did you mean 'value'",
        ),
        ({"lora.rank": 2, "encoder.frozen_layers": 2}, "leaves no layer for LoRA"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(recipe_of: Make, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        engine_of(recipe_of("classify", changes, "bert"))


def test_similarity_is_trained_with_lora(recipe_of: Make, files: dict[str, Path], tmp_path: Path) -> None:
    recipe = recipe_of("classify", {"task.kind": "similarity", **_similarity(files), **LORA}, "bert")
    list(finetune(recipe, tmp_path / "run"))
    one, other = (load(tmp_path / "run" / name).embed(TEXTS) for name in ("adapter", "model"))
    torch.testing.assert_close(torch.from_numpy(one), torch.from_numpy(other), atol=1e-5, rtol=1e-5)
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    base = transformers.AutoModel.from_pretrained(recipe.encoder.path)
    theirs = peft.PeftModel.from_pretrained(base, tmp_path / "run" / "adapter").eval()
    ids = torch.tensor([[*map(int, load(tmp_path / "run" / "model").token_sequences(TEXTS[:1])[0][0])]])
    with torch.no_grad():
        mean = theirs(input_ids=ids).last_hidden_state.mean(1)[0]
    torch.testing.assert_close(torch.from_numpy(one[0]), mean, atol=1e-5, rtol=1e-5)


def _similarity(files: dict[str, Path]) -> dict[str, Any]:
    return {"data.train": files["pair"], "data.dev": files["pair"], "columns.label": "none"}
