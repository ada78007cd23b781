"""What classes and numbers for texts share: windows of a long text, averaged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maskling.data.labelled.targets import NoTargets, Targets
from maskling.data.labelled.text_windows import encode_texts
from maskling.data.labelled.windows import Windows
from maskling.finetune.kinds.kind import Encoded, Kind, Logits, Outputs, Records
from maskling.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from maskling.infer.judge import Judge


def are_pairs(records: Records) -> bool:
    """Whether the records are pairs of texts, as all are or none."""
    return records[0].text_pair is not None


class TextKind(Kind, ABC):
    """Something said of a whole text, or of a pair."""

    @abstractmethod
    def targets(self, records: Records, outputs: Outputs, windows: Windows) -> Targets:
        """What is to be learnt of each window."""

    def encode(
        self, records: Records, tokenizer: Tokenizer, max_length: int, outputs: Outputs, targets: bool
    ) -> Encoded:
        """See Kind. A long text becomes several windows; of a pair that is too long, the longer text is cut."""
        made = encode_texts(records, tokenizer, max_length)
        learnt = self.targets(records, outputs, made.windows) if targets else NoTargets()
        return Encoded(made.windows, learnt, None, made.cut)

    def logits(self, judge: Judge, windows: Windows, more: Any, batch_tokens: int) -> Logits:  # noqa: ARG002
        """See Kind: (windows, labels)."""
        return judge.texts(windows, batch_tokens)

    def part(self, encoded: Encoded, which: NDArray[np.int64]) -> tuple[Windows, Any, NDArray[np.int64]]:
        """See Kind."""
        return encoded.windows.take(which), None, which

    def size(self, encoded: Encoded) -> int:
        """See Kind."""
        return len(encoded.windows)
