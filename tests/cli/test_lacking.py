"""A lack of memory or of disk is one line that says what to do, whatever noticed it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

import maskling.model.folder
from maskling.cli import main
from maskling.errors import is_out_of_memory
from maskling.model.folder import write_safetensors


def numpy_fails() -> None:
    np.empty(1 << 60, dtype=np.uint8)


def torch_fails() -> None:
    torch.empty(1 << 60, dtype=torch.uint8)


def gpu_fails() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of ...")


def python_fails() -> None:
    raise MemoryError


@pytest.mark.parametrize("fail", [numpy_fails, torch_fails, gpu_fails, python_fails])
@pytest.mark.parametrize("verb", ["train", "embed"])
def test_a_lack_of_memory_is_one_line(monkeypatch, capsys: pytest.CaptureFixture[str], fail, verb: str):
    monkeypatch.setattr(main, "_run", lambda *_: fail())
    assert main.run([verb]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "not enough memory" in line
    assert ("micro_batch_tokens" in line) == (verb == "train")


def test_another_error_is_no_lack_of_memory(monkeypatch):
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert not is_out_of_memory(ValueError("out of memory"))

    def fail(*_: object) -> None:
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(main, "_run", fail)
    with pytest.raises(RuntimeError, match="shape"):
        main.run(["train"])


def test_a_full_disk_under_safetensors_names_the_file(tmp_path: Path, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(maskling.model.folder, "save_file", full)
    with pytest.raises(OSError, match="No space left") as error:
        write_safetensors({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    assert error.value.filename == str(tmp_path / "model.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["/dev/zero", "pipe"])
def test_settings_without_an_end_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], path: str):
    import os

    os.mkfifo(tmp_path / "pipe")
    assert main.run(["train", "--config", str(tmp_path / path), "--out", str(tmp_path / "run")]) == 2
    assert "pipe or a device" in capsys.readouterr().err


def test_texts_without_an_end_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main.run(["embed", str(tmp_path), "--file", "/dev/zero"]) == 2
    assert "is a device, which has no end" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (["--optimizer.lr", "inf"], "optimizer.lr"),
        (["--optimizer.lr", "nan"], "optimizer.lr"),
        (["--system.threads", "100000"], "system.threads"),
        (["--budget", "\u0663m"], "should be a time"),
        (["--budget", "4m3"], "should be a time"),
    ],
)
def test_settings_of_odd_values_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], setting: list[str], words: str
):
    assert main.run(["train", "--data", str(tmp_path), "--out", str(tmp_path / "run"), *setting]) == 2
    assert words in capsys.readouterr().err
