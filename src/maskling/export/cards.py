"""The model card: what a model is, what it was trained on, how well it does, in README.md beside its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePath
from typing import Any, Final
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined

from maskling.errors import ModelError
from maskling.files import atomic_write
from maskling.metrics import entropy
from maskling.model.tasks.config import HeadKind
from maskling.model.tasks.model import TaskModel
from maskling.version import __version__

# FOLDED DOCS
# [task_card] The model card of a model for a task.
# [extended_card] What a card says of a model that was given more words or positions.
# [naming] Names of places as a card that may be published gives them.


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
        return entropy.perplexity(self.mlm_loss)


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
    if parts := split_at_held_out(card):
        updated = f"{parts[0]}{section}{parts[2]}"
    else:
        # Someone may have edited the marks away: then the numbers go to the end rather than over their words.
        updated = f"{card.rstrip()}\n\n{section}\n"
    with atomic_write(path) as file:
        file.write(updated.encode())


def split_at_held_out(card: str) -> tuple[str, str, str] | None:
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


PIPELINES: Final[dict[HeadKind, str]] = {
    "classify": "text-classification",
    "multi-label": "text-classification",
    "regress": "text-classification",
    "tag": "token-classification",
    "answer": "question-answering",
}
# How many labels a card lists.
LABELS_SHOWN: Final = 40


@dataclass(frozen=True)
class TaskFacts:
    """What the card says beside what the model itself says; whatever is None or empty is left out.

    pairs: whether texts come in pairs. base: the model that was fine-tuned; fresh: only its shape was taken, not its
    weights; converted_from: the folder that was only brought into another layout. train, measured_on: names of files.
    metrics: 'accuracy' -> 0.83, the chosen one first. seq_length: the longest sequence, which is where other tools cut
    texts. recipe: flat settings, 'train.lr' -> 1e-4.
    """

    name: str | None = None
    pairs: bool = False
    base: str | None = None
    fresh: bool = False
    converted_from: str | None = None
    train: tuple[str, ...] = ()
    records: int | None = None
    epochs: float | None = None
    steps: int | None = None
    seq_length: int | None = None
    seed: int | None = None
    measured_on: str | None = None
    measured_records: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)


def render_task_card(facts: TaskFacts, model: TaskModel, family: str) -> str:
    """The text of README.md. family: 'BERT', as `ModelFacts.architecture` has it."""
    template = environment().get_template("task_card.md.jinja")
    head = model.head_config
    return template.render(
        facts=facts,
        kind=head.kind,
        pipeline=PIPELINES[head.kind],
        labels=head.labels if head.kind in ("classify", "multi-label", "tag") else (),
        shown=LABELS_SHOWN,
        family=family,
        config=model.config,
        num_parameters=model.num_parameters(),
        version=__version__,
    )


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
    if parts := split_at_held_out(card):
        card = f"{parts[0]}{render_held_out(None)}{parts[2]}"
    section = environment().get_template("extended.md.jinja").render(asdict(extension) | {"version": __version__})
    return f"{card.rstrip()}\n\n{section.strip()}\n"


def card_of(folder: Path) -> str | None:
    """The card of a model folder, if it has one."""
    card = folder / "README.md"
    return card.read_text(encoding="utf-8", errors="replace") if card.is_file() else None


def public_name(place: str) -> str:
    """What a source is called, without where it lay on someone's machine.

    The last part of a path; an address without user, password and query, which may hold a key; names such as
    'python-docs:' and 'hf:NAME' as they are.
    """
    if "://" in place:
        parts = urlsplit(place)
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{host}{parts.path}"
    if place.startswith(("hf:", "python-docs:")):
        return place
    return PurePath(place.replace("\\", "/")).name or place
