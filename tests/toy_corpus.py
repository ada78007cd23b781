"""A toy language with a known missing word: words come in fixed groups of four, so one determines the others."""

from __future__ import annotations

import random
from pathlib import Path

from maskling.data.prepare.prepare import prepare
from maskling.data.prepare.settings import PrepareSettings

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SYLLABLES = ["ba", "do", "fi", "gu", "ke", "la", "mo", "ni", "pu", "re"]
WORDS = [first + second for first in SYLLABLES for second in SYLLABLES][:68]
FOURS = [WORDS[first : first + 4] for first in range(0, len(WORDS), 4)]


def document(draws: random.Random) -> str:
    """Return a few sentences, one per line, each of three groups of four."""
    return "\n".join(
        " ".join(word for four in draws.sample(FOURS, 3) for word in four) for _ in range(draws.randint(3, 7))
    )


def write(folder: Path, seed: int = 1, documents: int = 300, validation: float = 0.1) -> Path:
    """Prepare a folder of toy text. Returns it."""
    folder.mkdir(parents=True)
    draws = random.Random(seed)
    text, vocabulary = folder / "text.txt", folder / "vocab.txt"
    text.write_text("\n\n".join(document(draws) for _ in range(documents)) + "\n")
    vocabulary.write_text("\n".join([*SPECIAL, *WORDS]) + "\n")
    settings = PrepareSettings.model_validate(
        {
            "corpus": {"plain": "sentence-per-line", "dedup": "none", "filters": {"min_characters": 1}},
            "tokenizer": {"path": str(vocabulary)},
            "shards": {"validation_fraction": validation},
            "system": {"workers": 1},
        }
    )
    for _ in prepare([str(text)], folder / "data", settings):
        pass
    return folder / "data"
