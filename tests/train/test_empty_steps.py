"""Steps without anything to predict: text of unknown tokens only, labels that are all left out."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import toy_corpus
from chaos_runs import config, metrics
from maskling.data.labelled.triplets import PositivePairs
from maskling.data.prepare.prepare import prepare
from maskling.data.prepare.settings import PrepareSettings
from maskling.train.events import Finished, Step, Warned
from maskling.train.pretrain import pretrain
from torch_ranks import assert_near, ran, torchrun, weights
from toy_runs import Make, recipes

STEPS = 10
EVERY_STEP = {"train.log_every": 1, "train.save_every": 1, "train.keep": STEPS}


@pytest.fixture(scope="module")
def half_unknown(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Recipes over text in which one of five documents, and most of the text, is of unknown words only."""
    folder, draws = tmp_path_factory.mktemp("unknown"), random.Random(5)
    text, vocabulary = folder / "text.txt", folder / "vocab.txt"
    letters = "qxzwvj"

    def strange() -> str:
        return "\n".join(" ".join("".join(draws.choices(letters, k=4)) for _ in range(12)) for _ in range(20))

    documents = [toy_corpus.document(draws) if place % 5 else strange() for place in range(40)]
    text.write_text("\n\n".join(documents) + "\n")
    vocabulary.write_text("\n".join([*toy_corpus.SPECIAL, *toy_corpus.WORDS]) + "\n")
    settings = PrepareSettings.model_validate(
        {
            "corpus": {"plain": "sentence-per-line", "dedup": "none", "filters": {"min_characters": 1}},
            "tokenizer": {"path": str(vocabulary)},
            "shards": {"validation_fraction": 0.1},
            "system": {"workers": 1},
        }
    )
    for _ in prepare([str(text)], folder / "data", settings):
        pass
    usual = {"train": {"steps": STEPS, "batch_size": 1, "evaluate_every": STEPS}}
    return recipes(
        folder / "data", usual | {"system": {"micro_batch_tokens": 32, "threads": 1}, "evaluate": {"examples": 4}}
    )


def finished(recipe: Any, run_dir: Path) -> tuple[list[Step], Finished, list[str]]:
    events = list(pretrain(recipe, run_dir))
    end = events[-1]
    assert isinstance(end, Finished)
    told = [event.text for event in events if isinstance(event, Warned)]
    return [event for event in events if isinstance(event, Step)], end, told


@pytest.mark.parametrize("optimizer", ["adamw", "bert2018", "muon"])
def test_a_step_without_predictions_moves_nothing_and_is_counted(half_unknown: Make, tmp_path: Path, optimizer: str):
    steps, end, told = finished(half_unknown({"optimizer.kind": optimizer, **EVERY_STEP}), tmp_path)
    empty = [event.step for event in steps if event.loss is None]
    assert 0 < len(empty) < STEPS
    assert end.empty == len(empty)
    assert all(event.gradient_norm == 0 and event.terms["mlm"] is None for event in steps if event.loss is None)
    assert f"step {empty[0]}: its 1 rows have nothing to predict" in "".join(told)
    assert sum("rows have nothing" in text for text in told) == len(str(len(empty)))
    lines = {line["step"]: line for line in metrics(tmp_path) if line["kind"] == "step"}
    assert all((lines[event.step]["loss"] is None) == (event.loss is None) for event in steps)
    for step in range(2, STEPS + 1):
        files = [tmp_path / "checkpoints" / f"step-{one:06d}" for one in (step - 1, step)]
        same = [
            (files[0] / name).read_bytes() == (files[1] / name).read_bytes()
            for name in ("model.safetensors", "optimizer.safetensors")
        ]
        assert same == [step in empty] * 2
    state = json.loads((tmp_path / "checkpoints" / f"step-{STEPS:06d}" / "state.json").read_text())
    assert state["empty"] == len(empty)


@pytest.mark.parametrize("optimizer", ["adamw", "bert2018", "muon"])
def test_pairs_are_learned_where_no_token_is_predicted(half_unknown: Make, tmp_path: Path, optimizer: str):
    changes = {"pairing.kind": "nsp", "optimizer.kind": optimizer, "train.batch_size": 2}
    steps, end, _ = finished(half_unknown(changes), tmp_path)
    lone = [event for event in steps if event.terms["mlm"] is None]
    assert lone
    assert all(event.loss == event.terms["pair"] and event.gradient_norm > 0 for event in lone)
    assert end.empty == 0


def test_micro_batches_without_predictions_change_no_sum(half_unknown: Make, tmp_path: Path):
    for name, tokens in (("whole", 32 * 8), ("parts", 32)):
        changes = {"train.batch_size": 8, "system.micro_batch_tokens": tokens, "train.log_every": 1}
        finished(half_unknown({**changes, "train.evaluate_every": STEPS}), tmp_path / name)
    assert_near(tmp_path / "whole", tmp_path / "parts", STEPS)


def test_a_stopped_run_counts_on_and_ends_with_the_same_bytes(half_unknown: Make, tmp_path: Path):
    recipe = half_unknown()
    _, end, _ = finished(recipe, tmp_path / "straight")
    for event in pretrain(recipe, tmp_path / "stopped"):
        if isinstance(event, Step) and event.step == STEPS // 2:
            break
    assert finished(recipe, tmp_path / "stopped")[1].empty == end.empty > 0
    straight, stopped = (weights(tmp_path / name, STEPS) for name in ("straight", "stopped"))
    assert all(torch.equal(value, stopped[name]) for name, value in straight.items())
    assert metrics(tmp_path / "straight") == metrics(tmp_path / "stopped")


@pytest.mark.slow
@pytest.mark.timeout(2000)
@pytest.mark.parametrize("shard", [False, True])
@pytest.mark.parametrize("pairing", ["single", "nsp"])
def test_ranks_agree_about_empty_steps(half_unknown: Make, tmp_path: Path, shard: bool, pairing: str):
    recipe = half_unknown({"train.batch_size": 2, "pairing.kind": pairing, "train.log_every": 1})
    _, end, _ = finished(recipe, tmp_path / "one")
    made = config(tmp_path / "config", recipe.with_system(recipe.system.model_copy(update={"shard": shard})))
    found = ran(torchrun(made, tmp_path / "two"))
    assert found.returncode == 0, found.stderr
    last = json.loads(found.stdout.strip().splitlines()[-1])
    assert last["empty"] == end.empty
    assert (end.empty > 0) == (pairing == "single")
    assert_near(tmp_path / "one", tmp_path / "two", STEPS)


def compared(texts: list[int], scores: list[float]) -> bool:
    """Whether pairs of texts (0 and 1, 2 and 3, ...) have anything to learn."""
    anchors = np.arange(0, len(texts), 2)
    return PositivePairs(anchors, anchors + 1, anchors + 1, np.array(scores), np.array(texts)).has_predictions


def test_pairs_without_a_negative_or_an_order_predict_nothing():
    nan = float("nan")
    assert compared([0, 1, 2, 3], [nan, nan])
    assert compared([0, 0, 1, 1], [nan, nan])  # SimCSE: each the other's negative
    assert not compared([0, 1, 0, 1], [nan, nan])  # the same pair twice
    assert not compared([0, 1, 1, 0], [nan, nan])
    assert compared([0, 1, 2, 3], [0.5, 0.6])
    assert not compared([0, 1, 2, 3], [0.5, 0.5])
