"""The last stage: what was made, added up and written into the manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskling import __version__
from maskling.data.array_files import write_array
from maskling.data.manifest import MadeFrom, Manifest, Splits, TextReport, dtype_name
from maskling.data.preparation.open_part import NOTED_BAD_FILES
from maskling.data.preparation.parts import Tally
from maskling.data.preparation.tokenizing import EncodedPart
from maskling.data.shards import COUNTS
from maskling.errors import CorpusError, DataError
from maskling.metrics import nats
from maskling.tokenizer.tokenizer import Tokenizer


def text_report(tallies: Sequence[Tally]) -> TextReport:
    """What became of all documents."""
    rejected: Counter[str] = Counter()
    for tally in tallies:
        rejected.update(tally.rejected)
    bad = [file for tally in tallies for file in tally.bad_files]
    return TextReport(
        read=sum(tally.read for tally in tallies),
        kept=sum(tally.kept for tally in tallies),
        kept_bytes=sum(tally.kept_bytes for tally in tallies),
        rejected=dict(sorted(rejected.items())),
        replaced_bytes=sum(tally.replaced_bytes for tally in tallies),
        num_bad_files=sum(tally.num_bad_files for tally in tallies),
        bad_files=tuple(bad[:NOTED_BAD_FILES]),
    )


def check_something_left(text: TextReport) -> None:
    """Raises CorpusError if no document was kept."""
    if not text.kept:
        reasons = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in text.rejected.items())
        what = "the one document that was read" if text.read == 1 else f"the {text.read:,} documents that were read"
        raise CorpusError(
            f"nothing is left of {what}: {reasons}; "
            f"loosen corpus.filters, or see corpus.plain for other ways to divide a text into documents"
        )


def finish(
    folder: Path,
    made: MadeFrom,
    text: TextReport,
    tokenizer: Tokenizer,
    encoded: Sequence[EncodedPart],
    counts: NDArray[np.int64],
) -> Manifest:
    """Write the counts, then the manifest, which makes the folder complete. Raises DataError if it would be useless.

    counts: (vocab_size,) int64, how often each id occurs in the train split.
    """
    unknown = int(counts[tokenizer.special.unk])
    if unknown and unknown == counts.sum():
        raise DataError(
            f"the tokenizer knows no word of this text: all {unknown:,} tokens are unknown; "
            f"raise tokenizer.vocab_size or lower tokenizer.min_count, or give a tokenizer of its language"
        )
    if np.count_nonzero(counts) < 2:
        raise DataError(
            f"the documents to train on make {counts.sum():,} tokens, and no two that differ: "
            f"there is nothing to learn; give more text"
        )
    manifest = Manifest(
        created_by=f"maskling {__version__}",
        vocab_size=tokenizer.vocab_size,
        dtype=dtype_name(tokenizer.vocab_size),
        tokenizer=tokenizer.fingerprint,
        unknown_tokens=unknown,
        unigram_entropy=nats.entropy(counts),
        counts=write_array(folder / COUNTS, counts),
        splits=Splits(
            train=tuple(part.train for part in encoded if part.train is not None),
            validation=tuple(part.validation for part in encoded if part.validation is not None),
        ),
        text=text,
        made_from=made,
    )
    manifest.write(folder)
    return manifest
