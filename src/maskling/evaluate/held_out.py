"""How good a model is on text it was not trained on, in numbers that compare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from maskling.export.cards import HeldOut
from maskling.infer.forward import batch_budget
from maskling.infer.model import Model
from maskling.metrics import entropy
from maskling.objectives.measure import MaskedLMMetrics, MetricSums
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.train.distributed import Ranks
from maskling.train.recipe import Recipe, read_config

# FOLDED DOCS
# [text] Text to measure a model on: the held-out part of a prepared folder, or text as it comes.
# [raw_text] Text that was never prepared, made ready to measure a model on: with that model's own tokenizer, in memory.


# Longest sequences for a model that nobody told how long it was trained on.
LONGEST = 512
RATE = 0.15
SHORTEST = 8


def evaluate(
    model: Model,
    text: HeldOutText,
    *,
    pairing: str | None = None,
    seq_length: int | None = None,
    rate: float | None = None,
    examples: int | None = None,
    batch_tokens: int | None = None,
) -> HeldOut:
    """Measure a model with masks that are the same each time: see `Evaluation`."""
    evaluation = Evaluation(
        model,
        text,
        pairing=pairing,
        seq_length=seq_length,
        rate=rate,
        examples=examples,
        batch_tokens=batch_tokens,
    )
    for _ in evaluation.run():
        pass
    return evaluation.held_out()


class Evaluation:
    """A model being measured with masks that are the same each time: every number repeats to the last digit.

    Whatever is left out is as the model's run had it, or for a model of no run: pairing nsp if it has a pair head and
    single if not, sequences of up to 512 tokens (`seq_length`), 15 % of them to predict (`rate`). A text of one
    document is measured without pairs.
    examples: how many to measure on, all if left out. batch_tokens: changes speed, and numbers only by rounding.
    ranks: each measures a share of the batches; all of them get all numbers.

    Loss per word and per byte come from a second pass in which whole words are hidden: with single pieces hidden,
    a vocabulary of small pieces has an easy time, as the rest of the word gives each away. The loss of a hidden
    piece times the pieces of a word compares between vocabularies, as long as few tokens are unknown: an unknown
    token counts as an average one.
    """

    def __init__(
        self,
        model: Model,
        text: HeldOutText,
        *,
        pairing: str | None = None,
        seq_length: int | None = None,
        rate: float | None = None,
        examples: int | None = None,
        batch_tokens: int | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        """Raises ModelError for a model without a head, DataError or SettingsError for what does not fit."""
        check_asked(model, pairing=pairing, seq_length=seq_length, rate=rate, examples=examples)
        recipe = recipe_of(model)
        self._length, self._rate = _length(model, recipe, seq_length), _rate(recipe, rate)
        self._model, self._text, self._examples = model, text, examples
        self._batch_tokens = batch_budget(batch_tokens, model.compute)
        self._packing = recipe.packing if recipe else BestFitPacking()
        self._pairing = _pairing(pairing, model, recipe, text)
        self._ranks = Ranks() if ranks is None else ranks
        self._found: list[MaskedLMMetrics] = []

    def run(self) -> Iterator[float]:
        """Measure, and yield the part that is done, from 0 to 1, after each batch."""
        single = SinglePairing()
        vocabulary = MaskingVocabulary.of(self._model.tokenizer)
        passes = [
            Examples(self._text.split, vocabulary, pairing, masking, Corruption(), self._packing, self._length, seed=0)
            for masking, pairing in ((TokenMasking(), self._pairing), (WordMasking(), single))
        ]
        counts = [min(self._examples or made.num_examples, made.num_examples) for made in passes]
        done, total = 0, sum(counts)
        self._model.module.eval()
        for made, count in zip(passes, counts, strict=True):
            tally = MetricSums(self._model.module, self._model.compute)
            batches = made.fixed(count, self._rate, max(1, self._batch_tokens // self._length))
            for place, batch in enumerate(batches):
                if place % self._ranks.size == self._ranks.rank:
                    tally.add(batch)
                done += int((batch.example_ids.max(axis=1) + 1).sum())
                yield done / total
            self._found.append(tally.measured(self._ranks.all_reduce))

    def held_out(self) -> HeldOut:
        """The numbers, once `run` has ended."""
        (plain, words), text = self._found, self._text
        return HeldOut(
            mlm_loss=plain.mlm_loss,
            top1=plain.top1,
            top5=plain.top5,
            predictions=plain.predictions,
            unigram_entropy=text.unigram_entropy,
            pair_accuracy=plain.pair_accuracy,
            pairs=plain.pairs,
            loss_per_word=words.mlm_loss * text.tokens_per_word,
            loss_per_byte=None if text.tokens_per_byte is None else words.mlm_loss * text.tokens_per_byte,
            text=text.name,
        )


def check_asked(
    model: Model, *, pairing: str | None, seq_length: int | None, rate: float | None, examples: int | None
) -> None:
    """Raises what `Evaluation` raises for a model and what is asked of it, before there is a text."""
    model.need_head("evaluate")
    recipe, most = recipe_of(model), model.module.config.max_positions
    length = _length(model, recipe, seq_length)
    check_ranges(rate=_rate(recipe, rate), seq_length=length, examples=examples)
    if length > most:
        raise SettingsError(
            f"sequences of {length:,} tokens are longer than the {most:,} this model has positions for; "
            f"lower seq_length"
        )
    if pairing is not None:
        _named_pairing(pairing, model)


def _length(model: Model, recipe: Recipe | None, asked: int | None) -> int:
    usual = recipe.data.seq_length if recipe else min(model.max_length, LONGEST)
    return usual if asked is None else asked


def _rate(recipe: Recipe | None, asked: float | None) -> float:
    return (recipe.evaluate.rate if recipe else RATE) if asked is None else asked


def check_ranges(rate: float, seq_length: int, examples: int | None) -> None:
    """Raises SettingsError for a share, a length or a number of examples that nothing can be measured with."""
    if not 0 < rate < 1:
        raise SettingsError(f"rate is {rate:g}; it is a fraction of the tokens, above 0 and below 1, such as {RATE}")
    if seq_length < SHORTEST:
        raise SettingsError(f"seq_length is {seq_length}; sequences have {SHORTEST} tokens or more")
    if examples is not None and examples < 1:
        raise SettingsError(f"examples is {examples}; measure on 1 or more, or leave it out to use all")


def recipe_of(model: Model) -> Recipe | None:
    """The settings of the run that a model is of, None for a model of no run."""
    run = model.folder.parent
    return read_config(run) if model.folder.name == "model" and (run / "config.toml").is_file() else None


def _pairing(kind: str | None, model: Model, recipe: Recipe | None, text: HeldOutText) -> Pairing:
    if kind is not None:
        return _named_pairing(kind, model)
    usual = recipe.pairing if recipe else NspPairing() if model.module.config.pair_head else SinglePairing()
    # One document has no other to take a random half from; its masked tokens can still be measured.
    return SinglePairing() if text.split.num_documents < 2 else usual


def _named_pairing(kind: str, model: Model) -> Pairing:
    if kind not in PAIRINGS:
        raise SettingsError(f"there is no pairing '{kind}'; choose one of {', '.join(PAIRINGS)}")
    pairing = PAIRINGS[kind].model_validate({})
    if pairing.has_pairs and not model.module.config.pair_head:
        raise SettingsError(f"pairing '{kind}' has pairs to judge, and this model has no pair head; use single")
    return pairing


@dataclass(frozen=True)
class HeldOutText:
    """Text to measure on.

    tokens_per_byte: None where the text's size is not known. unigram_entropy: nats, of the training text where that
    is known, else of this text. name: for the model card. unknown: which part of the tokens is [UNK].
    """

    split: Split
    tokens_per_word: float
    tokens_per_byte: float | None
    unigram_entropy: float
    name: str
    unknown: float = 0.0


def prepared_text(folder: Path, model: Model) -> HeldOutText:
    """The validation split of a prepared folder.

    Raises DataError if it was prepared with another tokenizer than the model's, or has nothing held out.
    """
    shards = open_shards(folder)
    manifest = shards.manifest
    if manifest.tokenizer != model.tokenizer.fingerprint:
        raise DataError(
            f"{folder} was prepared with tokenizer {manifest.tokenizer}, but the model in {model.folder} has "
            f"{model.tokenizer.fingerprint}; evaluate it on text itself instead, or prepare that with "
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


def raw_text(
    sources: Sequence[str], model: Model, settings: CorpusSettings | None = None, report: ReadReport | None = None
) -> HeldOutText:
    """Text from files, folders or addresses. report: gets what was wrong with which file.

    Raises CorpusError if there is none.
    """
    text = read_text(sources, model.tokenizer, settings, report)
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
    """How often each token occurs: (vocab_size,) int64."""
    counts = np.zeros(vocab_size, np.int64)
    for block in split.blocks():
        counts += np.bincount(block.tokens, minlength=vocab_size)
    return counts


@dataclass(frozen=True)
class RawText:
    """split: the text as tokens; num_bytes: of the clean text in UTF-8."""

    split: Split
    num_bytes: int


def read_text(
    sources: Sequence[str],
    tokenizer: Tokenizer,
    settings: CorpusSettings | None = None,
    report: ReadReport | None = None,
) -> RawText:
    """Read, clean and encode what `sources` name, as `prepare` does it.

    report: gets what was wrong with which file. Raises CorpusError if nothing can be read or nothing is left of it.
    """
    settings = settings or CorpusSettings()
    report = report or ReadReport()
    # Of each batch only the tokens are kept, two or four bytes each.
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
    return RawText(Split(shards), num_bytes)


def _encode(documents: Sequence[CleanDocument], tokenizer: Tokenizer) -> tuple[ShardArrays, int]:
    """The tokens of some documents that have any, and the bytes of these documents."""
    pieces: list[str] = []
    for document in documents:
        ends = np.cumsum([0, *document.sentences]).tolist()
        pieces += [document.text[first:end] for first, end in pairwise(ends)]
    encoded = tokenizer.encode_flat(pieces)
    lengths = np.diff(encoded.offsets)
    owner = np.repeat(np.arange(len(documents)), [len(document.sentences) for document in documents])[lengths > 0]
    kept, sentences = np.unique(owner, return_counts=True)
    size = sum(len(documents[number].text.encode()) for number in kept)
    vocab_size = tokenizer.vocab_size
    return ShardArrays.of(vocab_size, encoded.ids, encoded.word_starts, lengths[lengths > 0], sentences), size
