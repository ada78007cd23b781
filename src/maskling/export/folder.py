"""A model folder that every tool of the field opens, checked before anyone sees it."""

from __future__ import annotations

import glob
import shutil
from pathlib import Path

from maskling import __version__
from maskling.errors import ModelError
from maskling.export.card import CardFacts, ModelFacts, render_card
from maskling.export.probe import answers, check_same
from maskling.export.sentence_transformers import write_pooling
from maskling.files import ASIDE, folder_written_aside
from maskling.model.config import BertConfig, ModelConfig
from maskling.model.folder import read_folder, write_weights
from maskling.model.masked_lm import MaskedLM
from maskling.tokenizer.tokenizer import Tokenizer


def export_model(module: MaskedLM, tokenizer: Tokenizer, out: Path, facts: CardFacts, card: str | None = None) -> None:
    """Write config.json, model.safetensors, the tokenizer's files, README.md and what SentenceTransformer needs.

    card: the text of README.md, if it is not to be made from `facts`.

    The folder takes the place of `out` as a whole, and only after it was read back: the logits of a fixed batch must
    be those of `module`, and the tokenizer's fingerprint its own. Raises ModelError where they are not; then `out`
    is as it was before.
    """
    clear_partial(out)
    config = module.config
    longest = min(facts.seq_length or config.max_positions, config.max_positions)
    with folder_written_aside(out) as aside:
        write_weights(module, aside)
        save_tokenizer(tokenizer, config, aside, longest)
        write_pooling(aside, config.hidden_size, longest)
        text = render_card(facts, model_facts(module, tokenizer)) if card is None else card
        (aside / "README.md").write_text(text, encoding="utf-8")
        _check_model(module, tokenizer, aside, out)


def clear_partial(out: Path) -> None:
    """Delete what an export to `out` that was killed has left beside it."""
    for left in out.parent.glob(f"{glob.escape(out.name)}.*{ASIDE}"):
        shutil.rmtree(left, ignore_errors=True)


def save_tokenizer(tokenizer: Tokenizer, config: ModelConfig, folder: Path, longest: int) -> None:
    """Write the files of a tokenizer for a model. longest: the most tokens of a sequence."""
    # ModernBERT and RoBERTa have no use for token types; a tokenizer that sent them would break their calls.
    tokenizer.save(folder, longest, token_types=has_token_types(config))


def has_token_types(config: ModelConfig) -> bool:
    """Whether a model is given token_type_ids by other tools."""
    return isinstance(config, BertConfig) and config.family == "bert"


def model_facts(module: MaskedLM, tokenizer: Tokenizer) -> ModelFacts:
    """What a card says of the model itself."""
    config = module.config
    return ModelFacts(
        architecture=family_name(config),
        num_parameters=sum(parameter.numel() for parameter in module.parameters()),
        num_layers=config.num_layers,
        hidden_size=config.hidden_size,
        vocab_size=tokenizer.vocab_size,
        mask_token=tokenizer.mask_token,
        # ModernBertForMaskedLM has no place for a pair head; only maskling reads the one that it has.
        has_pair_head=config.pair_head and isinstance(config, BertConfig),
        version=__version__,
    )


def family_name(config: ModelConfig) -> str:
    """The family of a model as people write it."""
    names = {"bert": "BERT", "roberta": "RoBERTa", "xlm-roberta": "XLM-RoBERTa", "camembert": "CamemBERT"}
    return names[config.family] if isinstance(config, BertConfig) else "ModernBERT"


def _check_model(module: MaskedLM, tokenizer: Tokenizer, aside: Path, out: Path) -> None:
    loaded = read_folder(aside)
    if loaded.missing:
        raise ModelError(f"{out} was not written: read back, the model lacked {', '.join(loaded.missing)}")
    check_same(answers(module), answers(loaded.module.to(next(module.parameters()).device)), str(out))
    check_tokenizer(tokenizer, aside, out)


def check_tokenizer(tokenizer: Tokenizer, aside: Path, out: Path) -> None:
    """Raise ModelError if the tokenizer in `aside`, which is to become `out`, is another one."""
    found = Tokenizer.load(aside).fingerprint
    if found != tokenizer.fingerprint:
        raise ModelError(
            f"{out} was not written: read back, its tokenizer is {found} and not {tokenizer.fingerprint}; this is a "
            f"fault of maskling, and what stood there before was kept"
        )
