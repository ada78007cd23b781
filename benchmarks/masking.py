"""Masking and batching in one process: real tokens per second of each strategy, vs. transformers' collators.

    python benchmarks/masking.py [--text FOLDER ...] [--seq 128 512] [--rows 32 256] [--quick]

maskling goes from shards to finished batches: it gathers, masks, corrupts, packs and pads spans. The peer's collators
get rows that were cut beforehand and only mask and stack them.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import alternating, lines, parser_of, prepared, report

MASKINGS = ("token", "word", "span")


def main() -> None:
    parser = parser_of(__doc__, "--text", "--quick", "--json")
    parser.add_argument("--seq", nargs="+", type=int, default=[128, 512])
    parser.add_argument("--rows", nargs="+", type=int, default=[32, 256])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    if options.quick:
        options.seq, options.rows, options.rounds, options.steps = [128], [32], 1, 3
    data = prepared(options.text)
    text = lines(options.text, 2_000_000 if not options.quick else 100_000)
    rows: list[dict[str, Any]] = []
    for seq, batch in itertools.product(options.seq, options.rows):
        counted: dict[str, int] = {}
        runs = {name: ours(data, name, seq, batch, options.steps, counted) for name in MASKINGS}
        runs |= theirs(data, text, seq, batch, options.steps, counted)
        seconds = alternating(runs, options.rounds, time.process_time)
        for name, took in seconds.items():
            rows.append({"seq": seq, "rows": batch, "masking": name, "M tokens/s": counted[name] / took / 1e6})
    report("masking", rows, options.json)


def ours(data: Path, kind: str, seq: int, batch: int, steps: int, counted: dict[str, int]) -> Callable[[], None]:
    from maskling.config import Layer
    from maskling.train.prepared_data import PreparedData
    from maskling.train.recipe import read_recipe

    tree = {"data": {"path": str(data), "seq_length": seq}, "masking": {"kind": kind}}
    recipe = read_recipe([Layer("benchmark", tree)]).settings
    examples = PreparedData.open(data).examples(recipe)
    upcoming = itertools.count()

    def run() -> None:
        made = [examples.step(next(upcoming), batch, 0.15) for _ in range(steps)]
        for one in made:
            one.batches(batch)
        counted[kind] = sum(one.num_tokens for one in made)

    return run


def theirs(
    data: Path, text: list[str], seq: int, batch: int, steps: int, counted: dict[str, int]
) -> dict[str, Callable[[], None]]:
    try:
        from transformers import DataCollatorForLanguageModeling, PreTrainedTokenizerFast
    except ImportError:
        return {}
    tokenizer = PreTrainedTokenizerFast.from_pretrained(str(data / "tokenizer"))
    # Its collator finds whole words by offsets, so rows are cut from long texts, not concatenated.
    long = [" ".join(text[first : first + seq // 8]) for first in range(0, len(text), seq // 8)]
    runs = {}
    for kind, whole in (("transformers token", False), ("transformers whole word", True)):
        found = tokenizer(long, truncation=True, max_length=seq, return_offsets_mapping=whole)
        features = [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]
        collate = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15, whole_word_mask=whole)

        def run(kind: str = kind, collate: Any = collate, features: list[dict[str, Any]] = features) -> None:
            firsts = [place * batch % max(1, len(features) - batch) for place in range(max(1, steps // 4))]
            few = [[dict(one) for one in features[first : first + batch]] for first in firsts]
            counted[kind] = sum(int(collate(group)["attention_mask"].sum()) for group in few)

        runs[kind] = run
    return runs


if __name__ == "__main__":
    main()
