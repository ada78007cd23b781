"""Inference: fill, embed and evaluate, vs. transformers' pipeline and sentence-transformers.

    python benchmarks/inference.py [--size mini base] [--text FOLDER ...] [--rounds 7] [--threads 1] [--quick]

Random weights, exported by maskling and loaded by both sides. fill: one sentence of about 16 tokens, milliseconds.
embed: lines of text of mixed lengths, real tokens per second, the peer at its best batch size and dtype, both searched
first. evaluate: tokens per second over fixed masks, without a peer. cold: a new process that loads the model and fills
once, vs. one that only imports torch. The last column is relative to the best peer. bf16 is included where the
processor supports it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import alternating, lines, parser_of, prepared, report
from models import SIZES, maskling_config

SENTENCE = "The function returns a [MASK] of all names that the module defines itself."
COLD = f"import maskling, sys; maskling.load(sys.argv[1]).fill({SENTENCE!r})"


def main() -> None:
    parser = parser_of(__doc__, "--text", "--threads", "--processor-time", "--quick", "--json")
    parser.add_argument("--size", nargs="+", default=["mini", "base"], choices=SIZES)
    parser.add_argument("--texts", type=int, default=256, help="lines to embed")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if options.quick:
        options.size, options.texts, options.rounds = ["tiny"], 16, 1
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    data = prepared(options.text)
    texts = lines(options.text, 400 * options.texts)[: options.texts]
    clock = getattr(time, options.clock)
    rows: list[dict[str, Any]] = []
    folder = Path(tempfile.mkdtemp())
    try:
        for size in options.size:
            model = exported(size, data, folder / size)
            for what, runs, amount, unit in (
                ("fill", fills(model), 1e-3, "ms"),
                ("embed", embeds(model, texts, clock), real_tokens(model, texts), "tokens/s"),
                ("evaluate", evaluates(model, data, options.quick), 1e-3, "ms"),
                ("cold fill", colds(model), 1.0, "s"),
            ):
                # Other processes can only be timed by the wall clock.
                took = alternating(runs, options.rounds, time.perf_counter if what == "cold fill" else clock)
                peers = [seconds for side, seconds in took.items() if not side.startswith("maskling")]
                rows += [
                    {
                        "size": size,
                        "what": what,
                        "side": side,
                        "median": amount / seconds if unit == "tokens/s" else seconds / amount,
                        "unit": unit,
                        "x the best peer": min(peers) / seconds if peers else None,
                    }
                    for side, seconds in took.items()
                ]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report("inference", rows, options.json)


def exported(size: str, data: Path, out: Path) -> Path:
    from maskling.exporting.cards import CardFacts
    from maskling.exporting.folder import export_model
    from maskling.model.build import build_masked_lm
    from maskling.tokenizer.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(data / "tokenizer")
    special = tokenizer.special
    ids = {"pad_id": special.pad, "cls_id": special.cls, "sep_id": special.sep}
    config = maskling_config(size, tokenizer.vocab_size, **ids)
    export_model(build_masked_lm(config, 0), tokenizer, out, CardFacts())
    return out


def torch_dtypes() -> dict[str, Any]:
    """Return the dtypes of the peers; emulated bf16 would take minutes."""
    import torch

    from maskling.model.device import pick_device

    fp32 = {"fp32": torch.float32}
    return fp32 | {"bf16": torch.bfloat16} if pick_device().dtype == torch.bfloat16 else fp32


def dtypes() -> tuple[str, ...]:
    return ("fp32", "auto") if len(torch_dtypes()) > 1 else ("fp32",)


def real_tokens(model: Path, texts: list[str]) -> int:
    from maskling.tokenizer.tokenizer import Tokenizer

    return sum(min(512, len(one.ids) + 2) for one in Tokenizer.load(model).encode_batch(texts))


def fills(model: Path) -> dict[str, Callable[[], object]]:
    import maskling

    runs: dict[str, Callable[[], object]] = {}
    for dtype in dtypes():
        opened = maskling.load(model, dtype=dtype)
        runs[f"maskling {dtype}"] = lambda opened=opened: opened.fill(SENTENCE)
    try:
        from transformers import pipeline
    except ImportError:
        return runs
    for name, dtype in torch_dtypes().items():
        peer = pipeline("fill-mask", model=str(model), dtype=dtype, device="cpu")
        runs[f"pipeline {name}"] = lambda peer=peer: peer(SENTENCE)
    return runs


def embeds(model: Path, texts: list[str], clock: Callable[[], float]) -> dict[str, Callable[[], object]]:
    import maskling

    runs: dict[str, Callable[[], object]] = {}
    found: dict[str, Callable[[], object]] = {}
    for dtype in dtypes():
        opened = maskling.load(model, dtype=dtype)
        runs[f"maskling {dtype}"] = lambda opened=opened: opened.embed(texts)
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        return runs
    for name, dtype in torch_dtypes().items():
        peer = SentenceTransformer(str(model), device="cpu", model_kwargs={"dtype": dtype})
        for size in (4, 8, 16, 32, 64, 128):
            found[f"sentence-transformers {name}, batches of {size}"] = lambda peer=peer, size=size: peer.encode(
                texts, batch_size=size, show_progress_bar=False
            )
    # The search: each once to warm up and twice in turns; the best of each dtype is kept.
    took = alternating(found, 2, clock)
    for name in torch_dtypes():
        best = min((side for side in found if f" {name}," in side), key=took.__getitem__)
        runs[best] = found[best]
    return runs


def evaluates(model: Path, data: Path, quick: bool) -> dict[str, Callable[[], object]]:
    import maskling
    from maskling.evaluation.held_out import evaluate_held_out, split_text

    runs: dict[str, Callable[[], object]] = {}
    for dtype in dtypes():
        opened = maskling.load(model, dtype=dtype)
        text = split_text(data, opened)
        runs[f"maskling {dtype}"] = lambda opened=opened, text=text: evaluate_held_out(
            opened, text, seq_length=128, examples=20 if quick else 200
        )
    return runs


def colds(model: Path) -> dict[str, Callable[[], object]]:
    def process(code: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, "-c", code, str(model)], check=True, capture_output=True)

    return {"maskling": process(COLD), "import torch": process("import torch")}


if __name__ == "__main__":
    main()
