"""Evaluate a model on held-out text: loss, perplexity and accuracy with fixed masks.

The text is the validation split of a prepared folder (`split_text`), or files that were never prepared, encoded in
memory with the model's own tokenizer (`file_text`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskling.console import counted
from maskling.corpus.opening import ReadReport
from maskling.corpus.pipeline import CleanDocument, clean_batches
from maskling.corpus.settings import CorpusSettings
from maskling.data.examples import Examples
from maskling.data.manifest import ShardArrays
from maskling.data.masking.corruption import Corruption, MaskingVocabulary
from maskling.data.masking.token import TokenMasking
from maskling.data.masking.word import WordMasking
from maskling.data.packing import BestFitPacking
from maskling.data.pairing import PAIRINGS
from maskling.data.pairing.nsp import NspPairing
from maskling.data.pairing.single import SinglePairing
from maskling.data.pairing.strategy import Pairing
from maskling.data.shards import Split, open_shards
from maskling.errors import CorpusError, DataError, SettingsError
from maskling.exporting.cards import HeldOut
from maskling.infer.forward import resolve_batch_tokens
from maskling.infer.model import Model
from maskling.metrics import entropy
from maskling.objectives.measure import MaskedLMMetrics, MetricSums
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.train.distributed import Ranks
from maskling.train.recipe import Recipe, read_run_recipe

# Maximum sequence length, and mask rate, for a model without a run.
DEFAULT_SEQ_LENGTH = 512
DEFAULT_MASK_RATE = 0.15
MIN_SEQ_LENGTH = 8


def evaluate_held_out(
    model: Model,
    text: HeldOutText,
    *,
    pairing: str | None = None,
    seq_length: int | None = None,
    rate: float | None = None,
    examples: int | None = None,
    batch_tokens: int | None = None,
    ranks: Ranks | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> HeldOut:
    """Evaluate a model on held-out text with fixed masks: every metric is reproducible to the last digit.

    pairing, seq_length, rate (fraction of tokens to predict): default to those of the model's run; for a model without
    a run, to pairing nsp if it has a pair head and single otherwise, 512 tokens and 0.15. A text of one document is
    evaluated without pairs.
    examples: number of examples; default: all. batch_tokens: changes speed, and metrics only by rounding.
    ranks: each evaluates a share of the batches; all return the same metrics. on_progress: called after each batch
    with the examples that are done and their total.

    Loss per word and per byte come from a second pass in which whole words are masked: if single pieces are masked, a
    vocabulary of small pieces has an advantage, because the rest of the word gives each piece away. The loss per masked
    piece times the pieces per word compares between vocabularies if few tokens are unknown: an unknown token counts as
    an average one.
    Raises ModelError for a model without a masked-token head, DataError or SettingsError for options that do not fit.
    """
    check_evaluation(model, pairing=pairing, seq_length=seq_length, rate=rate, examples=examples)
    recipe, ranks = recipe_of(model), ranks or Ranks()
    length, mask_rate = _seq_length(model, recipe, seq_length), _mask_rate(recipe, rate)
    batch_rows = max(1, resolve_batch_tokens(batch_tokens, model.compute) // length)
    packing = recipe.packing if recipe else BestFitPacking()
    vocabulary = MaskingVocabulary.of(model.tokenizer)
    passes = [
        Examples(text.split, vocabulary, pairing_, masking, Corruption(), packing, length, seed=0)
        for masking, pairing_ in (
            (TokenMasking(), _pairing(pairing, model, recipe, text)),
            (WordMasking(), SinglePairing()),
        )
    ]
    counts = [min(examples or made.num_examples, made.num_examples) for made in passes]
    done, total = 0, sum(counts)
    measured: list[MaskedLMMetrics] = []
    model.module.eval()
    for made, count in zip(passes, counts, strict=True):
        sums = MetricSums(model.module, model.compute)
        for index, batch in enumerate(made.fixed(count, mask_rate, batch_rows)):
            if index % ranks.size == ranks.rank:
                sums.add(batch)
            done += int((batch.example_ids.max(axis=1) + 1).sum())
            if on_progress is not None:
                on_progress(done, total)
        measured.append(sums.metrics(ranks.all_reduce))
    tokens, words = measured
    return HeldOut(
        mlm_loss=tokens.mlm_loss,
        top1=tokens.top1,
        top5=tokens.top5,
        predictions=tokens.predictions,
        unigram_entropy=text.unigram_entropy,
        pair_accuracy=tokens.pair_accuracy,
        pairs=tokens.pairs,
        loss_per_word=words.mlm_loss * text.tokens_per_word,
        loss_per_byte=None if text.tokens_per_byte is None else words.mlm_loss * text.tokens_per_byte,
        text=text.name,
    )


def check_evaluation(
    model: Model, *, pairing: str | None, seq_length: int | None, rate: float | None, examples: int | None
) -> None:
    """Raise the errors of `evaluate_held_out` that do not depend on the text."""
    model.need_head("evaluate")
    recipe, most = recipe_of(model), model.module.config.max_positions
    length = _seq_length(model, recipe, seq_length)
    mask_rate = _mask_rate(recipe, rate)
    if not 0 < mask_rate < 1:
        raise SettingsError(
            f"rate is {mask_rate:g}; it is a fraction of the tokens, above 0 and below 1, such as {DEFAULT_MASK_RATE}"
        )
    if length < MIN_SEQ_LENGTH:
        raise SettingsError(f"seq_length is {length}; it must be {MIN_SEQ_LENGTH} tokens or more")
    if examples is not None and examples < 1:
        raise SettingsError(f"examples is {examples}; it must be 1 or more; leave it out to use all")
    if length > most:
        raise SettingsError(
            f"sequences of {length:,} tokens are longer than the {most:,} this model has positions for; "
            f"lower seq_length"
        )
    if pairing is not None:
        _named_pairing(pairing, model)


def _seq_length(model: Model, recipe: Recipe | None, seq_length: int | None) -> int:
    usual = recipe.data.seq_length if recipe else min(model.max_length, DEFAULT_SEQ_LENGTH)
    return usual if seq_length is None else seq_length


def _mask_rate(recipe: Recipe | None, rate: float | None) -> float:
    return (recipe.evaluate.rate if recipe else DEFAULT_MASK_RATE) if rate is None else rate


def recipe_of(model: Model) -> Recipe | None:
    """Return the settings of the run that a model belongs to, or None for a model without a run."""
    run = model.folder.parent
    return read_run_recipe(run) if model.folder.name == "model" and (run / "config.toml").is_file() else None


def _pairing(kind: str | None, model: Model, recipe: Recipe | None, text: HeldOutText) -> Pairing:
    if kind is not None:
        return _named_pairing(kind, model)
    usual = recipe.pairing if recipe else NspPairing() if model.module.config.pair_head else SinglePairing()
    # With one document there is no other to take a random half from; its masked tokens can still be evaluated.
    return SinglePairing() if text.split.num_documents < 2 else usual


def _named_pairing(kind: str, model: Model) -> Pairing:
    if kind not in PAIRINGS:
        raise SettingsError(f"there is no pairing '{kind}'; choose one of {', '.join(PAIRINGS)}")
    pairing = PAIRINGS[kind].model_validate({})
    if pairing.has_pairs and not model.module.config.pair_head:
        raise SettingsError(f"pairing '{kind}' makes pairs, and this model has no pair head; use single")
    return pairing


@dataclass(frozen=True)
class HeldOutText:
    """Text to evaluate on.

    tokens_per_byte: None if the size of the text is not known. unigram_entropy: nats, of the training text if that is
    known, else of this text. name: a description for the model card. unknown: the fraction of tokens that are [UNK].
    """

    split: Split
    tokens_per_word: float
    tokens_per_byte: float | None
    unigram_entropy: float
    name: str
    unknown: float = 0.0


def split_text(folder: Path, model: Model) -> HeldOutText:
    """Return the validation split of a prepared folder.

    Raises DataError if it was prepared with another tokenizer than the model's, or nothing was held out.
    """
    shards = open_shards(folder)
    manifest = shards.manifest
    if not model.tokenizer.matches(manifest.tokenizer):
        raise DataError(
            f"{folder} was prepared with tokenizer {manifest.tokenizer}, but the model in {model.folder} has "
            f"{model.tokenizer.fingerprint}; evaluate it on the text files instead, or prepare them with "
            f"--tokenizer.path {model.folder}"
        )
    split = shards.split("validation")
    if not split.num_documents:
        raise DataError(f"{folder} has no validation split; prepare it with a larger shards.validation_fraction")
    num_tokens = split.num_tokens + shards.split("train").num_tokens
    num_bytes = manifest.text.kept_bytes
    return HeldOutText(
        split=split,
        tokens_per_word=_tokens_per_word(split),
        tokens_per_byte=num_tokens / num_bytes if num_bytes else None,
        unigram_entropy=manifest.unigram_entropy,
        name=f"a validation split of {counted(split.num_documents, 'document')}",
        unknown=_unknown(split, model),
    )


def file_text(
    sources: Sequence[str], model: Model, settings: CorpusSettings | None = None, report: ReadReport | None = None
) -> HeldOutText:
    """Return the text of files, folders or URLs. report: collects the problems of the files.

    Raises CorpusError if there is no text.
    """
    text = encode_files(sources, model.tokenizer, settings, report)
    split = text.split
    names = ", ".join(Path(source).name or source for source in sources)
    return HeldOutText(
        split=split,
        tokens_per_word=_tokens_per_word(split),
        tokens_per_byte=split.num_tokens / text.num_bytes,
        unigram_entropy=entropy.entropy(_counts(split, model.tokenizer.vocab_size)),
        name=f"{counted(split.num_documents, 'document')} of {names}",
        unknown=_unknown(split, model),
    )


def _tokens_per_word(split: Split) -> float:
    words = sum(int(np.count_nonzero(block.word_starts())) for block in split.blocks())
    return split.num_tokens / max(1, words)


def _unknown(split: Split, model: Model) -> float:
    unk = model.tokenizer.special.unk
    return sum(int(np.count_nonzero(block.tokens == unk)) for block in split.blocks()) / max(1, split.num_tokens)


def _counts(split: Split, vocab_size: int) -> NDArray[np.int64]:
    """Count the occurrences of each token: (vocab_size,) int64."""
    counts = np.zeros(vocab_size, np.int64)
    for block in split.blocks():
        counts += np.bincount(block.tokens, minlength=vocab_size)
    return counts


@dataclass(frozen=True)
class EncodedFiles:
    """split: the text as tokens; num_bytes: the size of the clean text in UTF-8."""

    split: Split
    num_bytes: int


def encode_files(
    sources: Sequence[str],
    tokenizer: Tokenizer,
    settings: CorpusSettings | None = None,
    report: ReadReport | None = None,
) -> EncodedFiles:
    """Read, clean and encode sources as `prepare` does.

    report: collects the problems of the files. Raises CorpusError if nothing can be read or nothing is left of it.
    """
    settings = settings or CorpusSettings()
    report = report or ReadReport()
    # Only the tokens of each batch are kept, two or four bytes each.
    shards: list[ShardArrays] = []
    num_bytes = 0
    for documents in clean_batches(sources, settings, report):
        arrays, size = _encode(documents, tokenizer)
        num_bytes += size
        shards.append(arrays)
    if not sum(len(arrays.tokens) for arrays in shards):
        raise CorpusError(
            f"nothing is left of {', '.join(sources)}: all {report.documents:,} documents were empty, repeated or "
            f"filtered out; give other text, or loosen corpus.filters"
        )
    return EncodedFiles(Split(shards), num_bytes)


def _encode(documents: Sequence[CleanDocument], tokenizer: Tokenizer) -> tuple[ShardArrays, int]:
    """Return the tokens of those documents that have any, and the size of these documents in bytes."""
    pieces: list[str] = []
    for document in documents:
        ends = np.cumsum([0, *document.sentences]).tolist()
        pieces += [document.text[first:end] for first, end in pairwise(ends)]
    tokenizer.check_words(pieces)
    encoded = tokenizer.encode_flat(pieces)
    lengths = np.diff(encoded.offsets)
    owner = np.repeat(np.arange(len(documents)), [len(document.sentences) for document in documents])[lengths > 0]
    kept, sentences = np.unique(owner, return_counts=True)
    size = sum(len(documents[index].text.encode()) for index in kept)
    vocab_size = tokenizer.vocab_size
    return ShardArrays.of(vocab_size, encoded.ids, encoded.word_starts, lengths[lengths > 0], sentences), size
