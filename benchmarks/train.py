"""Pretraining: maskling vs. transformers' Trainer on the same text, vocabulary and tokens per step.

    python benchmarks/train.py [--text FOLDER ...] [--size mini small base] [--seq 128 512] [--rounds 3] [--quick]

Each turn is a separate process, because the allocator is chosen once per process. Sides:

    maskling               bert of that size, bf16 where the processor has it, as `maskling train` runs it
    maskling fp32          the same in fp32
    grouped, lines         the recipe of transformers' run_mlm.py, text concatenated or one line per row; bf16; defaults
    grouped fp32, lines fp32
    grouped tuned          like for like: no dropout, and an allocator that keeps freed memory, as maskling does

'tokens/s' counts real tokens, not padding; MFU is relative to the largest matrix product timed in the same process. The
peer needs `pip install accelerate`. Model shapes are Turc's (2019) and, for large, Devlin's (2019); 15 % masked, single
segments on both sides.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from common import in_its_own_process, lines, parser_of, peak_bytes, prepared, report
from models import SIZES, maskling_config, recipe_model, transformers_config

SIDES = ("maskling", "grouped", "lines", "grouped tuned", "maskling fp32", "grouped fp32", "lines fp32")
WARM_UP = 3


def main() -> None:
    parser = parser_of(__doc__, "--text", "--threads", "--processor-time", "--quick", "--json", "--turn")
    parser.add_argument("--size", nargs="+", default=["mini", "small", "base"], choices=SIZES)
    parser.add_argument("--seq", nargs="+", type=int, default=[128, 512])
    parser.add_argument("--side", nargs="+", default=list(SIDES), choices=SIDES)
    parser.add_argument("--tokens", type=int, default=4096, help="tokens per step")
    parser.add_argument("--steps", type=int, default=20, help="timed steps per turn")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.turn:
        print(json.dumps(turn(json.loads(options.turn))))
        return
    if options.quick:
        options.size, options.seq, options.rounds, options.steps, options.tokens = ["tiny"], [128], 1, 3, 1024
    data = prepared(options.text)
    rows: list[dict[str, Any]] = []
    for size in options.size:
        for seq in options.seq:
            rows += compare(size, seq, data, options)
    report("train", rows, options.json)


def compare(size: str, seq: int, data: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    task = {
        "size": size,
        "seq": seq,
        "data": str(data),
        "text": options.text,
        "tokens": options.tokens,
        "steps": options.steps,
        "threads": options.threads,
        "clock": options.clock,
    }
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in options.side}
    for _ in range(options.rounds):
        for side in options.side:
            found[side].append(in_its_own_process(__file__, {**task, "side": side}))
    own = [one["speed"] for one in found.get("maskling", []) if "speed" in one]
    rows = []
    for side, several in found.items():
        good = [one for one in several if "speed" in one]
        row: dict[str, Any] = {"size": size, "seq": seq, "side": side}
        speed = statistics.median(one["speed"] for one in good) if good else None
        rows.append(
            row
            | {
                "tokens/s": speed,
                "maskling is x": statistics.median(own) / speed if own and speed else None,
                "fill": good[-1]["fill"] if good else None,
                "MFU": statistics.median(one["mfu"] for one in good) if good else None,
                "peak MB": max(one["peak_bytes"] for one in good) / 2**20 if good else None,
                "note": "" if good else several[-1].get("error", ""),
            }
        )
    return rows


def turn(task: dict[str, Any]) -> dict[str, Any]:
    """Run one side once; return its real tokens per second, fill, MFU and peak memory."""
    if task["side"].removesuffix(" fp32") in ("grouped", "lines"):
        # Environment variables set by `import maskling`, which users of the peer would not have.
        for name in ("GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
            os.environ.pop(name, None)
    import torch

    if task["threads"]:
        torch.set_num_threads(task["threads"])
    side = task["side"].removesuffix(" fp32")
    task["dtype"] = "fp32" if task["side"] != side else "auto"
    steps = (ours if side == "maskling" else theirs)({**task, "side": side})
    began, ended = steps[WARM_UP - 1][0], steps[-1][0]
    real = sum(one[1] for one in steps[WARM_UP:])
    places = sum(one[2] for one in steps[WARM_UP:])
    speed = real / (ended - began)
    return {"speed": speed, "fill": real / places, "mfu": speed * work(task) / peak(), "peak_bytes": peak_bytes()}


def work(task: dict[str, Any]) -> float:
    from maskling.model.config import flops_per_token

    return flops_per_token(shape(task), task["seq"])


def peak() -> float:
    from maskling.model.device import pick_device
    from maskling.train.timing import peak_flops

    return peak_flops(pick_device())


def shape(task: dict[str, Any]) -> Any:
    from maskling.tokenizer.tokenizer import Tokenizer

    return maskling_config(task["size"], Tokenizer.load(Path(task["data"]) / "tokenizer").vocab_size)


def ours(task: dict[str, Any]) -> list[tuple[float, int, int]]:
    """Run `maskling train` for so many steps. Return (end time, real tokens, tokens with padding) per step."""
    from maskling.config import Layer
    from maskling.train.events import Step
    from maskling.train.pretrain import pretrain
    from maskling.train.recipe import read_recipe

    clock = getattr(time, task["clock"])
    places = task["tokens"]
    tree = {
        "preset": "bert-mini",
        "model": recipe_model(maskling_config(task["size"])),
        "pairing": {"kind": "single"},
        "packing": {"kind": "best-fit"},
        "data": {"path": task["data"], "seq_length": task["seq"]},
        "train": {"steps": 100_000, "batch_size": places // task["seq"], "evaluate_every": 100_000},
        "evaluate": {"examples": 10},
        "system": {"dtype": task["dtype"], "threads": task["threads"], "micro_batch_tokens": task.get("micro", 8192)},
    }
    recipe = read_recipe([Layer("benchmark", tree)]).settings
    run = Path(tempfile.mkdtemp())
    steps = []
    try:
        for event in pretrain(recipe, run):
            if isinstance(event, Step):
                steps.append((clock(), round(event.fill * places), places))
                if len(steps) == WARM_UP + task["steps"]:
                    break
    finally:
        shutil.rmtree(run, ignore_errors=True)
    return steps


def theirs(task: dict[str, Any]) -> list[tuple[float, int, int]]:
    """Run transformers' Trainer by the recipe of run_mlm.py. Return the same as `ours`."""
    import torch
    from transformers import (
        BertForMaskedLM,
        DataCollatorForLanguageModeling,
        PreTrainedTokenizerFast,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    from maskling.model.device import keep_freed_memory, pick_device

    clock = getattr(time, task["clock"])
    tuned = task["side"] == "grouped tuned"
    if tuned:
        keep_freed_memory()
    seq, rows = task["seq"], task["tokens"] // task["seq"]
    tokenizer = PreTrainedTokenizerFast.from_pretrained(str(Path(task["data"]) / "tokenizer"))
    wanted = task["tokens"] * (WARM_UP + task["steps"] + 1) * 6
    dataset = examples(tokenizer, lines(task["text"], wanted), seq, grouped=task["side"] != "lines")
    # By default its BertConfig has a dropout of 0.1.
    dropout = {} if tuned else {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    config = transformers_config(shape(task), **dropout)
    masks = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
    sizes: list[tuple[int, int]] = []
    steps: list[tuple[float, int, int]] = []

    def collate(features: list[Any]) -> Any:
        batch = masks(features)
        sizes.append((sum(len(one["input_ids"]) for one in features), batch["input_ids"].numel()))
        return batch

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            steps.append((clock(), *sizes[len(steps)]))

    folder = tempfile.mkdtemp()
    bf16 = task["dtype"] == "auto" and pick_device().dtype == torch.bfloat16
    arguments = TrainingArguments(
        output_dir=folder,
        max_steps=WARM_UP + task["steps"],
        per_device_train_batch_size=rows,
        bf16=bf16,
        use_cpu=not torch.cuda.is_available(),
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = Trainer(
        model=BertForMaskedLM(config),
        args=arguments,
        train_dataset=dataset,
        data_collator=collate,
        callbacks=[Clock()],
    )
    trainer.train()
    shutil.rmtree(folder, ignore_errors=True)
    return steps


def examples(tokenizer: Any, text: list[str], seq: int, grouped: bool) -> list[dict[str, list[int]]]:
    """Return rows as run_mlm.py makes them: all text concatenated and cut, or one line each, cut at `seq`."""
    if not grouped:
        return [{"input_ids": ids} for ids in tokenizer(text, truncation=True, max_length=seq)["input_ids"]]
    ids = [token for line in tokenizer(text)["input_ids"] for token in line]
    return [{"input_ids": ids[first : first + seq]} for first in range(0, len(ids) - seq, seq)]


if __name__ == "__main__":
    main()
