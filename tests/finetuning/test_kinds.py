"""Every kind of task: learnt where one word decides, written for other programs, and judged as the field judges."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from maskling.finetuning.finetune import finetune
from maskling.finetuning.recipe import FinetuneRecipe
from maskling.infer.model import load
from maskling.train.events import Evaluated, FinalMetrics, Finished, Started, Step, Warned

Make = Callable[..., FinetuneRecipe]


def only(kind: type, events: list[object]) -> list:
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.parametrize(
    ("kind", "model", "steps", "name", "least"),
    [
        ("classify", "modern", 24, "accuracy", 0.95),
        ("classify", "roberta", 48, "accuracy", 0.9),
        ("multi", "modern", 60, "micro_f1", 0.95),
        ("pair", "bert", 120, "accuracy", 0.9),
        ("regress", "modern", 40, "pearson", 0.95),
        ("tag", "modern", 60, "f1", 0.95),
        ("answer", "modern", 50, "f1", 0.95),
    ],
)
def test_what_hangs_on_one_word_is_learnt(
    recipe_of: Make, tmp_path: Path, kind: str, model: str, steps: int, name: str, least: float
):
    recipe = recipe_of(kind, {"train.steps": steps, "train.evaluate_every": steps // 2}, model=model)
    events = list(finetune(recipe, tmp_path))
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert finished.best_name == name
    assert finished.best_value >= least
    (dev,) = only(FinalMetrics, events)
    assert dev.measured[name] == finished.best_value
    # What was written says the same when it is asked.
    model = load(tmp_path / "model", device="cpu")
    if kind == "classify":
        said = [model.predict(text).label for text in ("the quick fox of", "a lazy paris so")]
        assert said == ["animal", "place"]
    if kind == "tag":
        assert [entity.type for entity in model.predict(("the", "dog", "so")).entities] == ["ANIMAL"]
    if kind == "answer":
        assert model.predict(("the fox of", "the quick brown lazy dog so of")).text == "dog"
    assert f"{finished.best_value:.4f}" in (tmp_path / "model" / "README.md").read_text()


def test_test_records_are_measured_once_at_the_end_and_told_again(recipe_of: Make, tmp_path: Path, files, monkeypatch):
    recipe = recipe_of("classify", {"train.steps": 4, "train.evaluate_every": 2, "data.test": files["classify"]})
    events = list(finetune(recipe, tmp_path))
    dev, test = only(FinalMetrics, events)
    assert (dev.role, test.role) == ("dev", "test")
    # The same file: the same numbers, of the same weights.
    assert test.measured == pytest.approx(dev.measured)
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["test"]["accuracy"] == test.measured["accuracy"]
    assert "accuracy, test" in (tmp_path / "model" / "README.md").read_text()

    def again(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr("maskling.finetuning.task.FinetuneTask._logits", again)
    events = list(finetune(recipe, tmp_path))
    assert only(FinalMetrics, events) == [dev, test]
    assert events[-1].already


def test_epochs_make_steps_and_an_evaluation_follows_each(recipe_of: Make, tmp_path: Path):
    events = list(finetune(recipe_of("classify", {"train.epochs": 2}), tmp_path))
    # 48 records, 8 a step.
    assert len(only(Step, events)) == 12
    assert [event.step for event in only(Evaluated, events)] == [6, 12]
    started = only(Started, events)[0]
    assert started.examples_per_epoch == 48
    assert started.baseline.loss == pytest.approx(math.log(2))


def test_without_dev_a_part_of_train_is_held_out_and_said(recipe_of: Make, tmp_path: Path):
    recipe = recipe_of("classify", {"train.epochs": 1, "data.dev": "none"})
    events = list(finetune(recipe, tmp_path))
    assert any("no --dev was given: 5 records" in event.text for event in only(Warned, events))
    assert only(Started, events)[0].examples_per_epoch == 43
    (dev,) = only(FinalMetrics, events)
    assert dev.records == 5
    # Held out: none of them leaks into what is learnt.
    assert not any("also in train" in event.text for event in only(Warned, events))


def test_evaluations_are_one_an_epoch_or_as_many_as_asked_for(recipe_of: Make):
    from maskling.finetuning.task import LabelledData

    def evaluated(changes: dict[str, object]) -> list[int]:
        recipe = recipe_of("classify", {"train.epochs": 3, "train.batch_size": 1, **changes})
        train = LabelledData(recipe, recipe.task).complete_recipe(recipe, None).train
        return [step for step in range(1, train.steps + 1) if train.evaluates(step, train.steps)]

    assert len(evaluated({})) == 3
    assert len(evaluated({"train.evaluations": 2})) == 2


def test_fresh_weights_are_not_those_of_the_folder_but_have_its_shape(recipe_of: Make, tmp_path: Path):
    from maskling.finetuning.task import LabelledData
    from maskling.train.distributed import Ranks

    norms = []
    for fresh in (False, True):
        recipe = recipe_of("classify", {"encoder.fresh": fresh})
        data = LabelledData(recipe, recipe.task)
        recipe = data.complete_recipe(recipe, None)
        model = data.build_task(recipe, Ranks()).first_module()
        norms.append(model.state_dict())
        assert (data.initial_weights_id(recipe, None) is None) == fresh
    given, drawn = norms
    assert {name: value.shape for name, value in given.items()} == {name: value.shape for name, value in drawn.items()}
    assert not any((given[name] == drawn[name]).all() for name in given if given[name].ndim == 2 and "head" not in name)
    assert (given["head.classifier.weight"] == drawn["head.classifier.weight"]).all()
