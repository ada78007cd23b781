"""Views of a prepared folder: its counts and samples, and one masked example."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from maskling.cli.format import byte_size, shortened, table
from maskling.cli.views import View
from maskling.console import counted
from maskling.data import mask_rates
from maskling.data.examples import Example
from maskling.data.manifest import SPLITS
from maskling.data.shards import Shards, Split, open_shards
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.train.prepared_data import PreparedData
from maskling.train.recipe import Recipe


def view_data(folder: Path, samples: int, verify: bool) -> View:
    """Show the counts, the rejected documents by reason, and the first documents of the training split."""
    shards = open_shards(folder, verify=verify)
    manifest, text = shards.manifest, shards.manifest.text
    tokenizer = Tokenizer.load(shards.tokenizer_folder, *manifest.word_rules)
    fits = tokenizer.fingerprint == manifest.tokenizer
    splits = {}
    for name in SPLITS:
        split = shards.split(name)
        count = {"documents": split.num_documents, "sentences": split.num_sentences, "tokens": split.num_tokens}
        splits[name] = {**count, "shards": len(manifest.shards(name))}
    rates = mask_rates.measure(shards, tokenizer) if fits else None
    heads = list(next(iter(splits.values())))
    left_out = "".join(f", {reason.replace('_', ' ')} {count:,}" for reason, count in text.rejected.items())
    entropy = manifest.unigram_entropy
    rows = [
        ["read", f"{counted(text.read, 'document')}, kept {text.kept:,} ({byte_size(text.kept_bytes)}){left_out}"],
        ["vocabulary", f"{counted(manifest.vocab_size, 'token')}, fingerprint {manifest.tokenizer}"],
        ["unigram", f"{entropy:.3f} nats, perplexity {math.exp(entropy):,.0f}: predicting by token frequency alone"],
        *([["frequent", _most_frequent(shards, tokenizer)]] if fits else []),
        *([["mask rate", rates.line]] if rates is not None else []),
        *(["words", f"{script}: {note.segmenter or 'no dictionary'}"] for script, note in manifest.scripts.items()),
        *(["problem", line] for line in (rates.warnings if rates is not None else [])),
        *(["problem", f"{bad.name}: {bad.problem}"] for bad in text.bad_files),
    ]
    if not fits:
        rows.append(["problem", f"{shards.tokenizer_folder} holds another tokenizer, {tokenizer.fingerprint}"])
    lines = [
        f"prepared folder {folder}{' (every byte checked)' if verify else ''}",
        *table(
            [["", *heads], *([name, *(f"{n:,}" for n in row.values())] for name, row in splits.items())], heads=True
        ),
        "",
        *table(rows),
    ]
    documents = _documents(shards.split("train"), tokenizer, samples) if fits else []
    for document in documents:
        lines += ["", f"  {shortened(document, 400)}"]
    facts = {
        "splits": splits,
        "vocab_size": manifest.vocab_size,
        "tokenizer": manifest.tokenizer,
        "unigram_entropy": entropy,
        "rejected": dict(text.rejected),
        "mask_rates": {} if rates is None else {kind: rate.met for kind, rate in rates.of_kind.items()},
        "samples": documents,
    }
    return View(lines, facts)


def view_example(folder: Path, recipe: Recipe, number: int) -> View:
    """Show example `number` of a run with this recipe: the tokens chosen for prediction, and the model's input."""
    prepared = PreparedData.open(folder)
    example = prepared.examples(recipe).example(number, recipe.masking.rate)
    return _example_view(example, prepared.tokenizer, recipe, number)


def _example_view(example: Example, tokenizer: Tokenizer, recipe: Recipe, number: int) -> View:
    original = [tokenizer.token(int(token)) for token in example.ids]
    seen = [tokenizer.token(int(token)) for token in example.input_ids]
    marked = [f"«{token}»" if chosen else token for token, chosen in zip(original, example.chosen, strict=True)]
    ordinary = int(np.count_nonzero(example.words >= 0))
    label = {-1: "", 0: ", the segments belong together (label 0)", 1: ", the segments were changed (label 1)"}
    rows = [
        [f"{index}", original[index], "->", seen[index], _what(original[index], seen[index], tokenizer)]
        for index in np.flatnonzero(example.chosen).tolist()
    ]
    lines = [
        f"example {number} of seed {recipe.seed}: epoch {example.epoch}, plan index {example.index}, "
        f"{len(original)} tokens{label[example.label]}",
        f"{recipe.masking.kind} masking, {int(example.chosen.sum())} of {ordinary} ordinary tokens chosen "
        f"({100 * example.chosen.sum() / max(1, ordinary):.1f}%)",
        "",
        "chosen:     " + " ".join(marked),
        "",
        "model sees: " + " ".join(seen),
        "",
        *table(rows),
    ]
    facts = {
        "epoch": example.epoch,
        "index": example.index,
        "label": example.label,
        "tokens": original,
        "seen": seen,
        "chosen": np.flatnonzero(example.chosen).tolist(),
        "token_types": example.token_types.tolist(),
    }
    return View(lines, facts)


def _what(original: str, seen: str, tokenizer: Tokenizer) -> str:
    if seen == tokenizer.mask_token:
        return "masked"
    return "kept" if seen == original else "random"


def _most_frequent(shards: Shards, tokenizer: Tokenizer) -> str:
    counts = shards.counts
    total = max(1, int(counts.sum()))
    top = np.argsort(-counts, kind="stable")[:12]
    return "  ".join(f"{tokenizer.token(int(token))} {100 * counts[token] / total:.1f}%" for token in top)


def _documents(split: Split, tokenizer: Tokenizer, samples: int) -> list[str]:
    texts: list[str] = []
    for block in split.blocks():
        for first, last in zip(block.documents[:-1], block.documents[1:], strict=True):
            if len(texts) >= samples:
                return texts
            texts.append(tokenizer.decode(block.tokens[block.sentences[first] : block.sentences[last]]))
    return texts
