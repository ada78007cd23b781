"""What a card says of a model that was given more words or positions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from maskling import __version__
from maskling.export.card import around_held_out, environment, render_held_out


@dataclass(frozen=True)
class Extension:
    """What was added to the model of `source`.

    words: how they stand in a text; text: the files they were found in, whose tokens were counted before and after.
    """

    source: str
    vocab_size: int
    words: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    tokens_before: int = 0
    tokens_after: int = 0
    positions: int | None = None
    positions_before: int = 0
    has_table: bool = True
    rope_theta: float | None = None


def extended_card(card: str, extension: Extension) -> str:
    """A card with a section on what was added, and without held-out numbers, which were the old model's."""
    if parts := around_held_out(card):
        card = f"{parts[0]}{render_held_out(None)}{parts[2]}"
    section = environment().get_template("extended.md.jinja").render(asdict(extension) | {"version": __version__})
    return f"{card.rstrip()}\n\n{section.strip()}\n"


def card_of(folder: Path) -> str | None:
    """The card of a model folder, if it has one."""
    card = folder / "README.md"
    return card.read_text(encoding="utf-8", errors="replace") if card.is_file() else None
