"""Add tokens or positions to a model: writes a new model folder, to be trained further with `--init`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
from maskling.model.resize import add_positions, add_tokens, resize_vocabulary
from maskling.model.sentence_transformers import trained_max_length
from maskling.tokenizer.extend import (
    NewWord,
    SplitWords,
    check_special,
    check_words,
    choose_words,
    count_split_words,
    extend_tokenizer,
    recount_tokens,
    unusable_message,
)
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.train.export_run import read_masked_lm, whole_model

Place = str | os.PathLike[str]


@dataclass(frozen=True)
class Extended:
    """Result of an extension.

    words: new tokens, most useful first; tokens_before, tokens_after: of the text; unusable: words that were left out,
    with the reasons; folded: words that were normalized first, with what was added; roles: the special tokens that the
    tokenizer lacked.
    """

    folder: Path
    words: tuple[NewWord, ...]
    vocab_size: int
    tokens_before: int | None
    tokens_after: int | None
    unusable: Mapping[str, str] = field(default_factory=dict)
    folded: Mapping[str, str] = field(default_factory=dict)
    roles: tuple[str, ...] = ()


def extend_words(
    model: Place,
    out: Place,
    text: Sequence[str] = (),
    words: Iterable[str] | None = None,
    count: int = 500,
    min_count: int = 10,
    settings: CorpusSettings | None = None,
    report: ReadReport | None = None,
    special: Iterable[str] | None = None,
    skip_unusable: bool = False,
    add_missing: bool = False,
) -> Extended:
    """Add words to the vocabulary of a model, each initialized to the mean of its old subwords (see `add_tokens`).

    text: files, folders or URLs as `prepare` reads them. Without `words` they are chosen from it: at most `count` that
    occur `min_count` times, those that save most tokens; with `words` it gives their counts. report: collects the
    problems of each file. special: strings to add as special tokens, which stay whole and are never masked.
    skip_unusable: add the other words if some cannot be added. add_missing: add the special tokens of masked language
    models that the tokenizer lacks.
    Raises SettingsError without anything to add, TokenizerError for words that cannot be added, CorpusError, and
    ModelError.
    """
    if not text and words is None and special is None and not add_missing:
        raise SettingsError("no words to add: give text of the domain to find them in, or the words themselves")
    source, out = model_folder(model), Path(out)
    check_export_folder(source, out)
    module, tokenizer, roles = _completed(source) if add_missing else (*whole_model(source)[:2], ())
    reading = settings or CorpusSettings()
    fragments = None
    if text:
        fragments = count_split_words(tokenizer, _texts(text, reading, report or ReadReport()))
    unusable: dict[str, str] = {}
    folded: Mapping[str, str] = {}
    new: list[NewWord] = []
    if words is not None:
        checked = check_words(tokenizer, words, fragments)
        new, folded = list(checked.usable), checked.folded
        unusable |= checked.unusable
    elif fragments is not None:
        new = choose_words(tokenizer, fragments, count, min_count)
    if special is not None:
        whole = check_special(tokenizer, special)
        new += whole.usable
        unusable |= whole.unusable
    if unusable and (not skip_unusable or not new):
        raise TokenizerError(unusable_message(unusable, len({word.text.strip() for word in new})))
    after = extend_tokenizer(tokenizer, new)
    before = now = None
    if fragments is not None:
        before, (now, broken) = fragments.num_tokens, recount_tokens(tokenizer, after, fragments)
        for token, example in broken.items():
            raise TokenizerError(
                f"with {token!r} a token, this vocabulary could no longer encode {example!r}; leave {token!r} out"
            )
        if special is not None:  # they are found in the text before it is split into words
            now = sum(len(after.encode_flat(batch).ids) for batch in _texts(text, reading, ReadReport()))
    if new:
        module = add_tokens(module, tokenizer.vocab_size, [word.pieces for word in new], _shares(new, fragments))
    extension = Extension(
        source=str(source),
        vocab_size=after.vocab_size,
        words=tuple(word.text.strip() for word in new),
        text=tuple(text) if words is None else (),
        tokens_before=before or 0,
        tokens_after=now or 0,
        averaged=roles,
    )
    _write(source, module, after, out, extension, trained_max_length(source))
    return Extended(out, tuple(new), after.vocab_size, before, now, unusable, folded, roles)


def extend_to_tokenizer(model: Place, out: Place, tokenizer: Place) -> tuple[str, ...]:
    """Resize a model to a tokenizer that has more tokens than the model, and return the new tokens.

    Each new row of the embedding and of the output layer is the mean of the old ones (see `resize_vocabulary`).
    Raises TokenizerError if the old tokens have other ids in `tokenizer`, ModelError if the model has enough rows.
    """
    source, out = model_folder(model), Path(out)
    check_export_folder(source, out)
    module, after = read_masked_lm(source)[0], Tokenizer.load(Path(tokenizer))
    resized, new = _resized(module, after)
    _check_same_ids(source, after, module.config.vocab_size)
    extension = Extension(source=str(source), vocab_size=after.vocab_size, averaged=new)
    _write(source, resized, after, out, extension, trained_max_length(source))
    return new


def _completed(source: Path) -> tuple[MaskedLM, Tokenizer, tuple[str, ...]]:
    """Return a model and its tokenizer with the special tokens that it lacked, and those tokens."""
    module, tokenizer = read_masked_lm(source)[0], Tokenizer.load(source, add_missing=True)
    if tokenizer.vocab_size <= module.config.vocab_size:
        return module, tokenizer, ()
    resized, new = _resized(module, tokenizer)
    return resized, tokenizer, new


def _resized(module: MaskedLM, tokenizer: Tokenizer) -> tuple[MaskedLM, tuple[str, ...]]:
    new = range(module.config.vocab_size, tokenizer.vocab_size)
    return resize_vocabulary(module, tokenizer.vocab_size), tuple(map(tokenizer.token, new))


def _check_same_ids(source: Path, after: Tokenizer, rows: int) -> None:
    """Raise TokenizerError if a token of the model's own tokenizer has another id in `after`."""
    own = Tokenizer.load(source)
    for id_ in range(min(own.vocab_size, rows)):
        if own.token(id_) != after.token(id_):
            raise TokenizerError(
                f"id {id_} is {own.token(id_)!r} in the tokenizer of {source}, but {after.token(id_)!r} in the new "
                f"one; give a tokenizer that has the old tokens first, with their ids"
            )


def _texts(text: Sequence[str], settings: CorpusSettings, report: ReadReport) -> Iterator[list[str]]:
    for batch in clean_batches(text, settings, report):
        yield [document.text for document in batch]


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
