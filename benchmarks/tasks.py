"""Scores on labelled tasks: a fine-tuned encoder, the same from random weights, and a linear model of words.

    python benchmarks/tasks.py MODEL --tasks FOLDER [--only sst2 mrpc ... | --chinese] [--seeds 0 1 2] [--tune]

FOLDER holds one folder per task, with train, dev and test files; either the English or the Chinese tasks are run.
Settings are the defaults of `maskling finetune` except for the epochs below; both encoders get the same. With --tune,
the learning rate and the epochs are selected on dev with the first seed, separately for each encoder. The linear models
(scikit-learn) are simple baselines: TF-IDF of words and word bigrams for texts (in Chinese of up to three characters),
overlap and differences of TF-IDF for pairs, the context of each word for tags; their regularisation strength is
selected on dev. Scores are on the test file, with the weights selected on dev.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import FOLDER, parser_of, report
from linear import linear_score


@dataclass(frozen=True)
class Task:
    """A labelled task. kind: as for --task; metric: the one reported; train, dev, test: file names in the folder.

    epochs: the default; longer: a second value that --tune tries.
    """

    kind: str
    metric: str
    epochs: int
    longer: int
    train: str
    dev: str | None
    test: str


TASKS = {
    "sst2": Task("classify", "accuracy", 3, 8, "train.jsonl", "dev.jsonl", "test.jsonl"),
    "movie_reviews_long": Task("classify", "accuracy", 2, 4, "train.jsonl.gz", "dev.jsonl.gz", "test.jsonl.gz"),
    "mrpc": Task("pair", "accuracy", 4, 12, "train.jsonl", None, "test.jsonl"),
    "stsb": Task("regress", "spearman", 4, 12, "train.jsonl", "dev.jsonl", "test.jsonl"),
    "wnut17": Task("tag", "f1", 6, 18, "train.conll", "dev.conll", "test.conll"),
    "wikigold": Task("tag", "f1", 10, 20, "train.conll", "dev.conll", "test.conll"),
    "ewt_pos": Task("tag", "accuracy", 8, 16, "train.conll", None, "test.conll"),
    "xquad_en": Task("answer", "f1", 10, 20, "train.json", "dev.json", "test.json"),
    "chnsenticorp": Task("classify", "accuracy", 3, 8, "train.jsonl.gz", "dev.jsonl.gz", "test.jsonl.gz"),
    "peopledaily_ner": Task("tag", "f1", 4, 12, "train.conll", None, "dev.conll"),
    "xquad_zh": Task("answer", "f1", 10, 20, "train.json", "dev.json", "test.json"),
}
CHINESE = ("chnsenticorp", "peopledaily_ner", "xquad_zh")


# Learning rates that --tune tries, with both numbers of epochs.
RATES = (1e-4, 3e-4, 1e-3)
SIDES = ("pretrained", "random weights")


@dataclass(frozen=True)
class Setting:
    """Hyperparameters of a run. lr: None is finetune's default."""

    lr: float | None
    epochs: int

    def __str__(self) -> str:
        return f"lr {'usual' if self.lr is None else f'{self.lr:g}'}, {self.epochs} epochs"


@dataclass(frozen=True)
class Scores:
    """Scores of the weights selected on dev."""

    dev: float
    test: float


def main() -> None:
    parser = parser_of(__doc__, "--json")
    parser.add_argument("model")
    parser.add_argument("--tasks", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=list(TASKS))
    parser.add_argument("--chinese", action="store_true", help="the Chinese tasks instead of the English ones")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument(
        "--runs", type=Path, default=FOLDER / "tasks", help="folder of the runs; finished ones are reused"
    )
    parser.add_argument("--tune", action="store_true", help="select learning rate and epochs on dev, for each encoder")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name in options.only or [name for name in TASKS if (name in CHINESE) == options.chinese]:
        task, folder = TASKS[name], options.tasks / name
        found: dict[str, str] = {}
        began = time.perf_counter()
        for side in SIDES:
            setting = Setting(None, task.epochs)
            if options.tune:
                tried = [Setting(lr, epochs) for lr in RATES for epochs in (task.epochs, task.longer)]
                setting = max(tried, key=lambda one: finetuned(options, name, one, options.seeds[0], side).dev)
            scores = [finetuned(options, name, setting, seed, side).test for seed in options.seeds]
            found |= {side: spread(scores), f"{side} with": str(setting)}
        took = time.perf_counter() - began
        rows.append(
            {"task": name, "metric": task.metric}
            | found
            | {"linear": f"{100 * linear_score(task, folder, name in CHINESE):.1f}", "minutes": f"{took / 60:.1f}"}
        )
        print(rows[-1], file=sys.stderr, flush=True)
    report("tasks", rows, options.json)


def spread(scores: list[float]) -> str:
    """Return the mean in percent and the standard deviation over seeds."""
    mean = 100 * statistics.mean(scores)
    return f"{mean:.1f}" if len(scores) < 2 else f"{mean:.1f} ± {100 * statistics.stdev(scores):.1f}"


def finetuned(options: argparse.Namespace, name: str, setting: Setting, seed: int, side: str) -> Scores:
    """Return the scores of one run; a finished run is reused."""
    task, folder = TASKS[name], options.tasks / name
    usual = setting == Setting(None, task.epochs)
    out = options.runs / f"{name}-{side}-{seed}{'' if usual else f'-{setting}'}".replace(" ", "-").replace(",", "")
    kept = out / "tested.json"
    if not kept.exists():
        command = [sys.executable, "-m", "maskling", "finetune", options.model, "--task", task.kind]
        command += ["--out", str(out), "--json", "--seed", str(seed), "--epochs", str(setting.epochs)]
        command += ["--train", str(folder / task.train), "--test", str(folder / task.test)]
        command += ["--dev", str(folder / task.dev)] if task.dev else []
        command += ["--lr", f"{setting.lr:g}"] if setting.lr is not None else []
        command += ["--from-scratch"] if side == "random weights" else []
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
        events = [json.loads(line) for line in done.stdout.splitlines()]
        judged = {event["role"]: event["measured"][task.metric] for event in events if event["event"] == "judged"}
        kept.write_text(json.dumps({"dev": judged["dev"], "test": judged["test"]}))
    return Scores(**json.loads(kept.read_text()))


if __name__ == "__main__":
    main()
