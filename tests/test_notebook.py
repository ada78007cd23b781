"""`show` runs a job: with the lines of the commands in a terminal, with one output redrawn in place in a notebook."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import maskling
from toy_runs import SHAPE

SETTINGS = {**SHAPE, "train.steps": 6, "train.evaluate_every": 3}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("notebook")
    lines = [f"The fox number {n} sees {n % 7} dogs. They sleep near tree {n % 5}." for n in range(150)]
    (folder / "text.txt").write_text("\n".join(lines))
    return folder


def prepared(data: Path, out: Path) -> maskling.Job[Any, maskling.Prepared]:
    settings = {"corpus.plain": "line", "tokenizer.vocab_size": 150, "shards.validation_fraction": 0.1}
    return maskling.prepare(data / "text.txt", out, settings=settings)


@pytest.fixture
def outputs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """What a notebook was given to display, the newest last; the first creates the output, the others update it."""
    found: list[dict[str, str]] = []

    class Handle:
        def update(self, data: dict[str, str], raw: bool) -> None:
            assert raw
            found.append(data)

    def display(data: dict[str, str], raw: bool, display_id: bool) -> Handle:
        assert raw
        assert display_id
        assert not found
        found.append(data)
        return Handle()

    ipython, inner = ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=object())  # type: ignore[attr-defined]
    inner.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", inner)
    return found


def test_outside_a_notebook_the_lines_of_the_commands_are_printed(data: Path, capsys: pytest.CaptureFixture[str]):
    result = maskling.show(prepared(data, data / "data"))
    assert isinstance(result, maskling.Prepared)
    finished = maskling.show(maskling.pretrain(data / "data", data / "run", preset="bert-tiny", settings=SETTINGS))
    assert isinstance(finished, maskling.Finished)
    assert finished.step == 6
    told = capsys.readouterr()
    assert "is ready" in told.out
    assert "held-out  6/6   loss" in told.err
    assert "model written to" in told.err
    assert "<" not in told.out + told.err


def test_in_a_notebook_one_output_has_lines_and_curves(
    data: Path, tmp_path: Path, outputs: list[dict[str, str]], capsys: pytest.CaptureFixture[str]
):
    maskling.show(prepared(data, tmp_path / "data"))
    assert "is ready" in outputs[-1]["text/html"]
    assert "<svg" not in outputs[-1]["text/html"]
    outputs.clear()
    finished = maskling.show(
        maskling.pretrain(tmp_path / "data", tmp_path / "run", preset="bert-tiny", settings=SETTINGS)
    )
    assert finished.step == 6
    last = outputs[-1]
    assert last["text/html"].count("<polyline") == 3  # the losses in training and held out, and the accuracy
    assert "unigram" in last["text/html"]
    assert "held-out  6/6   loss" in last["text/plain"]
    assert "model written to" in last["text/plain"]
    assert "tok/s" not in last["text/plain"]  # the bar is gone at the end
    assert capsys.readouterr() == ("", "")

    outputs.clear()
    rows = [f'{{"text": "fox {n}", "label": "{"odd" if n % 2 else "even"}"}}' for n in range(60)]
    (tmp_path / "train.jsonl").write_text("\n".join(rows))
    tuned = maskling.finetune(
        tmp_path / "run",
        tmp_path / "tuned",
        task="classify",
        train=tmp_path / "train.jsonl",
        settings={"train.steps": 4, "train.evaluate_every": 2, "system.threads": 1},
    )
    assert maskling.show(tuned).step == 4
    assert "held-out accuracy" in outputs[-1]["text/html"]


def test_what_was_shown_stays_when_a_job_fails(data: Path, tmp_path: Path, outputs: list[dict[str, str]]):
    maskling.show(prepared(data, tmp_path / "data"))
    outputs.clear()
    job = maskling.pretrain(tmp_path / "data", tmp_path / "run", preset="bert-tiny", settings=SETTINGS)

    def failing() -> Any:
        for event in job:
            yield event
            if isinstance(event, maskling.Step):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        maskling.show(maskling.Job("maskling.pretrain(...)", failing()))
    assert "<circle" in outputs[-1]["text/html"]
    job.close()


@pytest.mark.parametrize("notebook", [True, False])
def test_the_first_interrupt_ends_a_run_with_a_checkpoint(
    data: Path, tmp_path: Path, notebook: bool, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
):
    maskling.show(prepared(data, tmp_path / "data"))
    outputs = request.getfixturevalue("outputs") if notebook else []

    def job() -> maskling.Job[Any, maskling.Finished]:
        return maskling.pretrain(tmp_path / "data", tmp_path / "run", preset="bert-tiny", settings=SETTINGS)

    first = job()

    def interrupted() -> Any:
        for event in first:
            yield event
            if isinstance(event, maskling.Step) and event.step == 2:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="the same call resumes it"):
        maskling.show(maskling.Job("maskling.pretrain(...)", interrupted(), first.request_stop))
    told = outputs[-1]["text/plain"] if notebook else capsys.readouterr().err
    assert "stopped at step 2 of 6 with a checkpoint" in told
    assert (tmp_path / "run/checkpoints/step-000002").is_dir()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    outputs.clear()
    assert maskling.show(job()).step == 6


def test_a_run_that_had_finished_shows_its_curves(data: Path, tmp_path: Path, outputs: list[dict[str, str]]):
    def job() -> maskling.Job[Any, maskling.Finished]:
        settings = SETTINGS | {"train.log_every": 1}
        return maskling.pretrain(tmp_path / "data", tmp_path / "run", preset="bert-tiny", settings=settings)

    maskling.show(prepared(data, tmp_path / "data"))
    outputs.clear()
    maskling.show(job())
    first = outputs[-1]["text/html"]
    outputs.clear()
    assert maskling.show(job()).already
    assert "had already finished" in outputs[-1]["text/plain"]
    points = [re.findall('points="([^"]+)"', drawn) for drawn in (first, outputs[-1]["text/html"])]
    assert len(points[0]) == len(points[1]) == 3
    assert points[0][2] == points[1][2]  # the accuracy, on the same axes


def test_a_long_run_does_not_fill_the_notebook(outputs: list[dict[str, str]]):
    warned = (maskling.Warned(f"<number {n}>") for n in range(5000))
    maskling.show(maskling.Job("job", warned))
    assert len(outputs) < 500
    assert "&lt;number 0&gt;" in outputs[-1]["text/html"]
    assert "&lt;number 4999&gt;" in outputs[-1]["text/html"]
    assert len(outputs[-1]["text/html"]) < 10_000


def test_only_jobs_are_shown_and_only_once(data: Path, tmp_path: Path):
    with pytest.raises(maskling.MasklingError, match="show takes what prepare, pretrain or finetune returns, not list"):
        maskling.show([])  # type: ignore[arg-type]
    job = prepared(data, tmp_path / "data")
    job.result()
    with pytest.raises(RuntimeError, match=r"maskling\.prepare\(\.\.\.\) has ended already"):
        maskling.show(job)


def test_a_terminal_of_ipython_is_not_a_notebook(monkeypatch: pytest.MonkeyPatch):
    from maskling.notebook import in_notebook

    ipython = ModuleType("IPython")
    ipython.get_ipython = lambda: SimpleNamespace()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    assert not in_notebook()
    ipython.get_ipython = lambda: None  # type: ignore[attr-defined]
    assert not in_notebook()


def test_ipython_is_not_imported():
    code = "import sys, maskling; maskling.show; from maskling.notebook import in_notebook; print(in_notebook())"
    told = subprocess.run(
        [sys.executable, "-c", f"{code}; print('IPython' in sys.modules)"], capture_output=True, text=True, check=True
    )
    assert told.stdout.split() == ["False", "False"]
