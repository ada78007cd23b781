"""Data preparation: maskling vs. datasets' map-tokenize-group, or vs. tokenizers alone.

    python benchmarks/prepare.py [--text FOLDER ...] [--megabytes 20] [--workers 2] [--quick]

All sides use one vocabulary, trained beforehand and not timed. maskling reads, cleans, deduplicates, splits sentences,
tokenizes and writes shards with checksums; the peers only tokenize and group:

    run_mlm    the recipe of transformers' run_mlm.py on a text file: one row per line, every column grouped
    datasets   the minimum: documents as JSON, ids only

Without `pip install datasets` the peer is `tokenizers` alone, encoding batches in memory on the same number of threads.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

from common import alternating, lines, parser_of, prepared, report


def main() -> None:
    parser = parser_of(__doc__, "--text", "--quick", "--json")
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.quick:
        options.megabytes, options.rounds, options.workers = 0.3, 1, 1
    os.environ["RAYON_NUM_THREADS"] = str(options.workers)  # tokenizers reads it when it starts its threads
    tokenizer = prepared(options.text) / "tokenizer"
    text = lines(options.text, int(options.megabytes * 1e6))
    folder = Path(tempfile.mkdtemp())
    try:
        file = folder / "text.jsonl"
        # Forty lines per document, about as long as an encyclopedia article.
        documents = ["\n".join(text[first : first + 40]) for first in range(0, len(text), 40)]
        file.write_text("".join(json.dumps({"text": one}) + "\n" for one in documents), encoding="utf-8")
        size = file.stat().st_size
        runs = {"maskling": ours(file, folder, tokenizer, options.workers)}
        plain = folder / "text.txt"
        plain.write_text("\n".join(text), encoding="utf-8")
        runs |= datasets(file, plain, tokenizer, options.workers) or alone(documents, tokenizer)
        seconds = alternating(runs, options.rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    rows: list[dict[str, Any]] = [
        {"side": name, "seconds": took, "MB/s": size / took / 1e6, "maskling is x": took / seconds["maskling"]}
        for name, took in seconds.items()
    ]
    report("prepare", rows, options.json)


def ours(file: Path, folder: Path, tokenizer: Path, workers: int) -> Callable[[], None]:
    from maskling.config import Layer, resolve
    from maskling.data.prepare.prepare import prepare
    from maskling.data.prepare.settings import PrepareSettings

    tree = {"tokenizer": {"path": str(tokenizer)}, "system": {"workers": workers}}
    settings = resolve(PrepareSettings, [Layer("benchmark", tree)]).settings

    def run() -> None:
        out = Path(tempfile.mkdtemp(dir=folder)) / "data"
        for _ in prepare([str(file)], out, settings):
            pass
        shutil.rmtree(out)

    return run


def datasets(file: Path, plain: Path, tokenizer: Path, workers: int, seq: int = 128) -> dict[str, Callable[[], None]]:
    try:
        from datasets import disable_caching, disable_progress_bars, load_dataset
        from transformers import PreTrainedTokenizerFast
    except ImportError:
        return {}
    disable_caching()
    disable_progress_bars()
    tokens = PreTrainedTokenizerFast.from_pretrained(str(tokenizer))

    def group(batch: dict[str, list[list[int]]]) -> dict[str, list[list[int]]]:
        columns = {name: list(chain.from_iterable(rows)) for name, rows in batch.items()}
        return {
            name: [one[first : first + seq] for first in range(0, len(one) - seq, seq)] for name, one in columns.items()
        }

    def run(kind: str, path: Path, drop: list[str], **more: bool) -> None:
        with tempfile.TemporaryDirectory() as cache:
            data = load_dataset(kind, data_files=str(path), split="train", cache_dir=cache)
            mapped: dict[str, Any] = {"batched": True, "num_proc": workers}
            data = data.map(lambda batch: tokens(batch["text"], **more), remove_columns="text", **mapped)
            data.remove_columns(drop).map(group, **mapped)

    unused = ["token_type_ids", "attention_mask"]
    return {
        "run_mlm": lambda: run("text", plain, [], return_special_tokens_mask=True),
        "datasets": lambda: run("json", file, [name for name in unused if name in tokens.model_input_names]),
    }


def alone(documents: list[str], tokenizer: Path) -> dict[str, Callable[[], None]]:
    from tokenizers import Tokenizer

    tokens = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))

    def run() -> None:
        for first in range(0, len(documents), 1000):
            tokens.encode_batch_fast(documents[first : first + 1000])

    return {"tokenizers, in memory": run}


if __name__ == "__main__":
    main()
