"""A language whose missing word is known: words come in fours, and any of a four gives the others away."""

from __future__ import annotations

import random
from pathlib import Path

from maskling.data.prepare.prepare import prepare
from maskling.data.prepare.settings import PrepareSettings

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SYLLABLES = ["ba", "do", "fi", "gu", "ke", "la", "mo", "ni", "pu", "re"]
WORDS = [first + second for first in SYLLABLES for second in SYLLABLES][:68]
FOURS = [WORDS[place : place + 4] for place in range(0, len(WORDS), 4)]


def document(draws: random.Random) -> str:
    """A few sentences, one a line, each of three fours."""
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
