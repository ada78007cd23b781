"""SIGKILL at any instant: the run resumes, and ends with the same bytes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chaos_runs import assert_same_run, config, script
from maskling.train.pretrain import pretrain
from maskling.train.recipe import read_run_recipe
from tiny_corpus import contents
from torch_ranks import ran, torchrun
from toy_runs import Make


def test_a_run_killed_at_random_instants_ends_with_the_same_bytes(recipe_of: Make, tmp_path: Path, in_peace: Path):
    made = config(tmp_path / "config", recipe_of())
    assert script("killed_train.py", made, tmp_path / "run", 1, 2)["kills"] >= 1
    assert_same_run(tmp_path / "run", in_peace)


def test_a_run_killed_while_it_writes_ends_with_the_same_bytes(recipe_of: Make, tmp_path: Path, in_peace: Path):
    made = config(tmp_path / "config", recipe_of())
    assert script("killed_train.py", made, tmp_path / "run", 2, 3, "points")["kills"] == 3
    assert_same_run(tmp_path / "run", in_peace)


@pytest.fixture(scope="session")
def english(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real text, prepared."""
    out = tmp_path_factory.mktemp("english") / "data"
    subprocess.run(prepare_command(shared_data, out), check=True, capture_output=True)
    return out


def prepare_command(shared_data: Path, out: Path) -> list[str]:
    source = str(shared_data / "english" / "speeches.jsonl.gz")
    small = ["--tokenizer.vocab-size", "2000", "--shards.part-bytes", "300000", "--system.workers", "1"]
    return [sys.executable, "-m", "maskling", "prepare", source, "--out", str(out), *small]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("seed", "how"), [(3, ()), (4, ("points",))], ids=["instants", "writes"])
def test_fifty_kills_of_a_run_on_real_text(recipe_of: Make, tmp_path: Path, english: Path, seed: int, how: tuple[str]):
    recipe = recipe_of({"data.path": str(english), "train.steps": 600, "train.evaluate_every": 20})
    made = config(tmp_path / "config", recipe)
    for _ in pretrain(read_run_recipe(made), tmp_path / "in-peace"):
        pass
    found = script("killed_train.py", made, tmp_path / "run", seed, 25, *how, timeout=1000)
    assert found["kills"] == 25
    assert_same_run(tmp_path / "run", tmp_path / "in-peace")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_fifty_kills_of_two_ranks_on_real_text(recipe_of: Make, tmp_path: Path, english: Path):
    recipe = recipe_of({"data.path": str(english), "train.steps": 300, "train.evaluate_every": 20})
    made = config(tmp_path / "config", recipe)
    for name, kills in (("in-peace", 0), ("run", 50)):
        found = script("killed_ranks.py", made, tmp_path / name, 6, kills, timeout=3000)
        assert found["kills"] == kills
    assert_same_run(tmp_path / "run", tmp_path / "in-peace")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_ranks_killed_again_and_again_end_with_the_same_bytes(recipe_of: Make, tmp_path: Path):
    made = config(tmp_path / "config", recipe_of({"train.steps": 800, "train.evaluate_every": 40}))
    for name, restarts, what in (("in-peace", 0, []), ("run", 8, ["chaos", "8"])):
        done = ran(torchrun(made, tmp_path / name, *what, restarts=restarts), timeout=300)
        assert done.returncode == 0, done.stderr
    assert_same_run(tmp_path / "run", tmp_path / "in-peace")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_prepare_killed_thirty_times_on_real_text_ends_with_the_same_bytes(
    shared_data: Path, tmp_path: Path, english: Path
):
    draws, kills, out = random.Random(5), 0, tmp_path / "data"
    while kills < 30:
        child = subprocess.Popen(
            prepare_command(shared_data, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(draws.uniform(0.2, 2.5))
        child.kill()
        over = child.wait() != -signal.SIGKILL
        kills += not over
        if over:  # what was whole before this life stays; from the start again, to be killed some more
            assert contents(out) == contents(english)
            for path in sorted(out.rglob("*"), reverse=True):
                path.unlink() if path.is_file() else path.rmdir()
    subprocess.run(prepare_command(shared_data, out), check=True, capture_output=True)
    assert contents(out) == contents(english)
