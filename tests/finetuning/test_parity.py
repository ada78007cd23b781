"""One step of training against transformers' models and losses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from maskling.exporting.cards import TaskFacts
from maskling.exporting.folder import export_task_model
from maskling.finetuning.recipe import FinetuneRecipe
from maskling.finetuning.task import LabelledData
from maskling.model.device import pick_device
from maskling.train.distributed import Ranks
from maskling.train.engine import Engine
from maskling.train.optimizer import Optimizer
from maskling.train.step import take_step

Make = Callable[..., FinetuneRecipe]


@pytest.mark.parametrize("model", ["bert", "roberta", "modern"])
@pytest.mark.parametrize("kind", ["classify", "multi", "pair", "regress", "tag", "answer"])
def test_a_step_is_that_of_transformers(recipe_of: Make, tmp_path: Path, kind: str, model: str):
    transformers = pytest.importorskip("transformers")
    nothing_drawn = {"encoder.dropout": 0.0, "encoder.head_dropout": 0.0, "train.clip": "none"}
    recipe = recipe_of(kind, {**nothing_drawn, "schedule.kind": "constant", "schedule.warmup": 0}, model)
    data = LabelledData(recipe, recipe.task)
    recipe = data.complete_recipe(recipe, None)
    task = data.build_task(recipe, Ranks())
    module = task.first_module()
    export_task_model(module, data.tokens, tmp_path / "first", TaskFacts())
    auto = {"tag": "TokenClassification", "answer": "QuestionAnswering"}.get(kind, "SequenceClassification")
    theirs = getattr(transformers, f"AutoModelFor{auto}").from_pretrained(tmp_path / "first").train()

    work = task.batch_builder(Ranks())(0)
    # Plain descent: Adam's first step is the sign of a gradient, which rounding decides where it is nearly nothing.
    optimizer = Optimizer(module, [torch.optim.SGD(module.parameters(), lr=0.1)])
    engine = Engine(task, module, optimizer, pick_device("cpu", "fp32"), Ranks(), module.encoder)
    taken = take_step(engine, work, 1.0)

    loss = _their_loss(theirs, task, kind, model == "bert")
    assert taken.loss == pytest.approx(loss.item(), abs=1e-5)
    loss.backward()
    torch.optim.SGD(theirs.parameters(), lr=0.1).step()
    after = theirs.state_dict()
    for name, value in module.to_hugging_face().items():
        torch.testing.assert_close(value, after[name], atol=1e-5, rtol=1e-5, msg=name)


def _their_loss(model: torch.nn.Module, task, kind: str, types: bool) -> torch.Tensor:
    """The mean over the records of step 0, one sequence at a time: no row is shared, nothing is padded."""
    losses, counts = [], []
    step = task._examples.step(0, task.recipe.train.batch_size)
    for place in range(len(step.windows)):
        ids = torch.from_numpy(step.windows[place]).long()[None]
        targets = step.targets.take([place])
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if types:
            inputs["token_type_ids"] = (torch.arange(ids.shape[1]) >= int(step.windows.second[place])).long()[None]
        if kind == "tag":
            labels = torch.full(ids.shape, -100)
            labels[0, targets.token_positions] = torch.from_numpy(targets.labels)
            inputs["labels"] = labels
            counts.append(len(targets.labels))
        elif kind == "answer":
            inputs |= {"start_positions": torch.tensor(targets.starts), "end_positions": torch.tensor(targets.ends)}
            counts.append(1)
        else:
            inputs["labels"] = torch.from_numpy(targets.labels)
            counts.append(1)
        losses.append(model(**inputs).loss * counts[-1])
    return torch.stack(losses).sum() / sum(counts)
