"""Small corpora generated from a seed, and the contents of a prepared folder as plain Python lists."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from maskling.data.prepare.events import Prepared, PrepareEvent
from maskling.data.prepare.prepare import prepare
from maskling.data.prepare.settings import PrepareSettings
from maskling.data.shards import Split

SYLLABLES = ["ka", "lo", "mi", "ner", "to", "sul", "va", "xi", "bru", "pen"]


def texts(count: int, seed: int = 0, sentences: int = 6) -> list[str]:
    """Return different documents of made-up words, in paragraphs."""
    rng = random.Random(seed)

    def word() -> str:
        return "".join(rng.choices(SYLLABLES, k=rng.randint(1, 3)))

    def sentence() -> str:
        return " ".join([word().capitalize(), *(word() for _ in range(rng.randint(3, 9)))]) + rng.choice(".!?")

    def document() -> str:
        return "".join(sentence() + rng.choice([" ", " ", "\n\n"]) for _ in range(rng.randint(2, sentences))).strip()

    return [document() for _ in range(count)]


def jsonl(path: Path, documents: Iterable[str]) -> Path:
    """Write documents as JSON Lines."""
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents), encoding="utf-8")
    return path


def settings(workers: int = 1, **sections: dict[str, Any]) -> PrepareSettings:
    """Return settings for tiny corpora: small parts, a small vocabulary, no document too short."""
    tree: dict[str, Any] = {
        "corpus": {"filters": {"min_characters": 1, "max_repeated_words": 1, "max_repeated_lines": 1}},
        "tokenizer": {"vocab_size": 120},
        "shards": {"part_bytes": 2048, "validation_fraction": 0.2},
        "system": {"workers": workers},
    }
    for section, values in sections.items():
        tree[section] |= values
    return PrepareSettings.model_validate(tree)


def prepared(sources: Path | list[Path], out: Path, chosen: PrepareSettings) -> Prepared:
    """Run `prepare` to its end."""
    last = events(sources, out, chosen)[-1]
    assert isinstance(last, Prepared)
    return last


def events(sources: Path | list[Path], out: Path, chosen: PrepareSettings) -> list[PrepareEvent]:
    """Return all events of `prepare`."""
    return list(prepare([str(source) for source in ([sources] if isinstance(sources, Path) else sources)], out, chosen))


def documents_of(split: Split) -> list[list[list[int]]]:
    """Return the documents of a split as lists of sentences of ids."""
    found = []
    for block in split.blocks():
        sentences = [block.tokens[a:b].tolist() for a, b in zip(block.sentences, block.sentences[1:], strict=False)]
        found += [sentences[a:b] for a, b in zip(block.documents, block.documents[1:], strict=False)]
    return found


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all files of a folder except hidden ones, by name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }
