"""The device and the numbers that are used are those that are named."""

from __future__ import annotations

import pytest
import torch

from maskling.errors import SettingsError
from maskling.model import device as devices
from maskling.model.allocator import keep_memory
from maskling.model.device import pick


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
    compute = pick("cpu")
    assert compute.device == torch.device("cpu")
    assert compute.dtype == dtype
    assert compute.description == f"cpu, {torch.get_num_threads()} threads, {words}".replace(" 1 threads", " 1 thread")


@pytest.mark.parametrize(("name", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_numbers_asked_for_are_numbers_used(name: devices.Precision, dtype: torch.dtype) -> None:
    compute = pick("cpu", name)
    with compute.autocast():
        product = torch.nn.functional.linear(torch.ones(2, 3), torch.ones(4, 3))
    assert compute.dtype == product.dtype == dtype


def test_bf16_on_a_processor_without_it_is_said_to_be_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_native_bf16", lambda _: None)
    assert "emulated, slower than fp32" in pick("cpu", "bf16").description
    assert pick("cpu", "auto").dtype == torch.float32


@pytest.mark.parametrize("name", ["cuda:99", "abacus", "xpu", "mps:3"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        pick(name)


def test_auto_takes_what_is_there() -> None:
    expected = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert pick().device.type == expected


def test_other_allocators_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.libc_ver", lambda: ("musl", "1.2"))
    assert keep_memory() is False
