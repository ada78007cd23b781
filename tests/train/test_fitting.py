"""What is left open is chosen so that it fits; what is said stays."""

from __future__ import annotations

import pytest
import torch

from maskling.model.config import ModernConfig
from maskling.model.device import Compute, pick_device
from maskling.train import memory_fit
from maskling.train.memory_fit import Fit, fit
from maskling.train.settings import MICRO_BATCH_TOKENS, SystemSettings

CONFIG = ModernConfig(vocab_size=30_000)


def fitted(system: SystemSettings, compute: Compute | None = None, most_rows: int = 10_000, seq: int = 128) -> Fit:
    compute = compute or pick_device("cpu", "fp32")
    return fit(system, CONFIG, compute, row_tokens=seq, most_rows=most_rows, mask_rate=0.3)


def test_a_cpu_takes_what_was_measured_and_no_more_than_a_step_has() -> None:
    assert fitted(SystemSettings()).system.micro_batch_tokens == MICRO_BATCH_TOKENS
    assert fitted(SystemSettings(), most_rows=3).system.micro_batch_tokens == 3 * 128
    assert fitted(SystemSettings(micro_batch_tokens=130)).system.micro_batch_tokens == 130


def test_little_memory_makes_small_micro_batches_before_layers_are_calculated_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory_fit, "_process_bytes", lambda *_: 0)  # which grows with the tests that ran before
    rich = fitted(SystemSettings())
    assert not rich.forgets
    monkeypatch.setattr(memory_fit, "free_bytes", lambda _: rich.memory.total)
    poor = fitted(SystemSettings())
    assert poor.system.micro_batch_tokens < MICRO_BATCH_TOKENS
    assert not poor.forgets
    assert poor.memory.total <= 0.8 * rich.memory.total
    assert fitted(SystemSettings(micro_batch_tokens=8192)).forgets
    assert fitted(SystemSettings(checkpoint_activations="always")).system.micro_batch_tokens == MICRO_BATCH_TOKENS
    assert not fitted(SystemSettings(micro_batch_tokens=8192, checkpoint_activations="never")).forgets
    monkeypatch.setattr(memory_fit, "free_bytes", lambda _: 1.0)
    least = fitted(SystemSettings())
    assert least.system.micro_batch_tokens == 128
    assert least.forgets


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


def test_what_rank_0_chose_counts() -> None:
    config = {"row_tokens": 128, "most_rows": 99, "mask_rate": 0.3}
    found = fit(SystemSettings(), CONFIG, pick_device("cpu", "fp32"), **config, share=lambda _: [256, False, True])
    assert found.system.micro_batch_tokens == 256
    assert found.forgets
