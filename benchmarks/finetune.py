"""Fine-tuning: maskling vs. transformers' Trainer with the same model, records and settings; scores and speed.

    python benchmarks/finetune.py MODEL --train FILE --test FILE [--seeds 0 1 2] [--quick]

MODEL is a BERT folder; files are JSON Lines with `text` and `label`. Both get the same batch size, epochs, learning
rate, schedule, weight decay and dropout, and bf16 where the processor has it; the Trainer pads each batch to its
longest text. The sides take turns, each in a separate process; only the steps are timed, without loading, tokenizing
or evaluation.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from common import in_its_own_process, parser_of, report


def main() -> None:
    parser = parser_of(__doc__, "--quick", "--json", "--turn")
    parser.add_argument("model", nargs="?")
    parser.add_argument("--train", type=Path)
    parser.add_argument("--test", type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=5e-5)
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--records", type=int, default=None, help="training records to use (default: all)")
    options = parser.parse_args()
    if options.turn:
        task = json.loads(options.turn)
        print(json.dumps({"maskling": ours, "transformers": theirs}[task["side"]](task)))
        return
    if not (options.model and options.train and options.test):
        parser.error("give MODEL, --train FILE and --test FILE")
    if options.quick:
        options.seeds, options.epochs, options.records = [0], 1, 200
    names = ("model", "epochs", "batch", "lr", "max_length", "records")
    shared = {name: getattr(options, name) for name in names}
    shared |= {"train": str(options.train), "test": str(options.test)}
    turns: dict[str, list[dict[str, Any]]] = {"maskling": [], "transformers": []}
    for seed in options.seeds:
        for side, found in turns.items():
            answer = in_its_own_process(__file__, shared | {"side": side, "seed": seed})
            if "error" in answer:
                raise SystemExit(f"{side}: {answer['error']}")
            found.append(answer)
    rows = []
    for side, found in turns.items():
        scores = [100 * one["accuracy"] for one in found]
        seconds = statistics.median(one["seconds"] for one in found)
        rows.append(
            {
                "side": side,
                "accuracy": f"{statistics.mean(scores):.2f}",
                "over seeds": " ".join(f"{score:.2f}" for score in scores),
                "seconds": seconds,
                "records/s": found[0]["records"] / seconds,
            }
        )
    report("finetune", rows, options.json)
    print(f"maskling is {rows[1]['seconds'] / rows[0]['seconds']:.2f} times as fast")


def records(task: dict[str, Any], which: str) -> tuple[list[str], list[str]]:
    """Return texts and labels."""
    lines = Path(task[which]).read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines if line.strip()]
    found = found[: task["records"]] if which == "train" else found
    return [one["text"] for one in found], [one["label"] for one in found]


def ours(task: dict[str, Any]) -> dict[str, Any]:
    from maskling.config import Layer
    from maskling.finetuning.finetune import finetune
    from maskling.finetuning.recipe import read_finetune_recipe
    from maskling.train.events import FinalMetrics, Started, Step

    texts, labels = records(task, "train")
    with tempfile.TemporaryDirectory() as folder:
        train = Path(folder) / "train.jsonl"
        pairs = zip(texts, labels, strict=True)
        train.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in pairs))
        tree = {
            "seed": task["seed"],
            "task": {"kind": "classify"},
            "encoder": {"path": task["model"], "dropout": 0.1, "head_dropout": 0.1},
            # Keep the last weights, as the Trainer does; a dev file of a few records selects nothing here.
            "data": {"train": str(train), "dev": task["test"], "test": task["test"], "max_length": task["max_length"]},
            "optimizer": {"kind": "adamw", "lr": task["lr"], "weight_decay": 0.01, "beta2": 0.999, "eps": 1e-8},
            "schedule": {"kind": "linear", "warmup": 0.1},
            "train": {"epochs": task["epochs"], "batch_size": task["batch"], "evaluate_every": 1_000_000},
        }
        recipe = read_finetune_recipe([Layer("benchmark", tree)]).settings
        began = ended = time.perf_counter()
        accuracy = 0.0
        for event in finetune(recipe, Path(folder) / "run"):
            if isinstance(event, Started):
                began = time.perf_counter()
            elif isinstance(event, Step):
                ended = time.perf_counter()
            elif isinstance(event, FinalMetrics) and event.role == "test":
                accuracy = float(event.measured["accuracy"] or 0)
    return {"accuracy": accuracy, "seconds": ended - began, "records": len(texts) * task["epochs"]}


def theirs(task: dict[str, Any]) -> dict[str, Any]:
    import numpy as np
    import torch
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
    )

    tokenizer = AutoTokenizer.from_pretrained(task["model"])
    texts, labels = records(task, "train")
    test_texts, test_labels = records(task, "test")
    names = sorted(set(labels))

    def rows(texts: list[str], labels: list[str]) -> list[dict[str, Any]]:
        encoded = tokenizer(texts, truncation=True, max_length=task["max_length"])
        return [
            {"input_ids": ids, "attention_mask": mask, "labels": names.index(label)}
            for ids, mask, label in zip(encoded["input_ids"], encoded["attention_mask"], labels, strict=True)
        ]

    model = AutoModelForSequenceClassification.from_pretrained(
        task["model"], num_labels=len(names), hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=folder,
                num_train_epochs=task["epochs"],
                per_device_train_batch_size=task["batch"],
                per_device_eval_batch_size=64,
                learning_rate=task["lr"],
                warmup_steps=0.1,  # a share, below 1
                weight_decay=0.01,
                seed=task["seed"],
                bf16=torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported(),
                save_strategy="no",
                use_cpu=not torch.cuda.is_available(),
                report_to=[],
                disable_tqdm=True,
                logging_strategy="no",
            ),
            train_dataset=rows(texts, labels),  # type: ignore[arg-type]
            data_collator=DataCollatorWithPadding(tokenizer),
        )
        seconds = trainer.train().metrics["train_runtime"]
        logits = trainer.predict(rows(test_texts, test_labels)).predictions  # type: ignore[arg-type]
    right = np.array(names)[np.asarray(logits).argmax(1)] == np.array(test_labels)
    return {"accuracy": float(right.mean()), "seconds": seconds, "records": len(texts) * task["epochs"]}


if __name__ == "__main__":
    main()
