"""The model card: what a model is, what it was trained on, how well it does, in README.md beside its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from maskling.errors import ModelError
from maskling.export.naming import public_name
from maskling.files import written_aside
from maskling.metrics import nats

# The section between these lines is rewritten by `update_card`; the rest of the card is the owner's to edit.
BEGIN = "<!-- held-out numbers: rewritten by maskling -->"
END = "<!-- end of held-out numbers -->"


@dataclass(frozen=True)
class HeldOut:
    """What a model reached on text it was not trained on. Losses in nats a prediction.

    Loss per word and per byte are estimates for the whole text: the loss of a prediction times the tokens of
    a word or byte. Only they compare models with different vocabularies. loss_before: masked-token loss on the same
    text before the first step, where training began with weights that were given.
    """

    mlm_loss: float
    top1: float
    top5: float
    predictions: int
    unigram_entropy: float | None = None
    pair_accuracy: float | None = None
    pairs: int = 0
    loss_per_word: float | None = None
    loss_per_byte: float | None = None
    text: str = "the validation split of the same corpus"
    step: int | None = None
    loss_before: float | None = None

    @property
    def perplexity(self) -> float:
        """exp(mlm_loss), infinite where that is too large for a float."""
        return nats.perplexity(self.mlm_loss)


@dataclass(frozen=True)
class CardFacts:
    """What the card says beside what the model itself says; whatever is None or empty is left out.

    recipe: flat settings, 'masking.rate' -> 0.15; paths on this machine are left out of the card. tokens, documents:
    of the training split. started_from: the model folder that training began with; converted_from: the one that was
    only brought into another layout. seq_length: the longest sequence the model saw, which is also where
    `SentenceTransformer` and `maskling.load` cut texts.
    """

    name: str | None = None
    preset: str | None = None
    steps: int | None = None
    batch_size: int | None = None
    seq_length: int | None = None
    documents: int | None = None
    tokens: int | None = None
    sources: tuple[str, ...] = ()
    data_fingerprint: str | None = None
    started_from: str | None = None
    converted_from: str | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    held_out: HeldOut | None = None


@dataclass(frozen=True)
class ModelFacts:
    """What the card says of the model itself, read from the model and its tokenizer as they are exported."""

    architecture: str
    num_parameters: int
    num_layers: int
    hidden_size: int
    vocab_size: int
    mask_token: str
    has_pair_head: bool
    version: str


def render_card(facts: CardFacts, model: ModelFacts) -> str:
    """The text of README.md."""
    template = environment().get_template("card.md.jinja")
    return template.render(facts=facts, model=model, held_out=render_held_out(facts.held_out))


def render_held_out(held_out: HeldOut | None) -> str:
    """The section of held-out numbers, between its two marks."""
    body = environment().get_template("held_out.md.jinja").render(held_out=held_out).strip()
    return f"{BEGIN}\n{body}\n{END}"


def update_card(folder: Path, held_out: HeldOut) -> None:
    """Put new held-out numbers into the card of a model folder; the rest of the card stays as it is.

    Raises ModelError if the folder has no card.
    """
    path = folder / "README.md"
    try:
        card = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ModelError(
            f"{folder} has no README.md to update; 'maskling export' writes a folder that has one"
        ) from None
    section = render_held_out(held_out)
    if parts := around_held_out(card):
        updated = f"{parts[0]}{section}{parts[2]}"
    else:
        # Someone may have edited the marks away: then the numbers go to the end rather than over their words.
        updated = f"{card.rstrip()}\n\n{section}\n"
    with written_aside(path) as file:
        file.write(updated.encode())


def around_held_out(card: str) -> tuple[str, str, str] | None:
    """What stands before the section of held-out numbers, that section with its marks, and what stands after it.

    None for a card without both marks.
    """
    before, begin, rest = card.partition(BEGIN)
    numbers, end, after = rest.partition(END)
    return (before, f"{begin}{numbers}{end}", after) if begin and end else None


def environment() -> Environment:
    """Where the templates of cards are found, and how they write numbers, names and paths."""
    made = Environment(
        loader=PackageLoader("maskling.export", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    made.filters["count"] = lambda number: f"{number:,}"
    made.filters["place"] = public_name
    made.filters["line"] = _line
    made.filters["code"] = _code
    return made


def _line(value: object) -> str:
    """A name as it cannot break out of its line: file names may hold newlines, and backticks that end a code block."""
    return " ".join(str(value).split()).replace("`", "'")


def _code(value: object) -> str:
    """A name as code, also in a table, where a bar would end its cell."""
    return f"`{_line(value)}`".replace("|", "\\|")
