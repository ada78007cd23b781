"""The same weights, however a run is cut up: over time, over rows, over micro-batches, over ranks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from maskling.errors import CheckpointError
from maskling.finetuning.finetune import finetune
from maskling.finetuning.recipe import FinetuneRecipe
from maskling.finetuning.task import FinetuneTask, LabelledData, logits_over_ranks
from maskling.model.device import pick_device
from maskling.objectives.losses import weighted_loss
from maskling.train.distributed import Ranks
from maskling.train.events import Step
from torch_ranks import assert_near, finetuning, ran

Make = Callable[..., FinetuneRecipe]
KINDS = ["classify", "multi", "pair", "regress", "tag", "answer"]
CPU = torch.device("cpu")
# What is dropped depends on how a step is cut, so nothing is.
TOGETHER = {"train.steps": 6, "train.evaluate_every": 3, "encoder.dropout": 0, "encoder.head_dropout": 0}


def weights(folder: Path, step: int) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoints" / f"step-{step:06d}" / "model.safetensors")


def task_of(recipe: FinetuneRecipe) -> FinetuneTask:
    data = LabelledData(recipe, recipe.task)
    return data.build_task(data.complete_recipe(recipe, None), Ranks())


def gradient(task: FinetuneTask, worlds: list[Ranks]) -> dict[str, torch.Tensor]:
    """Of step 1, added up over ranks; no dropout."""
    module = task.first_module().eval()
    for ranks in worlds:
        work = task.batch_builder(ranks)(1)
        for batch in work.batches:
            weighted_loss(task.terms(module, batch, module.encoder, CPU), work.counts, task.weights).backward()
    return {name: value.grad.clone() for name, value in module.named_parameters() if value.grad is not None}


def furthest(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


@pytest.mark.parametrize("at", [2, 5])
def test_a_run_left_goes_on_to_the_same_bits_with_dropout(recipe_of: Make, tmp_path: Path, at: int):
    recipe = recipe_of("tag", {"train.steps": 6, "train.evaluate_every": 3, "encoder.dropout": 0.1})
    list(finetune(recipe, tmp_path / "straight"))
    for event in finetune(recipe, tmp_path / "left"):
        if isinstance(event, Step) and event.step == at:
            break
    list(finetune(recipe, tmp_path / "left"))
    one, other = weights(tmp_path / "straight", 6), weights(tmp_path / "left", 6)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("model", ["bert", "modern"])
@pytest.mark.parametrize("kind", KINDS)
def test_packed_rows_micro_batches_and_ranks_change_nothing_but_rounding(recipe_of: Make, kind: str, model: str):
    whole = {"system.micro_batch_tokens": 4096}
    straight = gradient(task_of(recipe_of(kind, {**whole, "packing.kind": "none"}, model)), [Ranks()])
    size = max(float(value.abs().max()) for value in straight.values())
    assert size > 1e-4
    for changes, worlds in (
        (whole, [Ranks()]),
        ({"system.micro_batch_tokens": 32}, [Ranks()]),
        ({"system.micro_batch_tokens": 32}, [Ranks(rank, 4) for rank in range(4)]),
    ):
        task = task_of(recipe_of(kind, changes, model))
        if changes is not whole:
            assert sum(len(task.batch_builder(ranks)(1).batches) for ranks in worlds) > 1
        assert furthest(straight, gradient(task, worlds)) < 1e-5 * max(1, size)


@dataclass(frozen=True)
class Apart(Ranks):
    """A rank whose sums are its own part: the test adds them."""

    def all_reduce(self, values: torch.Tensor) -> torch.Tensor:
        return values


@pytest.mark.parametrize("kind", ["classify", "tag", "answer"])
def test_ranks_judge_parts_that_add_up_to_the_whole(recipe_of: Make, kind: str):
    task = task_of(recipe_of(kind, {"data.max_length": 33}))
    module, compute = task.first_module(), pick_device("cpu", "fp32")

    def of(ranks: Ranks) -> np.ndarray:
        return logits_over_ranks(module, compute, ranks, task.encoded(task._data.dev), 0, 256)

    whole = of(Ranks())
    parts = [of(Apart(rank, 3)) for rank in range(3)]
    assert module.training
    np.testing.assert_allclose(sum(parts), whole, atol=1e-5)
    assert all((part == 0).any() for part in parts)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 5}, "seed = 0, but this command asks for 5"),
        ({"encoder.head_dropout": 0.3}, r"encoder\.head_dropout = 0\.1, but this command asks for 0\.3"),
        ({"train.epochs": 2}, "train.steps"),
        ({"encoder.fresh": True}, "began from weights"),
    ],
)
def test_another_run_in_the_same_folder_is_refused(recipe_of: Make, tmp_path: Path, changes, named: str):
    base = {"train.epochs": 1, "train.evaluate_every": 3}
    for event in finetune(recipe_of("classify", base), tmp_path):
        if isinstance(event, Step) and event.step == 5:
            break
    with pytest.raises(CheckpointError, match=named):
        list(finetune(recipe_of("classify", base | changes), tmp_path))


def test_other_records_under_the_same_run_are_refused(recipe_of: Make, tmp_path: Path, files: dict[str, Path]):
    train = tmp_path / "train.jsonl"
    train.write_bytes(files["classify"].read_bytes())
    recipe = recipe_of("classify", {"data.train": train, "train.steps": 2, "train.evaluate_every": 1})
    list(finetune(recipe, tmp_path / "run"))
    train.write_text(train.read_text() + '{"text": "the fox", "label": "animal"}\n')
    with pytest.raises(CheckpointError, match="was trained on corpus"):
        list(finetune(recipe, tmp_path / "run"))


@pytest.mark.timeout(2000)
def test_two_ranks_under_torchrun_teach_what_one_process_teaches(recipe_of: Make, tmp_path: Path):
    # 7 rows do not divide by 2.
    recipe = recipe_of("tag", {**TOGETHER, "train.batch_size": 7})
    list(finetune(recipe, tmp_path / "one"))
    done = ran(finetuning(recipe, tmp_path / "two"))
    assert done.returncode == 0, done.stderr
    assert "2 ranks" in done.stderr
    assert_near(tmp_path / "one", tmp_path / "two", 6)
    assert (tmp_path / "two" / "model" / "config.json").exists()


@pytest.mark.slow
@pytest.mark.timeout(2000)
@pytest.mark.parametrize("kind", KINDS)
def test_two_ranks_go_on_with_what_one_process_began(recipe_of: Make, tmp_path: Path, kind: str):
    recipe = recipe_of(kind, TOGETHER)
    list(finetune(recipe, tmp_path / "one"))
    for event in finetune(recipe, tmp_path / "both"):
        if isinstance(event, Step) and event.step == 4:
            break
    done = ran(finetuning(recipe, tmp_path / "both"))
    assert done.returncode == 0, done.stderr
    assert "resuming from step 3" in done.stderr
    assert_near(tmp_path / "one", tmp_path / "both", 6)
