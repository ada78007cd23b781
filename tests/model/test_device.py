"""The device and the numbers that are used are those that are named."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from maskling.errors import SettingsError
from maskling.model import device as devices
from maskling.model.device import keep_freed_memory, pick_device


@pytest.mark.parametrize(
    ("amx", "avx", "dtype", "words"),
    [
        (True, True, torch.bfloat16, "bf16 autocast (amx)"),
        (False, True, torch.bfloat16, "bf16 autocast (avx512_bf16)"),
        (False, False, torch.float32, "fp32"),
    ],
)
def test_the_processor_decides_the_numbers(
    monkeypatch: pytest.MonkeyPatch, amx: bool, avx: bool, dtype: torch.dtype, words: str
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx)
    compute = pick_device("cpu")
    assert compute.device == torch.device("cpu")
    assert compute.dtype == dtype
    assert compute.description == f"cpu, {torch.get_num_threads()} threads, {words}".replace(" 1 threads", " 1 thread")


@pytest.mark.parametrize(("faster", "dtype"), [(3.0, torch.bfloat16), (1.1, torch.float32), (0.1, torch.float32)])
def test_where_the_processor_does_not_tell_it_is_measured(
    monkeypatch: pytest.MonkeyPatch, faster: float, dtype: torch.dtype
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setattr(devices, "_bf16_is_faster_by", lambda: faster)
    assert pick_device("cpu").dtype == dtype
    assert ("3.0 times fp32, measured" in pick_device("cpu").description) == (faster == 3.0)


TRAIN = """
import torch
from maskling.model.build import build_masked_lm
from maskling.model.config import BertConfig
from maskling.model.device import pick_device
from maskling.model.attention import AttentionPattern
compute = pick_device("cpu")
module = build_masked_lm(BertConfig(vocab_size=50, hidden_size=32, num_layers=2, num_heads=4, intermediate_size=64), 0)
ids = torch.arange(40).view(2, 20)
with compute.autocast():
    hidden = module(ids, torch.arange(20).expand(2, 20), None, AttentionPattern.from_example_ids(torch.zeros(2, 20)))
    loss = torch.nn.functional.cross_entropy(module.predict(hidden).flatten(0, 1).float(), ids.flatten())
loss.backward()
print(compute.dtype, all(bool(p.grad.isfinite().all()) for p in module.parameters() if p.grad is not None))
"""


@pytest.mark.parametrize(
    "limits",
    [{"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}, {"ATEN_CPU_CAPABILITY": "default"}],
    ids=["avx2", "default"],
)
def test_a_processor_of_less_trains_in_what_is_faster_there(limits: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRAIN], env={**os.environ, **limits}, capture_output=True, text=True, check=True
    )
    dtype, finite = done.stdout.split()
    assert finite == "True"
    if "ONEDNN_MAX_CPU_ISA" in limits:
        assert dtype == "torch.float32"


@pytest.mark.parametrize(("name", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_numbers_asked_for_are_numbers_used(name: devices.Precision, dtype: torch.dtype) -> None:
    compute = pick_device("cpu", name)
    with compute.autocast():
        product = torch.nn.functional.linear(torch.ones(2, 3), torch.ones(4, 3))
    assert compute.dtype == product.dtype == dtype


def test_bf16_on_a_processor_without_it_is_said_to_be_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_native_bf16", lambda _: None)
    assert "emulated, slower than fp32" in pick_device("cpu", "bf16").description
    assert pick_device("cpu", "auto").dtype == torch.float32


@pytest.mark.parametrize("name", ["cuda:99", "abacus", "xpu", "mps:3"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        pick_device(name)


def test_auto_takes_what_is_there() -> None:
    expected = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert pick_device().device.type == expected


def test_other_allocators_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.libc_ver", lambda: ("musl", "1.2"))
    assert keep_freed_memory() is False
