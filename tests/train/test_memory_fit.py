"""Open settings are chosen to fit into memory; given ones stay."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from maskling.model.config import ModernConfig
from maskling.model.device import Compute, pick_device
from maskling.model.memory import PROCESS_BYTES
from maskling.train import memory_fit
from maskling.train.distributed import Ranks
from maskling.train.events import Started
from maskling.train.memory_fit import MemoryFit, fit_to_memory, resident_bytes
from maskling.train.pretrain import describe_run, pretrain
from maskling.train.recipe import Recipe
from maskling.train.settings import MICRO_BATCH_TOKENS, PretrainSettings, SystemSettings
from toy_runs import Make

CONFIG = ModernConfig(vocab_size=30_000)


@dataclass
class Workload:
    """The attributes of a task that fitting reads."""

    recipe: Recipe
    row_tokens: int
    mask_rate: float = 0.3

    def supply(self) -> None:
        pass


def fitted(
    system: SystemSettings,
    compute: Compute | None = None,
    max_rows: int = 10_000,
    ranks: Ranks | None = None,
    so_far: int | None = None,
) -> MemoryFit:
    compute = compute or pick_device("cpu", "fp32")
    recipe = Recipe(system=system, train=PretrainSettings(batch_size=max_rows))
    return fit_to_memory(Workload(recipe, 128), CONFIG, compute, ranks or Ranks(), micro_batch_tokens=so_far)


def test_a_cpu_takes_what_was_measured_and_no_more_than_a_step_has() -> None:
    assert fitted(SystemSettings()).system.micro_batch_tokens == MICRO_BATCH_TOKENS
    assert fitted(SystemSettings(), max_rows=3).system.micro_batch_tokens == 3 * 128
    assert fitted(SystemSettings(micro_batch_tokens=130)).system.micro_batch_tokens == 130


def test_little_memory_makes_small_micro_batches_before_layers_are_calculated_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory_fit, "_process_bytes", lambda *_: 0)  # which grows with the tests that ran before
    rich = fitted(SystemSettings())
    assert not rich.checkpoint_activations
    monkeypatch.setattr(memory_fit, "free_bytes", lambda _: rich.memory.total)
    poor = fitted(SystemSettings())
    assert poor.system.micro_batch_tokens < MICRO_BATCH_TOKENS
    assert not poor.checkpoint_activations
    assert poor.memory.total <= 0.8 * rich.memory.total
    assert fitted(SystemSettings(micro_batch_tokens=8192)).checkpoint_activations
    assert fitted(SystemSettings(checkpoint_activations="always")).system.micro_batch_tokens == MICRO_BATCH_TOKENS
    assert not fitted(SystemSettings(micro_batch_tokens=8192, checkpoint_activations="never")).checkpoint_activations
    monkeypatch.setattr(memory_fit, "free_bytes", lambda _: 1.0)
    least = fitted(SystemSettings())
    assert least.system.micro_batch_tokens == 128
    assert least.checkpoint_activations


def test_a_gpu_takes_more_and_its_encoder_is_compiled_where_that_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_fit, "free_bytes", lambda _: 80e9)
    monkeypatch.setattr(memory_fit, "can_compile", lambda device: device.type == "cuda")
    gpu = Compute(torch.device("cuda"), torch.bfloat16, "cuda")
    found = fitted(SystemSettings(), gpu)
    assert found.system.micro_batch_tokens == memory_fit.GPU_TOKENS
    assert found.system.compile is True
    assert fitted(SystemSettings(compile=False), gpu).system.compile is False
    assert fitted(SystemSettings(shard=True), gpu).system.compile is False
    assert fitted(SystemSettings()).system.compile is False
    assert found.memory.process == 0
    monkeypatch.setattr(memory_fit, "free_bytes", lambda _: 8e9)
    assert fitted(SystemSettings(), gpu).system.micro_batch_tokens < memory_fit.GPU_TOKENS


def test_the_choice_of_rank_0_counts() -> None:
    class Rank1(Ranks):
        def broadcast(self, _value: object, _source: int = 0) -> list[object]:
            return [256, False, True]

    found = fitted(SystemSettings(), max_rows=99, ranks=Rank1(1, 2))
    assert found.system.micro_batch_tokens == 256
    assert found.checkpoint_activations


def test_a_resumed_run_keeps_its_micro_batches_unless_the_settings_name_others() -> None:
    assert fitted(SystemSettings(), so_far=384).system.micro_batch_tokens == 384
    assert fitted(SystemSettings(micro_batch_tokens=130), so_far=384).system.micro_batch_tokens == 130


@pytest.mark.parametrize("page", [4096, 65_536])
def test_resident_memory_is_counted_in_pages_of_the_machine(monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    monkeypatch.setattr(Path, "read_text", lambda _: "900 70 30 1 0 50 0")
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": page}.get)
    assert resident_bytes() == 70 * page


@pytest.mark.parametrize(
    "changes",
    [{}, {"pairing.kind": "nsp", "optimizer.kind": "muon"}, {"system.checkpoint_activations": "always"}],
    ids=["usual", "pairs-muon", "twice"],
)
def test_what_is_foreseen_is_what_the_run_tells(
    recipe_of: Make, tmp_path: Path, changes: dict[str, object], monkeypatch: pytest.MonkeyPatch
):
    # What this process holds is known only while it runs.
    monkeypatch.setattr(memory_fit, "_process_bytes", lambda *_: PROCESS_BYTES)
    monkeypatch.setattr("maskling.train.pretrain.resident_bytes", lambda: None)
    torch.set_num_threads(2)
    recipe = recipe_of({"train.steps": 1, "system.threads": 1, **changes})
    seen = describe_run(recipe)
    assert seen == next(event for event in pretrain(recipe, tmp_path / "run") if isinstance(event, Started))
