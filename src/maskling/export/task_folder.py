"""A folder of a model for a task that every tool of the field opens, checked before anyone sees it."""

from __future__ import annotations

from pathlib import Path

from maskling.errors import ModelError
from maskling.export.folder import check_tokenizer, clear_partial, family_name, save_tokenizer
from maskling.export.probe import check_same, task_answers
from maskling.export.task_card import TaskFacts, render_task_card
from maskling.files import folder_written_aside
from maskling.model.tasks.folder import read_task_folder, write_task_weights
from maskling.model.tasks.model import TaskModel
from maskling.tokenizer.tokenizer import Tokenizer


def export_task_model(
    model: TaskModel, tokenizer: Tokenizer, out: Path, facts: TaskFacts, card: str | None = None
) -> None:
    """Write config.json, model.safetensors, the tokenizer's files and README.md.

    card: the text of README.md, if it is not to be made from `facts`.

    The folder takes the place of `out` as a whole, and only after it was read back: the logits of a fixed batch and
    the label of each must be those of `model`, and the tokenizer's fingerprint its own. Raises ModelError where they
    are not; then `out` is as it was before.
    """
    clear_partial(out)
    config = model.config
    with folder_written_aside(out) as aside:
        write_task_weights(model, aside)
        save_tokenizer(tokenizer, config, aside, min(facts.seq_length or config.max_positions, config.max_positions))
        text = render_task_card(facts, model, family_name(config)) if card is None else card
        (aside / "README.md").write_text(text, encoding="utf-8")
        _check_task_model(model, tokenizer, aside, out)


def _check_task_model(model: TaskModel, tokenizer: Tokenizer, aside: Path, out: Path) -> None:
    loaded = read_task_folder(aside)
    if loaded is None or loaded.head_config.labels != model.head_config.labels:
        raise ModelError(f"{out} was not written: read back, its labels were others; this is a fault of maskling")
    check_same(task_answers(model), task_answers(loaded.to(next(model.parameters()).device)), str(out))
    check_tokenizer(tokenizer, aside, out)
