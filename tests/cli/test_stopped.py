"""A stop at any moment, however rude, loses nothing; pipes and streams that are closed are no faults."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from commands import ENVIRONMENT, MASKLING, PREPARE, TRAIN, Command, started
from tiny_corpus import contents, jsonl, texts


def stopped(words: list[str], folder: Path, after: str, how: signal.Signals) -> tuple[int, str]:
    """Start a command, send it a signal when a line of its log begins with `after`; returns its code and last line."""
    with started(words, folder) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.lstrip().startswith(after):
                break
        process.send_signal(how)
        _, err = process.communicate(timeout=120)
    assert "Traceback" not in err
    return process.returncode, err.splitlines()[-1] if err else ""


def finished(words: list[str], folder: Path) -> str:
    with started(words, folder) as process:
        _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return err


# Stopped by hand is 130; what is killed has no say.
WAYS = [
    (signal.SIGINT, 130),
    pytest.param(signal.SIGTERM, 130, marks=pytest.mark.slow),
    pytest.param(signal.SIGKILL, -signal.SIGKILL, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("how", "code"), WAYS)
def test_prepare_goes_on_to_the_same_bytes(tmp_path: Path, how: signal.Signals, code: int):
    jsonl(tmp_path / "text.jsonl", texts(16_000))
    words = ["prepare", "text.jsonl", *PREPARE, "--shards.part-bytes", "100000", "--out"]
    found, last = stopped([*words, "stopped"], tmp_path, "", how)
    assert found == code
    if code == 130:
        assert last == "stopped; run the same command again to resume"
    assert not (tmp_path / "stopped" / "manifest.json").exists()
    finished([*words, "stopped"], tmp_path)
    finished([*words, "whole"], tmp_path)
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")


@pytest.mark.parametrize(("how", "code"), WAYS)
def test_train_goes_on_to_the_same_weights(maskling: Command, here: Path, how: signal.Signals, code: int):
    words = ["train", "--data", "data", *TRAIN, "--train.steps", "90", "--train.evaluate-every", "15", "--out"]
    found, last = stopped([*words, "stopped"], here, "held-out", how)
    assert found == code
    if code == 130:
        assert last.startswith("stopped at step ")
        assert last.endswith("with a checkpoint; the same command resumes from there")
    again = maskling(*words, "stopped")
    assert again.code == 0
    assert code != 130 or "resuming from step" in again.err  # what is killed early may have no checkpoint yet
    assert maskling(*words, "whole").code == 0
    for name in ("checkpoints/step-000090/model.safetensors", "model/model.safetensors"):
        assert (here / "stopped" / name).read_bytes() == (here / "whole" / name).read_bytes()


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which 'maskling' is this project's; exit code of the first command of a pipe."""
    own = f"maskling() {{ '{sys.executable}' -m maskling \"$@\"; }}; set -o pipefail; {line}"
    done = subprocess.run(["bash", "-c", own], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done


def test_a_lost_terminal_stops_with_a_checkpoint(here: Path):
    # A session of its own whose terminal goes away, as when a connection breaks: SIGHUP, and nowhere to write to.
    def of_a_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may be under nohup

    words = ["train", "--data", "data", "--out", "runs/lost", *TRAIN, "--train.steps", "100000"]
    terminal, its = pty.openpty()
    with subprocess.Popen(
        [*MASKLING, *words],
        cwd=here,
        env={**ENVIRONMENT, "TERM": "xterm"},
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
        preexec_fn=of_a_terminal,
    ) as process:
        os.close(its)
        said = b""
        while b"step" not in said:
            said += os.read(terminal, 4096)
        os.close(terminal)
        try:
            assert process.wait(timeout=120) == 130
        finally:
            process.kill()
    (step,) = [int(path.name[5:]) for path in (here / "runs/lost/checkpoints").iterdir()]
    assert step > 0
    assert json.loads((here / f"runs/lost/checkpoints/step-{step:06d}/state.json").read_text())["step"] == step


def test_a_reader_that_leaves_early_is_no_fault(here: Path):
    for command in ("train --show", "--help", "inspect data --samples 40"):  # more lines than are read
        done = shell(f"maskling {command} | head -n 1", here)
        assert (done.returncode, done.stderr) == (0, "")
        assert len(done.stdout.splitlines()) == 1


def test_closed_streams_are_no_fault(here: Path):
    assert "there is no text" in shell("maskling fill runs/mine <&-", here).stderr
    assert shell("maskling train --show >&-", here).returncode == 0
    assert shell("maskling fill nowhere x 2>&-", here).returncode == 2


def test_a_full_disk_behind_stdout_is_one_line(here: Path):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    done = shell("maskling train --show >/dev/full", here)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "no space left" in done.stderr


def test_a_dash_is_standard_input(maskling: Command, here: Path, monkeypatch: pytest.MonkeyPatch):
    done = shell(
        "cat books/*.txt | maskling prepare - --out piped --tokenizer.vocab-size 150 --corpus.plain line", here
    )
    assert done.returncode == 0, done.stderr
    for words in (["--file", "-"], []):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"[MASK] a\n\nb [MASK]\n")))
        said = maskling("fill", "runs/mine", *words, "--top-k", "1", "--json")
        assert [json.loads(line)["text"] for line in said.out.splitlines()] == ["[MASK] a", "b [MASK]"]
