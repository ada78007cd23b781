"""Initial weights of a pretraining run: random from its seed, or from a model folder."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from maskling.errors import ModelError, SettingsError, TokenizerError
from maskling.files import checksum, fingerprint
from maskling.model.build import build_masked_lm
from maskling.model.config import ModelConfig
from maskling.model.folder import read_folder
from maskling.model.locate import model_folder
from maskling.model.masked_lm import MaskedLM
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.train.recipe import Recipe


def complete_model_config(recipe: Recipe, tokenizer: Tokenizer, written: Recipe | None) -> Recipe:
    """Fill in a model configuration that fits the tokenizer, that of `recipe.init` if given.

    written: the recipe in the run folder; if it began from the same folder, that may be gone by now.
    Raises SettingsError, ModelError or TokenizerError if they do not fit together.
    """
    if recipe.init is None:
        return _with_model(recipe, _for_tokenizer(recipe.model, tokenizer, recipe.pairing.has_pairs))
    folder = model_folder(recipe.init)
    if not folder.exists() and written is not None and written.init == recipe.init:
        return _with_model(recipe, written.model)
    if not folder.exists():
        raise ModelError(f"{recipe.init}: there is no such folder; init names the model to start from")
    own = Tokenizer.load(folder)
    if own.fingerprint != tokenizer.fingerprint:
        raise TokenizerError(
            f"{folder} has tokenizer {own.fingerprint}, but {recipe.data.path} was prepared with "
            f"{tokenizer.fingerprint}; prepare the text again with --tokenizer.path {folder}"
        )
    config = read_folder(folder, pair_head=True if recipe.pairing.has_pairs else None).config
    return _with_model(recipe, _for_tokenizer(config, tokenizer, recipe.pairing.has_pairs))


def initial_module(recipe: Recipe) -> MaskedLM:
    """Build the initial module of a completed recipe."""
    if recipe.init is None:
        return build_masked_lm(recipe.model, recipe.seed)
    # A head that the folder lacks is initialized from the seed.
    module = read_folder(model_folder(recipe.init), pair_head=recipe.model.pair_head, seed=recipe.seed).module
    module.config = recipe.model
    return module


def weights_fingerprint(init: str | None, known: str | None = None) -> str | None:
    """Return a checksum of the weights of a folder; None without a folder, `known` if it is gone."""
    if init is None:
        return None
    if not model_folder(init).exists():
        return known
    files = sorted(path for path in model_folder(init).glob("*") if path.suffix in (".safetensors", ".bin"))
    return fingerprint([[path.name, checksum(path)] for path in files]) if files else None


def _for_tokenizer(config: ModelConfig, tokenizer: Tokenizer, has_pairs: bool) -> ModelConfig:
    if 0 < config.vocab_size < tokenizer.vocab_size:
        raise ModelError(
            f"model.vocab_size = {config.vocab_size:,} is less than the tokenizer's {tokenizer.vocab_size:,} tokens; "
            f"leave it out, and it follows the tokenizer"
        )
    special = tokenizer.special
    size = config.vocab_size or tokenizer.vocab_size
    filled = config.with_vocabulary(size, pad=special.pad, cls=special.cls, sep=special.sep)
    tree: dict[str, Any] = filled.model_dump() | {"pair_head": config.pair_head or has_pairs}
    try:
        return type(config).model_validate(tree)  # model_copy does not validate: not every family has a pair head
    except ValueError as error:
        raise SettingsError(f"model: {_first_message(error)}") from None


def _with_model(recipe: Recipe, model: ModelConfig) -> Recipe:
    try:
        return Recipe.model_validate(recipe.model_dump() | {"model": model.model_dump()})
    except ValueError as error:
        raise SettingsError(_first_message(error)) from None


def _first_message(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        return error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
    return str(error)
