"""Several ranks give the results of one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import toy_corpus
from chaos_runs import config, metrics
from maskling.train.distributed import Ranks, device_of_rank
from maskling.train.pretrain import pretrain
from maskling.train.run_folder import write_config
from maskling.train.step import gradient_buckets
from torch_ranks import SCRIPT, assert_near, launcher, ran, torchrun, weights
from toy_runs import Make

# A busy machine takes its time to start so many processes.
pytestmark = pytest.mark.timeout(2000)
# Batches of 7 rows do not divide by 2, and pairs make a second loss.
PAIRS = {"pairing.kind": "nsp", "train.steps": 6, "train.evaluate_every": 3, "train.batch_size": 7}


def test_one_process_is_a_world_of_its_own():
    world = Ranks()
    assert world.is_main
    assert world.broadcast_int(7) == world.max(7) == 7
    assert world.broadcast({"a": [1, None]}) == {"a": [1, None]}
    assert torch.equal(world.all_reduce(torch.tensor([1.0, 2.0])), torch.tensor([1.0, 2.0]))


def test_a_rank_takes_the_gpu_that_was_set_for_it_and_says_it_as_the_person_did():
    assert device_of_rank("auto", Ranks()) == "auto"
    # A graph of onnxruntime takes "auto" and the processor, and no number of a GPU.
    assert device_of_rank("auto", Ranks(1, 2, torch.device("cuda", 1))) == "auto"
    assert device_of_rank("auto", Ranks(1, 2)) == "cpu"


def test_buckets_hold_every_parameter_once_in_order_and_are_not_too_large():
    sizes = [3, 5, 1, 11, 2, 2]
    parameters = [torch.nn.Parameter(torch.zeros(size)) for size in sizes]
    found = list(gradient_buckets(parameters, 4 * 8))
    assert [[p.numel() for p in bucket] for bucket in found] == [[3, 5], [1], [11], [2, 2]]


def test_two_ranks_give_the_weights_of_one_and_either_goes_on_for_the_other(recipe_of: Make, tmp_path: Path):
    made = config(tmp_path / "config", recipe_of(PAIRS))
    for _ in pretrain(recipe_of(PAIRS), tmp_path / "one"):
        pass
    # Two ranks begin, rank 1 leaves the loop after step 4, and one process goes on from the checkpoint of step 3.
    assert ran(torchrun(made, tmp_path / "two-one", "leave", "4")).returncode == 0
    assert not (tmp_path / "two-one" / "checkpoints" / "step-000006").exists()
    for _ in pretrain(recipe_of({**PAIRS, "system.micro_batch_tokens": 64}), tmp_path / "two-one"):
        pass
    assert_near(tmp_path / "one", tmp_path / "two-one", 6)


@pytest.mark.slow
def test_one_process_begins_and_two_ranks_go_on(recipe_of: Make, tmp_path: Path):
    made = config(tmp_path / "config", recipe_of({**PAIRS, "system.workers": 1}))
    for _ in pretrain(recipe_of(PAIRS), tmp_path / "one"):
        pass
    for event in pretrain(recipe_of(PAIRS), tmp_path / "one-two"):
        if getattr(event, "step", 0) == 4:
            break
    done = ran(torchrun(made, tmp_path / "one-two"))
    assert done.returncode == 0, done.stderr
    assert "not bit for bit" in done.stdout
    assert_near(tmp_path / "one", tmp_path / "one-two", 6)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_two_ranks_stopped_and_gone_on_with_end_with_the_same_bits(recipe_of: Make, tmp_path: Path, dtype: str):
    changes = {**PAIRS, "system.dtype": dtype, "model.dropout": 0.1, "model.attention_dropout": 0.1}
    made = config(tmp_path / "config", recipe_of(changes))
    assert ran(torchrun(made, tmp_path / "straight")).returncode == 0
    for what, at in (("stop", "2"), ("leave-evaluating", "3"), ("leave", "5"), ("nothing", "0")):
        done = ran(torchrun(made, tmp_path / "stopped", what, at))
        assert done.returncode == 0, done.stderr
    straight, stopped = weights(tmp_path / "straight", 6), weights(tmp_path / "stopped", 6)
    assert all(torch.equal(straight[name], stopped[name]) for name in straight)
    assert metrics(tmp_path / "straight") == metrics(tmp_path / "stopped")


@pytest.mark.slow
def test_one_rank_times_four_micro_batches_is_two_times_two_is_four_times_one(recipe_of: Make, tmp_path: Path):
    changes = {"train.steps": 50, "train.evaluate_every": 25, "train.log_every": 1, "system.micro_batch_tokens": 64}
    made = config(tmp_path / "config", recipe_of({**PAIRS, **changes, "train.batch_size": 8}))
    for ranks in (1, 2, 4):
        done = ran(torchrun(made, tmp_path / str(ranks), ranks=ranks))
        assert done.returncode == 0, done.stderr
    one, *others = ([line["loss"] for line in metrics(tmp_path / str(n)) if line["kind"] == "step"] for n in (1, 2, 4))
    assert len(one) == 50
    for other in others:
        assert other == pytest.approx(one, rel=1e-6)


def test_a_rank_that_fails_takes_the_run_down_and_its_words_are_shown(recipe_of: Make, tmp_path: Path):
    made = config(tmp_path / "config", recipe_of(PAIRS))
    other = toy_corpus.write(tmp_path / "other", seed=2)
    done = ran(torchrun(made, tmp_path / "run", "data", str(other)))
    assert done.returncode == 1
    assert f"error: rank 1: {other} holds corpus" in done.stderr
    # Also the summary of torchrun, which is what a scheduler keeps.
    assert "DataError" in done.stderr.partition("Root Cause")[2]
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.slow
def test_a_killed_rank_is_missed_at_once_and_torchrun_takes_the_run_up_again(recipe_of: Make, tmp_path: Path):
    made = config(tmp_path / "config", recipe_of(PAIRS))
    killed = ran(torchrun(made, tmp_path / "killed", "kill", "4"))
    assert killed.returncode == 1
    assert "error: another rank ended without a message" in killed.stderr
    again = ran(torchrun(made, tmp_path / "again", "kill", "4", restarts=1))
    assert again.returncode == 0, again.stderr
    assert ran(torchrun(made, tmp_path / "straight")).returncode == 0
    straight, found = weights(tmp_path / "straight", 6), weights(tmp_path / "again", 6)
    assert all(torch.equal(straight[name], found[name]) for name in straight)
    assert metrics(tmp_path / "straight") == metrics(tmp_path / "again")


@pytest.mark.slow
def test_the_command_line_runs_under_torchrun_and_stops_with_a_checkpoint(recipe_of: Make, tmp_path: Path, toy: Path):
    write_config(tmp_path, recipe_of({"train.steps": 100_000, "train.evaluate_every": 50_000}))
    command = [*launcher(), "-m", "maskling", "train"]
    command += ["--config", str(tmp_path / "config.toml"), "--out", str(tmp_path / "run")]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        seen = []
        for line in run.stderr:
            seen.append(line)
            if line.lstrip().startswith(("step", "0%")):
                run.send_signal(signal.SIGTERM)
                break
        seen += run.stderr.read().splitlines(keepends=True)
    said = "".join(seen)
    assert said.count("2 ranks") == 1  # only rank 0 speaks
    assert "stopped at step" in said
    assert list((tmp_path / "run" / "checkpoints").iterdir())


@pytest.mark.slow
def test_two_machines_end_with_the_bits_of_one(recipe_of: Make, tmp_path: Path):
    made = config(tmp_path / "config", recipe_of({**PAIRS, "model.dropout": 0.1}))
    assert ran(torchrun(made, tmp_path / "one")).returncode == 0
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        meeting = f"127.0.0.1:{found.getsockname()[1]}"
    # Two launchers, as on two machines: each starts one process, and sees a run folder of its own.
    one_of_two = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
    one_of_two += ["--rdzv-backend=c10d", f"--rdzv-endpoint={meeting}", "--rdzv-id=two"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    places = [tmp_path / "first", tmp_path / "second"]
    machines = [
        subprocess.Popen(
            [*one_of_two, str(SCRIPT), str(made), str(place)],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for place in places
    ]
    said = [machine.communicate(timeout=900) for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], said
    (written,) = [place for place in places if place.exists()]  # the machine of rank 0
    assert sorted("Finished" in out for out, _ in said) == [False, True]
    one, two = weights(tmp_path / "one", 6), weights(written, 6)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert metrics(tmp_path / "one") == metrics(written)
