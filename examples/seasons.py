"""Print a small language whose best possible predictions are known, one document per paragraph.

    python examples/seasons.py > seasons.txt

Two rules make words depend on words far away: the season decides what a place is like, and the first noun, not the
nearest one, decides the form of the verb. docs/explain/bert-in-one-sitting.md trains a model on it.
"""

from __future__ import annotations

import random

WEATHER = {
    "winter": ("cold", "white", "frozen"),
    "spring": ("wet", "muddy", "fresh"),
    "summer": ("warm", "dry", "dusty"),
    "autumn": ("golden", "misty", "windy"),
}
PLACES = ("lake", "garden", "forest", "valley", "road", "village")
ANIMALS = ("dog", "cat", "horse", "cow", "bird", "goat")
ACTIONS = ("run", "sleep", "eat", "wait")
SEEN = ("see", "hear", "follow")


def place(draw: random.Random) -> str:
    """Return a sentence whose last word depends on its second."""
    season = draw.choice(list(WEATHER))
    return f"In {season} the {draw.choice(PLACES)} is {draw.choice(WEATHER[season])}."


def animals(draw: random.Random) -> str:
    """Return a sentence whose last word agrees with its second, past another noun."""
    many, others_many = draw.random() < 0.5, draw.random() < 0.5
    first, other = (draw.choice(ANIMALS) + "s" * plural for plural in (many, others_many))
    seen = draw.choice(SEEN) + "s" * (not others_many)
    return f"The {first} that the {other} {seen} {draw.choice(ACTIONS)}{'s' * (not many)}."


def document(draw: random.Random, sentences: int = 8) -> str:
    """Return a paragraph of both kinds of sentences."""
    return " ".join(draw.choice((place, animals))(draw) for _ in range(sentences))


if __name__ == "__main__":
    stream = random.Random(2018)
    print("\n\n".join(document(stream) for _ in range(1500)))  # noqa: T201
