"""Ranks only share the work out."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from maskling.train.pretrain import pretrain
from maskling.train.recipe import Recipe
from maskling.train.run_folder import write_config
from maskling.train.world import World

Make = Callable[..., Recipe]

RANK = """
import sys
from pathlib import Path
import torch
from maskling.train.pretrain import pretrain
from maskling.train.recipe import read_config
torch.distributed.init_process_group("gloo")
for event in pretrain(read_config(Path(sys.argv[1])), Path(sys.argv[2])):
    pass
torch.distributed.destroy_process_group()
"""


def test_one_process_is_a_world_of_its_own():
    world = World()
    assert world.leads
    assert world.agree(7) == 7
    assert torch.equal(world.sum(torch.tensor([1.0, 2.0])), torch.tensor([1.0, 2.0]))


@pytest.mark.slow
def test_two_ranks_give_the_weights_of_one(recipe_of: Make, tmp_path: Path):
    recipe = recipe_of({"pairing.kind": "nsp", "train.steps": 4, "train.evaluate_every": 2, "train.batch_size": 7})
    write_config(tmp_path, recipe)
    for _ in pretrain(recipe, tmp_path / "one"):
        pass
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", RANK, str(tmp_path), str(tmp_path / "two")]
    ranks = [subprocess.Popen(command, env={**shared, "RANK": str(rank)}) for rank in range(2)]
    assert [rank.wait(timeout=200) for rank in ranks] == [0, 0]
    name = "checkpoints/step-000004/model.safetensors"
    one, two = load_file(tmp_path / "one" / name), load_file(tmp_path / "two" / name)
    assert all(torch.allclose(one[key], two[key], atol=1e-6) for key in one)
