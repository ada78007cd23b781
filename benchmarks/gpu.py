"""A training step on a GPU: maskling vs. transformers at its best, on one card, in one run.

    python benchmarks/gpu.py [--size base large] [--seq 128 512 8192] [--rounds 3] [--tokens 65536] [--quick]

Random tokens in full rows, 15 % of them predicted, forward, backward and a fused AdamW step: it compares the model and
the kernels, not data preparation. Sides:

    bert            maskling's BERT of that size (rows up to 512 tokens, its number of positions)
    modern          maskling's ModernBERT of that size
    bert packed     the same as bert, with four examples packed into each row, without attention between them
    hf bert         transformers' BertForMaskedLM: bf16, compiled, with SDPA, and with FlashAttention where installed
    hf modern       transformers' ModernBertForMaskedLM, likewise

Everything in bf16 autocast without dropout, compiled on both sides if a compiler is installed. 'tokens/s' is a median;
MFU is relative to the largest bf16 matrix product timed in the same run; memory is the peak that torch allocated.
Without a GPU it runs on the CPU, which only shows that it works. It has not been run on a GPU yet.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from common import parser_of, report
from maskling.model.attention import AttentionPattern, kernel_name
from maskling.model.build import build_masked_lm
from maskling.model.config import ModelConfig, flops_per_token
from maskling.model.device import Compute, pick_device
from maskling.objectives.losses import TensorBatch, loss_terms, weighted_loss
from maskling.train.optimizer import AdamW
from maskling.train.timing import peak_flops
from models import SIZES, maskling_config, transformers_config

VOCAB = 30_528
SIDES = ("bert", "modern", "bert packed", "hf bert", "hf modern")
WARM_UP = 3
MASKED = 0.15

Step = Callable[[], None]


def main() -> None:
    parser = parser_of(__doc__, "--quick", "--json")
    parser.add_argument("--size", nargs="+", default=["base", "large"], choices=SIZES)
    parser.add_argument("--seq", nargs="+", type=int, default=[128, 512, 8192])
    parser.add_argument("--side", nargs="+", default=list(SIDES), choices=SIDES)
    parser.add_argument("--tokens", type=int, default=65_536, help="tokens per step")
    parser.add_argument("--steps", type=int, default=10, help="timed steps per round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-compile", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.size, options.seq, options.tokens, options.steps, options.rounds = ["tiny"], [64], 256, 1, 1
    compute = pick_device("auto", "auto")
    options.compile = compute.device.type == "cuda" and not options.no_compile
    peak = peak_flops(compute)
    print(f"{compute.description}; matrix products reach {peak / 1e12:,.1f} TFLOP/s")
    rows: list[dict[str, Any]] = []
    for size in options.size:
        for seq in options.seq:
            rows += compare(size, seq, compute, peak, options)
    report("gpu", rows, options.json)


def compare(size: str, seq: int, compute: Compute, peak: float, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Run the sides in turns; a side whose model or kernel is missing has the reason in its note."""
    count = max(1, options.tokens // seq)
    ways = [
        (side, attention)
        for side in options.side
        if seq <= 512 or "modern" in side
        for attention in (("sdpa", "flash_attention_2") if side.startswith("hf") else ("own",))
    ]
    rows = []
    for side, attention in ways:
        config = shape(side, size, seq)
        row = {"size": size, "seq": seq, "side": side, "attention": attention}
        try:
            seconds, memory, used = timed(side, attention, config, count, seq, compute, options)
        except (ImportError, ValueError, RuntimeError) as error:
            note = (str(error).strip().splitlines() or [type(error).__name__])[0][:80]
            rows.append({**row, "tokens/s": None, "MFU": None, "peak MB": None, "note": note})
            continue
        speed = count * seq / seconds
        mfu = speed * flops_per_token(config, seq, MASKED) / peak
        rows.append({**row, "attention": used, "tokens/s": speed, "MFU": mfu, "peak MB": memory, "note": ""})
    return rows


def timed(
    side: str,
    attention: str,
    config: ModelConfig,
    rows: int,
    seq: int,
    compute: Compute,
    options: argparse.Namespace,
) -> tuple[float, float | None, str]:
    """Return the median seconds per step, the peak MB that torch allocated (on a GPU), and the attention kernel."""
    torch.manual_seed(0)
    cuda = compute.device.type == "cuda"
    # Otherwise each size finds the compiler's cache of the previous sizes, and after a few it stops compiling.
    torch.compiler.reset()
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    make = theirs if side.startswith("hf") else ours
    step, used = make(side, attention, config, rows, seq, compute, options.compile)
    found = []
    for turn in range(WARM_UP + options.rounds):
        began = time.perf_counter()
        for _ in range(options.steps if turn >= WARM_UP else 1):
            step()
        if cuda:
            torch.cuda.synchronize()
        if turn >= WARM_UP:
            found.append((time.perf_counter() - began) / options.steps)
    return statistics.median(found), torch.cuda.max_memory_allocated() / 2**20 if cuda else None, used


def shape(side: str, size: str, seq: int) -> ModelConfig:
    if "modern" in side:
        return maskling_config(size, VOCAB, "modern", max_positions=max(seq, 512))
    return maskling_config(size, VOCAB)


def ours(
    side: str, _: str, config: ModelConfig, rows: int, seq: int, compute: Compute, compiles: bool
) -> tuple[Step, str]:
    device = compute.device
    module = build_masked_lm(config, 0).to(device).train()
    encode = torch.compile(module.forward) if compiles else module
    optimizer = AdamW(lr=1e-4).build(module)
    examples = torch.arange(seq).expand(rows, seq) * (4 if side.endswith("packed") else 1) // seq
    positions = torch.randperm(rows * seq)[: round(MASKED * rows * seq)].sort().values
    input_ids = torch.randint(5, VOCAB, (rows, seq))
    nothing = torch.zeros(0, dtype=torch.int64, device=device)
    batch = TensorBatch(
        input_ids=input_ids.to(device),
        position_ids=torch.arange(seq).expand(rows, seq).to(device),
        token_type_ids=torch.zeros_like(input_ids).to(device),
        attention_pattern=AttentionPattern.from_example_ids(examples.contiguous(), device),
        masked_positions=positions.to(device),
        labels=input_ids.flatten()[positions].to(device),
        first_positions=nothing,
        pair_labels=nothing,
    )

    def step() -> None:
        optimizer.zero_grad()
        with compute.autocast():
            found = loss_terms(module, batch, encode)
        weighted_loss(found, {"mlm": len(positions)}, {}).backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step(1.0)

    return step, kernel_name(device, seq, True, compute.dtype)


def theirs(
    _: str, attention: str, config: ModelConfig, rows: int, seq: int, compute: Compute, compiles: bool
) -> tuple[Step, str]:
    from transformers import AutoModelForMaskedLM

    model = AutoModelForMaskedLM.from_config(transformers_config(config), attn_implementation=attention)
    model = model.to(compute.device).train()
    run = torch.compile(model) if compiles else model
    cuda = compute.device.type == "cuda"
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    ids = torch.randint(5, VOCAB, (rows, seq), device=compute.device)
    chosen = torch.rand(rows, seq, device=compute.device) < MASKED
    labels = ids.masked_fill(~chosen, -100)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(compute.device.type, torch.bfloat16, enabled=cuda or compute.dtype == torch.bfloat16):
            loss = run(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step, attention


if __name__ == "__main__":
    main()
