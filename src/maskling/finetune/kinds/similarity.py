"""Vectors of texts: near where the texts say the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from maskling.finetune.kinds.kind import AnyKind
from maskling.train.task import TrainingData

if TYPE_CHECKING:
    from maskling.finetune.recipe import FinetuneRecipe


class Similarity(AnyKind):
    """Vectors whose cosine says how alike two texts are; no head, the encoder itself is trained.

    What the training file holds decides how. Pairs: each text is to find its partner among all of the step (van den
    Oord et al. 2018; Henderson et al. 2017). Pairs with a score: their cosines are to be in the order of the scores
    (CoSENT, Su 2022). Text alone: each sentence is to find itself under another dropout (SimCSE, Gao et al. 2021).
    """

    # Others of the step are what a text is told from, so that more of them teach more.
    usual: ClassVar[Mapping[str, Mapping[str, Any]]] = {"train": {"batch_size": 64}}

    kind: Literal["similarity"] = "similarity"
    temperature: float = Field(
        0.05, gt=0, description="what cosines are divided by; lower looks harder at the nearest wrong texts"
    )
    unit: Literal["sentence", "document"] = Field(
        "sentence", description="of text without pairs: what gets a vector; a document is a line in a .txt"
    )
    min_characters: int = Field(10, ge=1, description="of text without pairs: shorter pieces are left out")

    def open(self, recipe: FinetuneRecipe) -> TrainingData[FinetuneRecipe]:
        """See AnyKind."""
        from maskling.finetune.similarity import SimilarTexts

        return SimilarTexts(recipe, self)
