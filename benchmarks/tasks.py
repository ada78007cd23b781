"""What an encoder is worth on labelled tasks: fine-tuned, the same from random weights, and a linear model of words.

    python benchmarks/tasks.py MODEL --tasks FOLDER [--only sst2 mrpc ...] [--seeds 0 1 2] [--markdown FILE]

FOLDER holds one folder for each task, with train, dev and test files. Settings are those of `maskling finetune` but for
the epochs below; both encoders get the same. The linear models (scikit-learn) are what one would try first: TF-IDF of
words and pairs of words for texts, overlap and differences of TF-IDF for pairs, the surroundings of each word for tags;
their strength of regularisation is chosen on dev. Scores are on the test file, of the weights that dev chose.
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

from common import FOLDER, report
from linear import linear_score


@dataclass(frozen=True)
class Task:
    """kind: as --task takes it; metric: what is reported; files as they are named in the folder."""

    kind: str
    metric: str
    epochs: int
    train: str
    dev: str | None
    test: str


TASKS = {
    "sst2": Task("classify", "accuracy", 3, "train.jsonl", "dev.jsonl", "test.jsonl"),
    "movie_reviews_long": Task("classify", "accuracy", 2, "train.jsonl.gz", "dev.jsonl.gz", "test.jsonl.gz"),
    "mrpc": Task("pair", "accuracy", 4, "train.jsonl", None, "test.jsonl"),
    "stsb": Task("regress", "spearman", 4, "train.jsonl", "dev.jsonl", "test.jsonl"),
    "wnut17": Task("tag", "f1", 6, "train.conll", "dev.conll", "test.conll"),
    "wikigold": Task("tag", "f1", 10, "train.conll", "dev.conll", "test.conll"),
    "ewt_pos": Task("tag", "accuracy", 8, "train.conll", None, "test.conll"),
    "xquad_en": Task("answer", "f1", 10, "train.json", "dev.json", "test.json"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--tasks", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=FOLDER / "tasks", help="where runs are kept; finished ones stay")
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name in options.only:
        task, folder = TASKS[name], options.tasks / name
        found: dict[str, list[float]] = {"pretrained": [], "random weights": []}
        began = time.perf_counter()
        for seed in options.seeds:
            for side, scores in found.items():
                scores.append(finetuned(options.model, name, task, folder, seed, side, options.runs))
        took = time.perf_counter() - began
        rows.append(
            {"task": name, "metric": task.metric}
            | {side: spread(scores) for side, scores in found.items()}
            | {"linear": f"{100 * linear_score(task, folder):.1f}", "minutes": f"{took / 60:.1f}"}
        )
        print(rows[-1], file=sys.stderr, flush=True)
    report("tasks", rows, options.json)


def spread(scores: list[float]) -> str:
    """The mean in per cent, and the standard deviation over seeds."""
    mean = 100 * statistics.mean(scores)
    return f"{mean:.1f}" if len(scores) < 2 else f"{mean:.1f} ± {100 * statistics.stdev(scores):.1f}"


def finetuned(model: str, name: str, task: Task, folder: Path, seed: int, side: str, runs: Path) -> float:
    """The test score of one run, which is kept and not done again."""
    out = runs / f"{name}-{side.replace(' ', '-')}-{seed}"
    kept = out / "tested.json"
    if kept.exists():
        return float(json.loads(kept.read_text())[task.metric])
    command = [sys.executable, "-m", "maskling", "finetune", model, "--task", task.kind, "--out", str(out), "--json"]
    command += ["--train", str(folder / task.train), "--test", str(folder / task.test), "--seed", str(seed)]
    command += ["--dev", str(folder / task.dev)] if task.dev else []
    command += ["--epochs", str(task.epochs)]
    command += ["--from-scratch"] if side == "random weights" else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    tested = next(event for event in events if event.get("role") == "test")
    numbers: dict[str, float] = tested.get("measured", tested)
    kept.write_text(json.dumps(numbers))
    return float(numbers[task.metric])


if __name__ == "__main__":
    main()
