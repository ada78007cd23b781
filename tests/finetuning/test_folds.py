"""Cross-validation: every record is tested once, by a model that saw none of its group; finished folds are kept."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from maskling.data.labelled.records import TextRecord
from maskling.errors import DataError, ModelError, SettingsError
from maskling.finetuning.finetune import finetune, open_training_data
from maskling.finetuning.hold_out import split_fold
from maskling.finetuning.recipe import FinetuneRecipe
from maskling.model.locate import find_model
from maskling.train.events import CrossValidated, Event, FinalMetrics, Finished, Step

Make = Callable[..., FinetuneRecipe]
FOLDS = {"data.folds": 3, "data.dev": "none", "train.steps": 4, "train.evaluate_every": 2}


def record(number: int, text: str, label: str | tuple[str, ...]) -> TextRecord:
    return TextRecord(f"line {number}", text, label=label)


@pytest.mark.parametrize("folds", [2, 3, 7])
@pytest.mark.parametrize("seed", [0, 5])
def test_folds_are_a_partition_by_groups_and_in_proportion(folds: int, seed: int) -> None:
    # A third of the texts comes twice or three times, with white space that does not count.
    texts = [f"text  {number // 3 if number % 9 < 3 else number + 1000}" for number in range(420)]
    records = [record(n, text, "rare" if n % 10 == 9 else "usual") for n, text in enumerate(texts)]
    groups: dict[str, str] = {}
    records = [record(n, one.text, groups.setdefault(one.text, str(one.label))) for n, one in enumerate(records)]
    found = [split_fold(records, folds, fold, seed) for fold in range(1, folds + 1)]
    tested = Counter(one.id for fold in found for one in fold.test)
    assert tested == Counter(one.id for one in records)
    for fold in found:
        assert [*map(id, sorted([*fold.train, *fold.test], key=lambda one: int(one.id[5:])))] == [*map(id, records)]
        assert not {" ".join(one.text.split()) for one in fold.train} & {
            " ".join(one.text.split()) for one in fold.test
        }
        assert fold.kept == 0
        for label in ("rare", "usual"):
            share = sum(one.label == label for one in records) / folds
            assert abs(sum(one.label == label for one in fold.test) - share) <= 3
    assert split_fold(records, folds, 1, seed + 1).test != found[0].test


@pytest.mark.parametrize("lonely", ["one", ("one", "b")])
def test_the_only_record_with_a_label_is_never_tested(lonely: str | tuple[str, ...]) -> None:
    labels = ["a", "b"] if isinstance(lonely, str) else [("a",), ("b",)]
    records = [*(record(n, f"text {n}", labels[n % 2]) for n in range(30)), record(30, "alone", lonely)]
    found = [split_fold(records, 5, fold, 0) for fold in range(1, 6)]
    assert sum(fold.kept for fold in found) == 1
    assert {one.id for fold in found for one in fold.test} == {one.id for one in records[:-1]}
    with pytest.raises(DataError, match=r"data\.folds = 40, but there are only 31 different records"):
        split_fold(records, 40, 1, 0)


def test_each_fold_is_tested_by_a_run_that_neither_trains_nor_selects_on_it(recipe_of: Make) -> None:
    for kind in ("classify", "tag", "answer", "multi"):
        for fold in (1, 2, 3):
            data = open_training_data(recipe_of(kind, {**FOLDS, "data.fold": fold}))
            parts = [{one.id for one in part} for part in (data.train, data.dev, data.test)]
            assert all(parts)
            assert not parts[0] & parts[2]
            assert not parts[1] & parts[2]
            assert not parts[0] & parts[1]


def finals_of(events: list[Event]) -> list[FinalMetrics]:
    return [event for event in events if isinstance(event, FinalMetrics) and event.role == "test"]


def test_all_folds_run_and_their_mean_is_written(recipe_of: Make, tmp_path: Path) -> None:
    recipe = recipe_of("classify", FOLDS)
    events = list(finetune(recipe, tmp_path / "run"))
    tested, done = finals_of(events), events[-1]
    assert isinstance(done, CrossValidated)
    assert done.records == sum(one.records for one in tested) == 48
    for name in ("accuracy", "loss"):
        values = [float(one.measured[name] or 0) for one in tested]
        mean = sum(values) / 3
        assert done.mean[name] == pytest.approx(mean)
        assert done.deviation[name] == pytest.approx(math.sqrt(sum((v - mean) ** 2 for v in values) / 2))
    written = json.loads((tmp_path / "run" / "results.json").read_text())
    assert written["mean"] == done.mean
    assert written["by_fold"] == done.folds
    assert find_model(tmp_path / "run" / "fold-2")
    with pytest.raises(ModelError, match="is a cross-validation, with a model for each fold; give one, such as"):
        find_model(tmp_path / "run")

    # One fold by itself is the same run, and a finished one is not trained again.
    alone = list(finetune(recipe_of("classify", {**FOLDS, "data.fold": 2}), tmp_path / "alone"))
    assert finals_of(alone)[0].measured == tested[1].measured
    again = list(finetune(recipe, tmp_path / "run"))
    assert not any(isinstance(event, Step) for event in again)
    assert again[-1] == done

    # What was stopped within the second fold ends the same.
    events = list(finetune(recipe, tmp_path / "left", stop=(tmp_path / "left" / "fold-2").is_dir))
    assert isinstance(events[-1], Finished)
    assert events[-1].stopped
    resumed = list(finetune(recipe, tmp_path / "left"))
    assert resumed[-1] == done
    assert sum(isinstance(event, Step) for event in resumed) < 8

    with pytest.raises(SettingsError, match="holds a cross-validation; give another --out"):
        finetune(recipe_of("classify"), tmp_path / "run")
    with pytest.raises(SettingsError, match="holds a run without folds"):
        list(finetune(recipe, tmp_path / "alone"))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"data.fold": 1}, r"without data\.folds there are no folds"),
        ({"data.folds": 3, "data.fold": 4}, "but there are 3 folds"),
        ({"data.folds": 1}, r"data\.folds"),
        ({"data.folds": 3, "data.test": "x.jsonl"}, "each fold is the test file of the others"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(recipe_of: Make, changes: dict[str, object], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        recipe_of("classify", changes)
