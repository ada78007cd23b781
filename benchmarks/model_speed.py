"""Forward and backward of one micro-batch, beside transformers' BertForMaskedLM in the same run.

    python benchmarks/model_speed.py [--seq 128 512] [--size mini small] [--rounds 5] [--tokens 4096]

bf16 autocast, no dropout, 15 % masked, full rows of random tokens; the peer computes its head everywhere, as it does
for its users. Turns are interleaved, so that what else the machine does hits all alike; medians are printed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from transformers import BertConfig as PeerConfig
from transformers import BertForMaskedLM

from maskling.model.allocator import keep_memory
from maskling.model.attention import Visible
from maskling.model.building import build
from maskling.model.config import BertConfig, ModernConfig
from maskling.model.cost import flops_per_token
from maskling.model.masked_lm import MaskedLM
from maskling.model.token_loss import head_loss
from maskling.objectives.tensors import EVENLY

SIZES = {"tiny": (2, 128, 2), "mini": (4, 256, 4), "small": (4, 512, 8), "base": (12, 768, 12)}
VOCAB = 16_000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seq", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--size", nargs="+", default=["mini", "small"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--examples", type=int, default=1, help="examples packed into a row")
    parser.add_argument("--only", nargs="+", default=["transformers", "bert", "modern"])
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--processor-time", action="store_true", help="for busy machines; use one thread with it")
    options = parser.parse_args()
    keep_memory()
    for size in options.size:
        for seq in options.seq:
            compare(size, seq, options)


def compare(size: str, seq: int, options: argparse.Namespace) -> None:
    clock = time.process_time if options.processor_time else time.perf_counter
    num_layers, width, heads = SIZES[size]
    rows = options.tokens // seq
    torch.manual_seed(0)
    ids = torch.randint(5, VOCAB, (rows, seq))
    chosen = torch.randperm(rows * seq)[: round(rows * seq * 0.15 / EVENLY) * EVENLY].sort().values
    labels = torch.randint(5, VOCAB, chosen.shape)
    examples = (torch.arange(seq) * options.examples // seq).expand(rows, seq)
    shape = {"hidden_size": width, "num_layers": num_layers, "num_heads": heads, "vocab_size": VOCAB}
    bert = BertConfig(**shape, intermediate_size=4 * width)
    # 8/3 x: as many weights as BERT's 4 x without a gate.
    modern = ModernConfig(**shape, intermediate_size=width * 3 // 2)
    runs: dict[str, Callable[[], None]] = {}
    if "transformers" in options.only:
        runs["transformers"] = peer(ids, chosen, labels, bert)
    for name, config in (("bert", bert), ("modern", modern)):
        if name in options.only:
            runs[name] = own(build(config, 0), ids, chosen, labels, examples, options.compile)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(options.rounds + 1):
        for name, run in runs.items():
            start = clock()
            repeats = 3 if turn else 1
            for _ in range(repeats):
                run()
            if turn:
                seconds[name].append((clock() - start) / repeats)
    base = statistics.median(seconds[next(iter(runs))])
    for name in runs:
        middle = statistics.median(seconds[name])
        config = modern if name == "modern" else bert
        flops = flops_per_token(config, seq) * rows * seq / middle / 1e12
        print(
            f"{size:6} seq {seq:4}  {name:13} {rows * seq / middle:9,.0f} tok/s  {base / middle:5.2f}x  "
            f"{1000 * middle:7.1f} ms  {flops:5.2f} TFLOP/s"
        )


def peer(ids: torch.Tensor, chosen: torch.Tensor, labels: torch.Tensor, config: BertConfig) -> Callable[[], None]:
    """transformers, told nothing that its users would not tell it, but without dropout."""
    model = BertForMaskedLM(
        PeerConfig(
            vocab_size=VOCAB,
            hidden_size=config.hidden_size,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads,
            intermediate_size=config.intermediate_size,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    ).train()
    everywhere = torch.full((ids.numel(),), -100)
    everywhere[chosen] = labels
    everywhere = everywhere.view(ids.shape)

    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16):
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
    compiled: bool,
) -> Callable[[], None]:
    model.train()
    positions = torch.arange(ids.shape[1]).expand(ids.shape)
    types = torch.zeros_like(ids)
    forward = torch.compile(model) if compiled else model

    def run() -> None:
        visible = Visible.from_example_ids(examples)
        with torch.autocast("cpu", torch.bfloat16):
            hidden = forward(ids, positions, types, visible)
            features = model.transformed(hidden.flatten(0, 1)[chosen])
            loss = head_loss(features, *model.decoder(), labels)
        (loss / len(labels)).backward()
        model.zero_grad(set_to_none=True)

    return run


if __name__ == "__main__":
    main()
