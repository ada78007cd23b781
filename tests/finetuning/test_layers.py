"""Frozen layers keep their weights, and lower layers may learn more slowly."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from maskling.errors import SettingsError
from maskling.finetuning.device_batch import DeviceBatch
from maskling.finetuning.finetune import open_training_data
from maskling.finetuning.recipe import FinetuneRecipe
from maskling.model.device import Compute
from maskling.train.distributed import Ranks
from maskling.train.engine import Engine
from maskling.train.step import take_step

CPU = Compute(torch.device("cpu"), torch.float32, "cpu")


def engine_of(recipe: FinetuneRecipe) -> Engine:
    data = open_training_data(recipe)
    task = data.build_task(data.complete_recipe(recipe, None), Ranks())
    return Engine.build(task, task.first_module(), CPU, Ranks())


def changed(engine: Engine) -> set[str]:
    """Take a step; return the parameters that it changed."""
    before = {name: value.detach().clone() for name, value in engine.module.named_parameters()}
    take_step(engine, engine.task.batch_builder(Ranks())(0), 1.0)
    return {name for name, value in engine.module.named_parameters() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("optimizer", ["adamw", "bert2018", "muon"])
@pytest.mark.parametrize("model", ["bert", "modern"])
def test_frozen_layers_keep_their_weights(recipe_of: Callable[..., FinetuneRecipe], model: str, optimizer: str) -> None:
    every = changed(engine_of(recipe_of("classify", {"optimizer.kind": optimizer}, model=model)))
    engine = engine_of(recipe_of("classify", {"encoder.frozen_layers": 1, "optimizer.kind": optimizer}, model=model))
    found = changed(engine)
    low = {name for name in every if ".layers.0." in name or (".layers." not in name and name.startswith("encoder."))}
    low -= {name for name in every if "final_norm" in name}
    assert low
    assert found == every - low
    state = engine.optimizer.state()
    engine.optimizer.load_state(state)
    assert {name.partition("|")[0] for name in state} <= {*found, *(every - low)}


def test_all_layers_can_be_frozen_and_not_more(recipe_of: Callable[..., FinetuneRecipe]) -> None:
    assert all(
        ".layers." not in name for name in changed(engine_of(recipe_of("tag", {"encoder.frozen_layers": 2}, "bert")))
    )
    with pytest.raises(SettingsError, match=r"encoder\.frozen_layers = 9, but the encoder has \d layers; lower it"):
        engine_of(recipe_of("tag", {"encoder.frozen_layers": 9}, "bert"))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_lower_layers_learn_more_slowly(recipe_of: Callable[..., FinetuneRecipe], optimizer: str) -> None:
    """AdamW's first update of every weight is about its learning rate, whatever the gradient."""
    changes = {
        "optimizer.kind": optimizer,
        "optimizer.weight_decay": 0,
        "optimizer.eps": 1e-12,
        "encoder.layer_decay": 0.5,
    }
    engine = engine_of(recipe_of("classify", changes, model="bert"))
    before = {name: value.detach().clone() for name, value in engine.module.named_parameters()}
    take_step(engine, engine.task.batch_builder(Ranks())(0), 1.0)
    rate = engine.recipe.optimizer.lr
    moved = {name: (value - before[name]).abs().max().item() / rate for name, value in engine.module.named_parameters()}
    assert moved["head.classifier.bias"] == pytest.approx(1, rel=1e-3)
    layers = engine.module.encoder.config.num_layers
    assert moved["encoder.layers.0.attention_norm.bias"] == pytest.approx(0.5**layers, rel=1e-2)
    assert moved["encoder.embedding_norm.bias"] == pytest.approx(0.5 ** (layers + 1), rel=1e-2)


@pytest.mark.parametrize("setting", ["balanced", "O=0.5,B-ANIMAL=3"])
def test_the_loss_of_tags_weighs_as_in_torch(recipe_of: Callable[..., FinetuneRecipe], setting: str) -> None:
    quiet = {"encoder.dropout": 0, "encoder.head_dropout": 0, "data.max_length": 10}
    engine, plain = (
        engine_of(recipe_of("tag", {**quiet, **extra}, "bert")) for extra in ({"task.class_weights": setting}, {})
    )
    tags = [tag for record in engine.task._data.train for tag in record.tags]
    names = engine.task._data.head.labels
    given = {"O": 0.5, "B-ANIMAL": 3.0}
    weights = torch.tensor(
        [len(tags) / (len(names) * tags.count(name)) if setting == "balanced" else given.get(name, 1) for name in names]
    )
    module = engine.module.eval()
    for batch, other in zip(
        engine.task.batch_builder(Ranks())(0).batches, plain.task.batch_builder(Ranks())(0).batches, strict=True
    ):
        found = engine.task.terms(module, batch, module.encoder, torch.device("cpu"))["loss"]
        inputs = DeviceBatch.of(other, torch.device("cpu"))
        hidden = module.encoder(inputs.input_ids, inputs.position_ids, inputs.token_type_ids, inputs.attention_pattern)
        logits = module.tag(hidden, torch.from_numpy(other.targets.positions(other.first_positions)))
        labels = torch.from_numpy(other.targets.labels)
        expected = torch.nn.functional.cross_entropy(logits, labels, weight=weights, reduction="sum")
        torch.testing.assert_close(found.sum, expected)
        assert found.count == len(labels)
