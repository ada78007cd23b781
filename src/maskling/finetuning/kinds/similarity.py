"""Text vectors: close together if the texts have the same meaning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from maskling.finetuning.kinds.kind import TaskSettings


class Similarity(TaskSettings):
    """Vectors whose cosine is the similarity of two texts; there is no head, the encoder itself is trained.

    The training file decides the loss. Pairs: each text is to find its positive among those of all texts of the step,
    the in-batch negatives (van den Oord et al. 2018; Henderson et al. 2017). Pairs with a score: their cosines are to
    be in the order of the scores (CoSENT, Su 2022). Text alone: each sentence is to find itself under another dropout
    mask (SimCSE, Gao et al. 2021).
    """

    # The other texts of a step are the negatives, so more of them are a harder task.
    usual: ClassVar[Mapping[str, Mapping[str, Any]]] = {"train": {"batch_size": 64}}

    kind: Literal["similarity"] = "similarity"
    temperature: float = Field(
        0.05, gt=0, description="divisor of cosines; a lower one weighs the nearest negatives more"
    )
    unit: Literal["sentence", "document"] = Field(
        "sentence", description="for text without pairs: what gets a vector; a document is a line in a .txt"
    )
    min_characters: int = Field(10, ge=1, description="for text without pairs: shorter pieces are left out")
