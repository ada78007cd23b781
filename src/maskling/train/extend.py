"""Add tokens or positions to a model: writes a new model folder, to be trained further with `--init`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from maskling.corpus.opening import ReadReport
from maskling.corpus.pipeline import clean_batches
from maskling.corpus.settings import CorpusSettings
from maskling.errors import SettingsError, TokenizerError
from maskling.exporting.cards import CardFacts, Extension, extended_card, read_card, render_card
from maskling.exporting.folder import check_export_folder, export_model, model_facts
from maskling.model.config import BertConfig
from maskling.model.locate import model_folder
from maskling.model.masked_lm import MaskedLM
from maskling.model.resize import add_positions, add_tokens
from maskling.model.sentence_transformers import trained_max_length
from maskling.tokenizer.extend import (
    NewWord,
    SplitWords,
    choose_words,
    count_split_words,
    extend_tokenizer,
    given_words,
    recount_tokens,
)
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.train.export_run import whole_model

Place = str | os.PathLike[str]


@dataclass(frozen=True)
class Extended:
    """Result of an extension. words: new tokens, most useful first; tokens_before, tokens_after: of the text."""

    folder: Path
    words: tuple[NewWord, ...]
    vocab_size: int
    tokens_before: int | None
    tokens_after: int | None


def extend_words(
    model: Place,
    out: Place,
    text: Sequence[str] = (),
    words: Iterable[str] | None = None,
    count: int = 500,
    min_count: int = 10,
    settings: CorpusSettings | None = None,
    report: ReadReport | None = None,
) -> Extended:
    """Add words to the vocabulary of a model, each initialized to the mean of its old subwords (see `add_tokens`).

    text: files, folders or URLs as `prepare` reads them. Without `words` they are chosen from it: at most `count` that
    occur `min_count` times, those that save most tokens; with `words` it gives their counts. report: collects the
    problems of each file.
    Raises SettingsError without text and words, TokenizerError for words that cannot be added, CorpusError, ModelError.
    """
    if not text and words is None:
        raise SettingsError("no words to add: give text of the domain to find them in, or the words themselves")
    source, out = model_folder(model), Path(out)
    check_export_folder(source, out)
    module, tokenizer, _ = whole_model(source)
    fragments = None
    if text:
        batches = clean_batches(text, settings or CorpusSettings(), report or ReadReport())
        fragments = count_split_words(tokenizer, ([document.text for document in batch] for batch in batches))
    if words is not None:
        new = given_words(tokenizer, words, fragments)
    else:
        assert fragments is not None
        new = choose_words(tokenizer, fragments, count, min_count)
    after = extend_tokenizer(tokenizer, new)
    before = now = None
    if fragments is not None:
        before, (now, broken) = fragments.num_tokens, recount_tokens(tokenizer, after, fragments)
        for token, example in broken.items():
            raise TokenizerError(
                f"with {token!r} a token, this vocabulary could no longer encode {example!r}; leave {token!r} out"
            )
    grown = add_tokens(module, tokenizer.vocab_size, [word.pieces for word in new], _shares(new, fragments))
    extension = Extension(
        source=str(source),
        vocab_size=after.vocab_size,
        words=tuple(word.text.strip() for word in new),
        text=tuple(text) if words is None else (),
        tokens_before=before or 0,
        tokens_after=now or 0,
    )
    _write(source, grown, after, out, extension, trained_max_length(source))
    return Extended(out, tuple(new), after.vocab_size, before, now)


def extend_positions(model: Place, out: Place, positions: int, rope_theta: float | None = None) -> None:
    """Extend a model to sequences of up to `positions` tokens (see `add_positions`).

    Raises ModelError for fewer than it has, or for a rope_theta without rotary positions.
    """
    source, out = model_folder(model), Path(out)
    check_export_folder(source, out)
    module, tokenizer, _ = whole_model(source)
    extension = Extension(
        source=str(source),
        vocab_size=tokenizer.vocab_size,
        positions=positions,
        positions_before=module.config.max_positions,
        has_table=isinstance(module.config, BertConfig),
        rope_theta=rope_theta,
    )
    _write(source, add_positions(module, positions, rope_theta), tokenizer, out, extension, positions)


def _write(
    source: Path, module: MaskedLM, tokenizer: Tokenizer, out: Path, extension: Extension, seq_length: int | None
) -> None:
    facts = CardFacts(name=source.resolve().name, seq_length=seq_length, converted_from=str(source))
    card = read_card(source) or render_card(facts, model_facts(module, tokenizer))
    export_model(module, tokenizer, out, facts, card=extended_card(card, extension))


def _shares(words: Sequence[NewWord], fragments: SplitWords | None) -> list[float | None]:
    """Return, per word, the fraction of the occurrences of its first subword that were that word; None if absent."""
    if fragments is None:
        return [None] * len(words)
    firsts = [int(fragments.token_counts[word.pieces[0]]) for word in words]
    return [word.count / first if word.count and first else None for word, first in zip(words, firsts, strict=True)]
