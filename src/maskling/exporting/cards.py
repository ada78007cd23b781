"""Model cards: README.md with a model's architecture, training data, settings and held-out metrics.

Pretrained models, task models and models with added tokens or positions have templates in `templates/`. Cards may be
published, so sources appear without the path of this machine (`public_name`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePath
from typing import Any, Final
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined

from maskling.adapters import is_adapter
from maskling.errors import ModelError
from maskling.exporting.card_metadata import Measured, with_metadata
from maskling.files import atomic_write
from maskling.metrics import entropy
from maskling.model.tasks.config import HeadKind
from maskling.model.tasks.model import TaskModel
from maskling.version import __version__

# `update_card` rewrites the section between these lines; the rest of the card is free to edit.
BEGIN = "<!-- held-out numbers: rewritten by maskling -->"
END = "<!-- end of held-out numbers -->"


@dataclass(frozen=True)
class HeldOut:
    """Metrics of a model on held-out text. Losses are in nats per prediction.

    loss_per_word, loss_per_byte: estimates for the whole text, the loss per prediction times the tokens per word or
    byte; only these compare models with different vocabularies. loss_before: masked-token loss on the same text before
    the first step, if training started from given weights.
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
        """exp(mlm_loss), infinity if that overflows a float."""
        return entropy.perplexity(self.mlm_loss)


@dataclass(frozen=True)
class CardFacts:
    """Facts about the training of a model for its card; None or empty facts are left out.

    recipe: flat settings, 'masking.rate' -> 0.15; paths on this machine are left out of the card. tokens, documents:
    of the training split. started_from: the model folder that training began with; converted_from: the folder that was
    only converted to another format. seq_length: the longest sequence in training, at which `SentenceTransformer` and
    `maskling.load` truncate texts.
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
    """Facts about the model itself for its card, read from the model and tokenizer that are exported."""

    architecture: str
    num_parameters: int
    num_layers: int
    hidden_size: int
    vocab_size: int
    mask_token: str
    has_pair_head: bool
    version: str


def render_card(facts: CardFacts, model: ModelFacts) -> str:
    """Render README.md of a pretrained model."""
    template = environment().get_template("card.md.jinja")
    text = template.render(facts=facts, model=model, held_out=render_held_out(facts.held_out))
    # The only data sets that huggingface.co knows are its own.
    datasets = [source.removeprefix("hf:").partition(":")[0] for source in facts.sources if source.startswith("hf:")]
    name = facts.name or "A masked language model"
    return with_metadata(text, {"datasets": datasets}, _measured_held_out(name, facts.held_out))


def _measured_held_out(name: str, held_out: HeldOut | None) -> Measured | None:
    """Return held-out metrics for the metadata of a card."""
    if held_out is None:
        return None
    metrics = {
        "perplexity": held_out.perplexity,
        "loss": held_out.mlm_loss,
        "accuracy": held_out.top1,
        "top-5 accuracy": held_out.top5,
    }
    return Measured(name, "fill-mask", held_out.text, metrics)


def render_held_out(held_out: HeldOut | None) -> str:
    """Render the section of held-out metrics, between its two marker comments."""
    body = environment().get_template("held_out.md.jinja").render(held_out=held_out).strip()
    return f"{BEGIN}\n{body}\n{END}"


def update_card(folder: Path, held_out: HeldOut) -> None:
    """Replace the held-out metrics in the card of a model folder; the rest of the card does not change.

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
        # If the marker comments were deleted, append the metrics rather than overwrite edited text.
        updated = f"{card.rstrip()}\n\n{section}\n"
    measured = _measured_held_out(folder.resolve().name, held_out)
    with atomic_write(path) as file:
        file.write(with_metadata(updated, {}, measured).encode())


def split_at_held_out(card: str) -> tuple[str, str, str] | None:
    """Split a card into the text before the held-out metrics, that section with its markers, and the text after it.

    Returns None for a card without both markers.
    """
    before, begin, rest = card.partition(BEGIN)
    metrics, end, after = rest.partition(END)
    return (before, f"{begin}{metrics}{end}", after) if begin and end else None


def environment() -> Environment:
    """Return the jinja environment of the card templates, with filters for counts, names and paths."""
    jinja = Environment(
        loader=PackageLoader("maskling.exporting", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    jinja.filters["count"] = lambda count: f"{count:,}"
    jinja.filters["source"] = public_name
    jinja.filters["line"] = _line
    jinja.filters["code"] = _code
    return jinja


def _line(value: object) -> str:
    """Return a name on one line: file names may contain newlines, and backticks that would end a code block."""
    return " ".join(str(value).split()).replace("`", "'")


def _code(value: object) -> str:
    """Return a name as code, also for a table, where a bar would end the cell."""
    return f"`{_line(value)}`".replace("|", "\\|")


PIPELINES: Final[dict[HeadKind, str]] = {
    "classify": "text-classification",
    "multi-label": "text-classification",
    "regress": "text-classification",
    "tag": "token-classification",
    "answer": "question-answering",
}
# The most labels that a card lists.
LABELS_SHOWN: Final = 40


@dataclass(frozen=True)
class TaskFacts:
    """Facts about the fine-tuning of a model for its card; None or empty facts are left out.

    pairs: whether inputs are pairs of texts. base: the model that was fine-tuned; fresh: only its configuration was
    used, not its weights; converted_from: the folder that was only converted to another format. train, measured_on:
    names of files.
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
    """Render README.md of a task model. family: such as 'BERT', see `ModelFacts.architecture`."""
    template = environment().get_template("task_card.md.jinja")
    head = model.head_config
    text = template.render(
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
    return with_metadata(text, {}, measured_task(facts, PIPELINES[head.kind]))


def measured_task(facts: TaskFacts, pipeline: str) -> Measured:
    """Return the metrics of a fine-tuned model for the metadata of its card. pipeline: the task on huggingface.co."""
    return Measured(facts.name or "model", pipeline, facts.measured_on or "held-out records", facts.metrics)


@dataclass(frozen=True)
class Extension:
    """Tokens and positions that were added to the model of `source`.

    words: the added tokens as written in a text. text: the files they were found in, tokenized before and after.
    averaged: tokens whose rows are the mean of all others.
    """

    source: str
    vocab_size: int
    words: tuple[str, ...] = ()
    averaged: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    tokens_before: int = 0
    tokens_after: int = 0
    positions: int | None = None
    positions_before: int = 0
    has_table: bool = True
    rope_theta: float | None = None


def extended_card(card: str, extension: Extension) -> str:
    """Return a card with a section on what was added, and without held-out metrics, which were the old model's."""
    if parts := split_at_held_out(card):
        card = f"{parts[0]}{render_held_out(None)}{parts[2]}"
    section = environment().get_template("extended.md.jinja").render(asdict(extension) | {"version": __version__})
    return f"{card.rstrip()}\n\n{section.strip()}\n"


def read_card(folder: Path) -> str | None:
    """Return the card of a model folder, None if it has none; that of an adapter is not the merged model's."""
    card = folder / "README.md"
    if is_adapter(folder):
        return None
    return card.read_text(encoding="utf-8", errors="replace") if card.is_file() else None


def public_name(source: str) -> str:
    """Return the name of a source without its path on this machine.

    The last part of a path; a URL without user, password and query, which may hold a key; names such as 'python-docs:'
    and 'hf:NAME' unchanged.
    """
    if "://" in source:
        parts = urlsplit(source)
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{host}{parts.path}"
    if source.startswith(("hf:", "python-docs:")):
        return source
    return PurePath(source.replace("\\", "/")).name or source
