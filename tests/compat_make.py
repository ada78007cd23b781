"""Write one of each artifact with the `maskling` that is importable, for tests/compat/test_older_artifacts.py to open.

    PYTHONPATH=OLD_CHECKOUT/src python tests/compat_make.py FOLDER

Everything is made by the command line, whose options do not change. The text is synthetic and the models are tiny.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

SIZES = (
    "--model.hidden-size", "16", "--model.num-layers", "2", "--model.num-heads", "2", "--model.intermediate-size", "32",
    "--model.max-positions", "64", "--data.seq-length", "32", "--train.batch-size", "4", "--system.threads", "1",
)  # fmt: skip
SPLIT = ("--shards.validation-fraction", "0.1")
ANIMALS = ("fox", "dog", "cat", "hen", "owl", "ant")


def maskling(folder: Path, *words: str) -> str:
    """Run one command in `folder` and return its standard output."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "maskling", *words],
        cwd=folder, check=True, stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    return done.stdout


def stop_after(run: Path, step: int) -> None:
    """Turn a finished run into one that was stopped after `step`: later checkpoints and the model folder go."""
    for checkpoint in (run / "checkpoints").iterdir():
        if int(checkpoint.name.removeprefix("step-")) > step:
            shutil.rmtree(checkpoint)
    shutil.rmtree(run / "model")


def make(folder: Path) -> None:
    """Write data/, run/ and tuned/ (stopped), finished/, tuned-finished/, onnx/, index/ and answers.json."""
    folder.mkdir(parents=True)
    lines = [
        {"text": f"The {ANIMALS[n % 6]} number {n} sees the {ANIMALS[n // 6 % 6]}. It sleeps near tree {n % 7}."}
        for n in range(120)
    ]
    (folder / "text.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    labelled = [{"text": line["text"], "label": ANIMALS[n % 2]} for n, line in enumerate(lines[:40])]
    (folder / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in labelled))
    (folder / "notes.txt").write_text("".join(line["text"] + "\n" for line in lines[:30]))

    maskling(folder, "prepare", "text.jsonl", "--out", "data", "--tokenizer.vocab-size", "120", *SPLIT)
    train = ("--preset", "bert-tiny", "--data", "data", *SIZES, "--train.steps", "8", "--train.save-every", "4")
    maskling(folder, "train", *train, "--out", "finished", "--train.evaluate-every", "4")
    shutil.copytree(folder / "finished", folder / "run")
    stop_after(folder / "run", 4)
    tune = ("--task", "classify", "--train", "train.jsonl", "--train.steps", "4", "--train.save-every", "2")
    tune = (*tune, "--train.keep", "2", "--train.batch-size", "8", "--system.threads", "1")
    maskling(folder, "finetune", "finished", *tune, "--out", "tuned-finished")
    shutil.copytree(folder / "tuned-finished", folder / "tuned")
    stop_after(folder / "tuned", 2)
    maskling(folder, "export", "finished", "--format", "onnx", "--out", "onnx")
    query = ("--query", "The owl sees the hen.", "--json")
    answers = {
        "fill": maskling(folder, "fill", "finished", "The [MASK] sees the dog.", "--json"),
        "onnx": maskling(folder, "fill", "onnx", "The [MASK] sees the dog.", "--json"),
        "search": maskling(folder, "search", "finished", "notes.txt", "--index", "index", *query),
        "predict": maskling(folder, "predict", "tuned-finished", "--text", lines[0]["text"], "--json"),
    }
    (folder / "answers.json").write_text(json.dumps({name: json.loads(text) for name, text in answers.items()}))
    for whole in ("finished", "tuned-finished"):  # what the stopped ones have, or what nothing below reads
        shutil.rmtree(folder / whole / "checkpoints")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
