"""Forward and backward of one micro-batch, vs. transformers' BertForMaskedLM in the same run.

    python benchmarks/model_speed.py [--seq 128 512] [--size mini small] [--rounds 5] [--tokens 4096] [--quick]

bf16 autocast where the processor supports it, no dropout, 15 % masked, full rows of random tokens; the peer computes
its head at every token, as by default. The sides take turns, so that other load on the machine affects all alike;
medians are printed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import BertForMaskedLM

from common import VOCAB, alternating, parser_of, report
from maskling.model.attention import AttentionPattern
from maskling.model.build import build_masked_lm
from maskling.model.config import ModelConfig, flops_per_token
from maskling.model.device import Compute, keep_freed_memory, pick_device
from maskling.model.masked_lm import MaskedLM
from maskling.objectives.cross_entropy import head_loss
from maskling.objectives.losses import PREDICTIONS_MULTIPLE
from models import SIZES, maskling_config, transformers_config

SIDES = ("transformers", "bert", "modern")
REPEATS = 3


def main() -> None:
    parser = parser_of(__doc__, "--processor-time", "--quick", "--json")
    parser.add_argument("--seq", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--size", nargs="+", default=["mini", "small"], choices=SIZES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--examples", type=int, default=1, help="examples packed into each row")
    parser.add_argument("--only", nargs="+", default=list(SIDES), choices=SIDES)
    parser.add_argument("--dtype", default="auto", choices=["auto", "fp32", "bf16"])
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.size, options.seq, options.rounds, options.tokens = ["tiny"], [128], 1, 1024
    keep_freed_memory()
    rows: list[dict[str, Any]] = []
    for size in options.size:
        for seq in options.seq:
            rows += compare(size, seq, options)
    report("model_speed", rows, options.json)


def compare(size: str, seq: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    rows = options.tokens // seq
    torch.manual_seed(0)
    ids = torch.randint(5, VOCAB, (rows, seq))
    chosen = (
        torch.randperm(rows * seq)[: round(rows * seq * 0.15 / PREDICTIONS_MULTIPLE) * PREDICTIONS_MULTIPLE]
        .sort()
        .values
    )
    labels = torch.randint(5, VOCAB, chosen.shape)
    examples = (torch.arange(seq) * options.examples // seq).expand(rows, seq)
    configs = {kind: maskling_config(size, VOCAB, kind) for kind in ("bert", "modern")}
    compute = pick_device("cpu", options.dtype)
    runs: dict[str, Callable[[], None]] = {}
    if "transformers" in options.only:
        runs["transformers"] = peer(ids, chosen, labels, configs["bert"], compute)
    for kind, config in configs.items():
        if kind in options.only:
            runs[kind] = own(build_masked_lm(config, 0), ids, chosen, labels, examples, compute, options.compile)
    turns = {side: repeated(run) for side, run in runs.items()}
    took = alternating(turns, options.rounds, getattr(time, options.clock))
    first = next(iter(took.values()))
    found = []
    for side, seconds in took.items():
        speed = REPEATS * rows * seq / seconds
        found.append(
            {
                "size": size,
                "seq": seq,
                "side": side,
                "tokens/s": speed,
                "x the first": first / seconds,
                "ms": 1000 * seconds / REPEATS,
                "TFLOP/s": speed * flops_per_token(configs.get(side, configs["bert"]), seq) / 1e12,
            }
        )
    return found


def repeated(run: Callable[[], None]) -> Callable[[], None]:
    """Return a function that runs several passes."""

    def turn() -> None:
        for _ in range(REPEATS):
            run()

    return turn


def peer(
    ids: torch.Tensor, chosen: torch.Tensor, labels: torch.Tensor, config: ModelConfig, compute: Compute
) -> Callable[[], None]:
    """Return a pass of transformers' model with default settings, except for dropout."""
    model = BertForMaskedLM(transformers_config(config)).train()
    everywhere = torch.full((ids.numel(),), -100)
    everywhere[chosen] = labels
    everywhere = everywhere.view(ids.shape)

    def run() -> None:
        with compute.autocast():
            loss = model(input_ids=ids, labels=everywhere).loss
        loss.backward()
        model.zero_grad(set_to_none=True)

    return run


def own(
    model: MaskedLM,
    ids: torch.Tensor,
    chosen: torch.Tensor,
    labels: torch.Tensor,
    examples: torch.Tensor,
    compute: Compute,
    compiled: bool,
) -> Callable[[], None]:
    model.train()
    positions = torch.arange(ids.shape[1]).expand(ids.shape)
    types = torch.zeros_like(ids)
    forward = torch.compile(model) if compiled else model

    def run() -> None:
        visible = AttentionPattern.from_example_ids(examples)
        with compute.autocast():
            hidden = forward(ids, positions, types, visible)
            features = model.transformed(hidden.flatten(0, 1)[chosen])
            loss = head_loss(features, *model.decoder(), labels)
        (loss / len(labels)).backward()
        model.zero_grad(set_to_none=True)

    return run


if __name__ == "__main__":
    main()
