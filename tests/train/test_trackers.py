"""Trackers get every logged line once, also after a resume, a rewind, or when they are switched on late."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from maskling.errors import MissingExtra
from maskling.train import trackers
from maskling.train.pretrain import pretrain
from maskling.train.trackers import TrackerFollower, check_tracker, metrics_of
from toy_runs import Make


def line(step: int, kind: str = "step", **more: Any) -> dict[str, Any]:
    return {"kind": kind, "step": step, "loss": 10.0 - step, "time": 1e9 + step, **more}


LINES = [line(1), line(2), line(2, "evaluation"), line(3)]


def follow(name: str, run: Path, kept: list[dict[str, Any]], step: int, new: list[dict[str, Any]]) -> list[str]:
    """Log `new` lines after those `kept` up to `step`, as one start of a run does; return the warnings."""
    run.mkdir(exist_ok=True)
    warnings: list[str] = []
    follower = TrackerFollower(name, run, {"seed": 0, "train.steps": 4}, warnings.append)
    follower.restart_at(step, [json.dumps(one).encode() for one in kept])
    for one in new:
        follower.log(one)
    follower.close()
    return warnings


def events(run: Path, tag: str) -> list[tuple[int, float]]:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulator.EventAccumulator(str(run / "tensorboard"))
    found.Reload()
    return [(event.step, event.value) for event in found.Scalars(tag)]


def test_tensorboard_reads_a_resumed_run_without_doubled_steps(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    follow("tensorboard", tmp_path, [], 0, LINES)
    follow("tensorboard", tmp_path, LINES[:3], 2, [line(3), line(4), line(4, "evaluation")])
    assert events(tmp_path, "train/loss") == [(1, 9), (2, 8), (3, 7), (4, 6)]
    assert events(tmp_path, "held_out/loss") == [(2, 8), (4, 6)]


def test_tensorboard_gets_the_new_values_of_rewound_steps_and_old_lines_when_switched_on_late(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    follow("tensorboard", tmp_path, LINES[:3], 2, [line(3)])
    follow("tensorboard", tmp_path, LINES[:3], 2, [line(3, loss=1.5)])
    assert events(tmp_path, "train/loss") == [(1, 9), (2, 8), (3, 1.5)]
    assert events(tmp_path, "held_out/loss") == [(2, 8)]


def test_mlflow_has_every_step_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    follow("mlflow", tmp_path / "run", [], 0, LINES)
    follow("mlflow", tmp_path / "run", LINES[:3], 2, [line(3), line(4)])
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    run_id = json.loads((tmp_path / "run" / "trackers.json").read_text())["mlflow"]["id"]
    history = client.get_metric_history(run_id, "train/loss")
    assert [(metric.step, metric.value) for metric in history] == [(1, 9), (2, 8), (3, 7), (4, 6)]
    assert client.get_run(run_id).data.params["train.steps"] == "4"


def test_trackio_has_every_step_once(tmp_path: Path) -> None:
    pytest.importorskip("trackio")
    from trackio.sqlite_storage import SQLiteStorage

    follow("trackio", tmp_path / "run", [], 0, LINES)
    follow("trackio", tmp_path / "run", LINES[:3], 2, [line(3), line(4)])
    run_id = json.loads((tmp_path / "run" / "trackers.json").read_text())["trackio"]["id"]
    found = SQLiteStorage.get_logs("maskling", run_id)
    assert [entry["step"] for entry in found if "train/loss" in entry] == [1, 2, 3, 4]


def test_wandb_writes_offline_files_of_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    follow("wandb", tmp_path / "run", [], 0, LINES)
    follow("wandb", tmp_path / "run", LINES[:3], 2, [line(3), line(4)])
    run_id = json.loads((tmp_path / "run" / "trackers.json").read_text())["wandb"]["id"]
    files = sorted((tmp_path / "run" / "wandb").glob(f"offline-run-*/run-{run_id}.wandb"))
    assert len(files) == 2
    assert all(b"train/loss" in file.read_bytes() for file in files)


def test_a_real_run_that_stops_and_resumes(recipe_of: Make, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    recipe = recipe_of({"train.log": "tensorboard", "train.log_every": 1})
    taken = 0

    def stop() -> bool:
        nonlocal taken
        taken += 1
        return taken == 6

    list(pretrain(recipe, tmp_path, stop=stop))
    list(pretrain(recipe, tmp_path))
    assert [step for step, _ in events(tmp_path, "train/loss")] == list(range(1, 13))
    assert [step for step, _ in events(tmp_path, "held_out/mlm_loss")] == [4, 8, 12]
    sessions = json.loads((tmp_path / "status.json").read_text())["sessions"]
    assert [session["state"] for session in sessions] == ["stopped", "finished"]


def test_samples_are_logged_and_change_no_weight(recipe_of: Make, tmp_path: Path) -> None:
    for name, count in (("with", 3), ("without", 0)):
        list(pretrain(recipe_of({"evaluate.samples": count}), tmp_path / name))
    weights = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("with", "without")]
    assert weights[0] == weights[1]
    logged = [json.loads(one) for one in (tmp_path / "with" / "metrics.jsonl").read_text().splitlines()]
    samples = [one for one in logged if one["kind"] == "samples"]
    assert [one["step"] for one in samples] == [4, 8, 12]
    hidden = [part for sample in samples[-1]["samples"] for part in sample if isinstance(part, list)]
    assert hidden
    assert all(0 <= probability <= 1 for _, _, probability in hidden)
    assert recipe_of({"evaluate.samples": 3}).fingerprint == recipe_of({"train.log": "wandb"}).fingerprint


def test_a_tracker_that_fails_is_left_out_with_one_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    from maskling.train.trackers.tensorboard import TensorBoard

    def fail(*_: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(TensorBoard, "log", fail)
    assert follow("tensorboard", tmp_path, [], 0, LINES) == [
        "tensorboard failed (OSError: no space); the run continues without it"
    ]


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow", "trackio"])
def test_a_missing_package_is_named_with_its_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=rf"--log {name} needs .* pip install 'maskling\[{name}\]'"):
        check_tracker(name)


def test_metrics_of_lines() -> None:
    found = line(3, mlm=None, steps=9, fill=1, bad=float("nan"), yes=True)
    assert metrics_of(found) == {"train/loss": 7.0, "train/fill": 1.0}
    assert metrics_of(line(3, "samples")) == {}
