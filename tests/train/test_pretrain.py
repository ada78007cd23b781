"""Pretraining runs: they learn, resume exactly, and refuse other runs."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

import toy_corpus
from chaos_runs import metrics
from maskling.errors import CheckpointError, NumericsError, TokenizerError
from maskling.train import memory_fit
from maskling.train.events import Evaluated, Finished, Saved, Started, Step, Warned
from maskling.train.pretrain import pretrain
from maskling.train.recipe import Recipe, read_run_recipe
from maskling.train.run_folder import read_env
from torch_ranks import weights
from toy_runs import Make

DROPOUT = {"model.dropout": 0.1, "model.attention_dropout": 0.1}


def run(recipe: Recipe, folder: Path) -> list[object]:
    return list(pretrain(recipe, folder))


def run_until(recipe: Recipe, folder: Path, step: int) -> None:
    """Leave the loop just after `step`: what follows it, such as a checkpoint, does not happen."""
    for event in pretrain(recipe, folder):
        if isinstance(event, Step) and event.step == step:
            break


def same(one: dict[str, object], other: dict[str, object]) -> bool:
    return one.keys() == other.keys() and all((one[name] == other[name]).all() for name in one)


def only(kind: type, events: list[object]) -> list:
    return [event for event in events if isinstance(event, kind)]


def test_a_language_whose_missing_word_is_known_is_learnt(recipe_of: Make, tmp_path: Path):
    recipe = recipe_of(
        {
            "train.steps": 200,
            "train.batch_size": 32,
            "train.evaluate_every": 100,
            "masking.rate": 0.2,
            "optimizer.lr": 1e-2,
            "system.micro_batch_tokens": 1024,
        }
    )
    events = run(recipe, tmp_path)
    started, finished = events[0], events[-1]
    assert isinstance(started, Started)
    assert isinstance(finished, Finished)
    # Seventeen fours, equally frequent: knowing only frequencies gives ln 68 nats.
    assert started.baseline.loss == pytest.approx(math.log(68), abs=0.05)
    last = only(Evaluated, events)[-1].measured
    assert last["mlm_loss"] < 0.3 * started.baseline.loss
    assert last["top1"] > 0.85
    assert finished.best_step == 200
    assert finished.best_value == last["mlm_loss"]
    assert (tmp_path / "model" / "config.json").exists()


@pytest.mark.parametrize("at", [1, 3, 4, 5, 8, 11])
def test_a_run_left_at_any_step_ends_with_the_same_bits(recipe_of: Make, tmp_path: Path, straight: Path, at: int):
    recipe = recipe_of(DROPOUT)
    run_until(recipe, tmp_path, at)
    events = run(recipe, tmp_path)
    # The break comes before the checkpoint of its own step.
    assert events[0].resumed_from == {1: None, 3: None, 4: None, 5: 4, 8: 4, 11: 8}[at]
    assert same(weights(tmp_path, 12), weights(straight, 12))
    assert metrics(tmp_path) == metrics(straight)


@pytest.fixture(scope="module")
def straight(recipe_of: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    folder = tmp_path_factory.mktemp("straight")
    run(recipe_of(DROPOUT), folder)
    return folder


@pytest.mark.parametrize(
    "changes",
    [{"optimizer.kind": "muon"}, {"optimizer.kind": "bert2018"}, {"model.kind": "bert", "pairing.kind": "nsp"}],
    ids=str,
)
def test_every_optimizer_and_the_pair_head_go_on_exactly(recipe_of: Make, tmp_path: Path, changes: dict[str, object]):
    if "model.kind" in changes:
        changes = {
            **changes,
            "model.hidden_size": 32,
            "model.num_heads": 2,
            "model.intermediate_size": 64,
            "model.num_layers": 1,
        }
    recipe = recipe_of({**changes, "train.steps": 6, "train.evaluate_every": 3})
    run(recipe, tmp_path / "straight")
    run_until(recipe, tmp_path / "stopped", 5)
    run(recipe, tmp_path / "stopped")
    assert same(weights(tmp_path / "straight", 6), weights(tmp_path / "stopped", 6))


def test_a_run_goes_on_with_the_micro_batches_it_began_with_whatever_memory_is_free_today(
    recipe_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Dropout masks are drawn per micro-batch."""
    recipe = recipe_of({**DROPOUT, "system.micro_batch_tokens": "none"})
    monkeypatch.setattr(memory_fit, "free_bytes", lambda _: 1.0)
    run(recipe, tmp_path / "straight")
    run_until(recipe, tmp_path / "stopped", 8)
    monkeypatch.setattr(memory_fit, "free_bytes", lambda _: math.inf)
    assert run(recipe, tmp_path / "stopped")[0].resumed_from == 4
    run(recipe, tmp_path / "roomy")
    straight, stopped, roomy = (weights(tmp_path / name, 12) for name in ("straight", "stopped", "roomy"))
    assert same(stopped, straight)
    assert not same(roomy, straight)


KILLED = """
import os, signal, sys
from pathlib import Path
from maskling.train.events import Step
from maskling.train.pretrain import pretrain
from maskling.train.recipe import read_run_recipe
for event in pretrain(read_run_recipe(Path(sys.argv[1])), Path(sys.argv[2])):
    if isinstance(event, Step) and event.step == 7:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_killed_without_a_word_goes_on_to_the_same_bits(recipe_of: Make, tmp_path: Path, straight: Path):
    run_dir = tmp_path / "run"
    # Another number of threads rounds otherwise, and this process may have another than a fresh one.
    environment = {**os.environ, "OMP_NUM_THREADS": str(read_env(straight, "threads"))}
    killed = subprocess.run([sys.executable, "-c", KILLED, str(straight), str(run_dir)], check=False, env=environment)
    assert killed.returncode == -signal.SIGKILL
    # The checkpoint of step 4 may still have been on its way to the disk.
    assert run(recipe_of(DROPOUT), run_dir)[0].resumed_from in (None, 4)
    assert same(weights(run_dir, 12), weights(straight, 12))
    assert metrics(run_dir) == metrics(straight)


def test_a_stop_leaves_a_checkpoint_at_that_very_step_and_the_same_call_goes_on(
    recipe_of: Make, tmp_path: Path, straight: Path
):
    recipe, taken = recipe_of(DROPOUT), []

    def stop() -> bool:
        return len(taken) == 6

    events = []
    for event in pretrain(recipe, tmp_path, stop=stop):
        events.append(event)
        if isinstance(event, Step):
            taken.append(event.step)
    assert events[-1].stopped
    assert events[-1].step == 6
    assert run(recipe, tmp_path)[0].resumed_from == 6
    assert same(weights(tmp_path, 12), weights(straight, 12))
    assert metrics(tmp_path) == metrics(straight)


def test_a_run_stopped_before_any_evaluation_still_has_a_model(recipe_of: Make, tmp_path: Path):
    events = list(pretrain(recipe_of(), tmp_path, stop=lambda: True))
    assert [event.step for event in only(Step, events)] == [1]
    assert (events[-1].model / "model.safetensors").exists()


def test_a_finished_run_says_so_and_writes_a_lost_model_folder_again(recipe_of: Make, straight: Path):
    before = (straight / "model" / "model.safetensors").read_bytes()
    shutil.rmtree(straight / "model")
    (event,) = run(recipe_of(DROPOUT), straight)
    assert event.already
    assert (straight / "model" / "model.safetensors").read_bytes() == before


def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_taken(recipe_of: Make, tmp_path: Path, straight: Path):
    recipe = recipe_of(DROPOUT)
    run_until(recipe, tmp_path, 9)
    damaged = tmp_path / "checkpoints" / "step-000008" / "optimizer.safetensors"
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    events = run(recipe, tmp_path)
    assert "step-000008/optimizer.safetensors is damaged" in events[0].text
    assert only(Started, events)[0].resumed_from == 4
    assert same(weights(tmp_path, 12), weights(straight, 12))
    assert metrics(tmp_path) == metrics(straight)


def test_a_run_folder_says_what_it_is(recipe_of: Make, straight: Path):
    # What the tokenizer decides is filled in.
    assert read_run_recipe(straight).model.vocab_size == len(toy_corpus.SPECIAL) + len(toy_corpus.WORDS)
    environment = json.loads((straight / "env.json").read_text())
    assert {"maskling", "torch", "processor", "threads", "compute"} <= environment.keys()
    kinds = [(line["kind"], line["step"]) for line in metrics(straight)]
    steps, evaluations = [1, 3, 6, 9, 12], [4, 8, 12]
    assert [step for kind, step in kinds if kind == "step"] == steps
    assert [step for kind, step in kinds if kind == "evaluation"] == evaluations


def test_only_the_newest_checkpoints_and_the_best_are_kept(recipe_of: Make, tmp_path: Path):
    # A rate this high makes the first evaluation the best.
    events = run(
        recipe_of(
            {
                "train.steps": 10,
                "train.evaluate_every": 2,
                "train.keep": 2,
                "optimizer.lr": 0.2,
                "schedule.kind": "constant",
                "schedule.warmup": 0,
            }
        ),
        tmp_path,
    )
    best = events[-1].best_step
    kept = {int(path.name[5:]) for path in (tmp_path / "checkpoints").iterdir()}
    assert kept == {best, 8, 10}
    card = (tmp_path / "model" / "README.md").read_text()
    assert f"{events[-1].best_value:.4f}" in card


def test_a_run_that_lost_its_model_folder_ends_with_the_best_weights_in_it(recipe_of: Make, tmp_path: Path):
    recipe = recipe_of({"train.steps": 8, "train.evaluate_every": 2, "optimizer.lr": 0.2, "schedule.kind": "constant"})
    run_until(recipe, tmp_path, 5)
    shutil.rmtree(tmp_path / "model")
    events = run(recipe, tmp_path)
    best = events[-1].best_step
    assert best < 5
    shown = load_file(tmp_path / "model" / "model.safetensors")["model.embeddings.tok_embeddings.weight"]
    assert (shown == weights(tmp_path, best)["word.weight"]).all()


def test_micro_batches_change_nothing_but_rounding(recipe_of: Make, tmp_path: Path):
    changes = {"pairing.kind": "nsp", "train.steps": 3, "train.evaluate_every": 3, "data.seq_length": 31}
    whole = run(recipe_of({**changes, "system.micro_batch_tokens": 8 * 31}), tmp_path / "whole")
    parts = run(recipe_of({**changes, "system.micro_batch_tokens": 2 * 31}), tmp_path / "parts")
    for one, other in zip(only(Step, whole), only(Step, parts), strict=True):
        assert one.loss == pytest.approx(other.loss, abs=1e-6)
        assert one.terms["pair"] == pytest.approx(other.terms["pair"], abs=1e-6)
        assert one.gradient_norm == pytest.approx(other.gradient_norm, rel=1e-5)
    for name, value in weights(tmp_path / "whole", 3).items():
        assert (value - weights(tmp_path / "parts", 3)[name]).abs().max() < 1e-6, name


def test_equal_recipes_give_equal_runs_and_another_seed_another(recipe_of: Make, tmp_path: Path, straight: Path):
    run(recipe_of(DROPOUT), tmp_path / "again")
    assert same(weights(tmp_path / "again", 12), weights(straight, 12))
    run(recipe_of({**DROPOUT, "seed": 1}), tmp_path / "other")
    assert not same(weights(tmp_path / "other", 12), weights(straight, 12))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 5}, "seed = 0, but this command asks for 5"),
        ({"model.num_layers": 3}, "model.num_layers = 2, but this command asks for 3"),
        ({"train.steps": 24}, r"train.steps = 12, but this command asks for 24.*--init"),
        ({"masking.kind": "word"}, "masking.kind = 'token', but this command asks for 'word'"),
    ],
    ids=str,
)
def test_another_run_in_the_same_folder_is_refused_by_name(recipe_of: Make, straight: Path, changes, named: str):
    with pytest.raises(CheckpointError, match=named):
        run(recipe_of({**DROPOUT, **changes}), straight)


def test_what_does_not_change_the_result_may_change(recipe_of: Make, tmp_path: Path):
    run_until(recipe_of(), tmp_path, 6)
    changes = {"train.keep": 5, "train.log_every": 1, "train.save_every": 5, "system.micro_batch_tokens": 64}
    assert run(recipe_of(changes), tmp_path)[-1].step == 12


def test_another_corpus_or_tokenizer_under_a_run_is_refused(recipe_of: Make, tmp_path: Path, toy: Path):
    run_until(recipe_of(), tmp_path / "run", 5)
    other = toy_corpus.write(tmp_path / "other", seed=2)
    with pytest.raises(CheckpointError, match="corpus"):
        run(recipe_of({"data.path": str(other)}), tmp_path / "run")
    vocabulary = other / "tokenizer" / "tokenizer.json"
    vocabulary.write_text(vocabulary.read_text().replace('"bado"', '"badoo"'))
    with pytest.raises(TokenizerError, match="was written by tokenizer"):
        run(recipe_of({"data.path": str(other)}), tmp_path / "run")


def test_a_second_process_on_a_run_is_refused(recipe_of: Make, tmp_path: Path):
    first = pretrain(recipe_of(), tmp_path)
    next(first)
    with pytest.raises(CheckpointError, match=f"process {os.getpid()}"):
        run(recipe_of(), tmp_path)
    first.close()
    assert run(recipe_of({"train.steps": 1}), tmp_path)[-1].step == 1


def test_numbers_that_are_none_stop_the_run_by_step_and_examples(recipe_of: Make, tmp_path: Path):
    recipe = recipe_of({"optimizer.lr": 1e30, "schedule.kind": "constant", "schedule.warmup": 0})
    with pytest.raises(NumericsError, match=r"step [23].*"):
        run(recipe, tmp_path)


def test_init_takes_weights_shape_and_tokenizer_from_a_folder(recipe_of: Make, tmp_path: Path, straight: Path):
    recipe = recipe_of(
        {
            "init": str(straight),
            "train.steps": 2,
            "train.evaluate_every": 1,
            "optimizer.lr": 1e-9,
        }
    )
    events = run(recipe, tmp_path / "run")
    assert read_run_recipe(tmp_path / "run").model.num_layers == 2
    found, given = weights(tmp_path / "run", 1), weights(straight, 12)
    assert all((found[name] - given[name]).abs().max() < 1e-6 for name in found)
    # Gone on with, the folder is not needed any more, and another one is refused.
    with pytest.raises(CheckpointError, match="began from weights"):
        run(recipe_of({"train.steps": 2, "train.evaluate_every": 1, "optimizer.lr": 1e-9}), tmp_path / "run")
    first, second, third = only(Evaluated, events)
    assert (first.step, second.step, third.step) == (0, 1, 2)
    assert first.measured["mlm_loss"] == pytest.approx(only_best(straight), abs=1e-6)
    assert second.measured["mlm_loss"] == pytest.approx(only_best(straight), abs=1e-3)
    assert not first.best
    (finished,) = only(Finished, events)
    assert finished.before == first.measured["mlm_loss"]
    assert [line["step"] for line in metrics(tmp_path / "run") if line["kind"] == "evaluation"] == [0, 1, 2]
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert f"| masked-token loss before the first step | {finished.before:.4f} |" in card


def test_what_was_measured_before_the_first_step_outlives_a_stop(recipe_of: Make, tmp_path: Path, straight: Path):
    recipe = recipe_of({"init": str(straight), "train.steps": 4, "train.evaluate_every": 2, "optimizer.lr": 1e-4})
    # Left before there is a checkpoint, it measures again; stopped with one, it knows.
    for event in pretrain(recipe, tmp_path / "run"):
        if isinstance(event, Step):
            break
    asked = iter([False, True])
    first = list(pretrain(recipe, tmp_path / "run", stop=lambda: next(asked, True)))
    second = list(pretrain(recipe, tmp_path / "run"))
    assert [event.step for event in only(Evaluated, [*first, *second])] == [0, 2, 4]
    assert only(Finished, second)[0].before == only(Evaluated, first)[0].measured["mlm_loss"]
    assert [line["step"] for line in metrics(tmp_path / "run") if line["kind"] == "evaluation"] == [0, 2, 4]
    assert "before the first step" in (tmp_path / "run" / "model" / "README.md").read_text()


def only_best(folder: Path) -> float:
    return min(line["mlm_loss"] for line in metrics(folder) if line["kind"] == "evaluation")


def test_init_with_another_tokenizer_is_refused_with_the_remedy(recipe_of: Make, tmp_path: Path, straight: Path):
    other = tmp_path / "other"
    data = toy_corpus.write(other)
    vocabulary = other / "vocab.txt"
    vocabulary.write_text(vocabulary.read_text() + "extra\n")
    from maskling.tokenizer.tokenizer import Tokenizer

    folder = tmp_path / "model"
    folder.mkdir()
    for path in (straight / "model").iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    Tokenizer.load(vocabulary).save(folder)
    with pytest.raises(TokenizerError, match=r"--tokenizer\.path"):
        run(recipe_of({"init": str(folder), "data.path": str(data)}), tmp_path / "run")


def test_a_corpus_without_validation_text_trains_and_says_so(recipe_of: Make, tmp_path: Path):
    data = toy_corpus.write(tmp_path / "all", documents=20, validation=0)
    events = run(recipe_of({"data.path": str(data)}), tmp_path / "run")
    assert "no evaluation" in only(Warned, events)[0].text
    assert not only(Evaluated, events)
    assert events[-1].model is not None
    assert any(event.path == events[-1].model for event in only(Saved, events))
