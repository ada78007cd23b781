"""The settings of Wikipedia dumps: the section [corpus.wiki]."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from maskling.config import Settings


class WikiSettings(Settings):
    """The choices in making prose from wikitext."""

    variant: Literal["zh-hans", "zh-hant", "zh-cn", "zh-tw", "zh-hk", "zh-mo", "zh-sg", "zh-my"] = Field(
        "zh-hans",
        description="Chinese variant to choose where a page marks several, -{zh-hans:..;zh-hant:..}-; without a text "
        "of its own, the nearest one. The rest of the text stays as it was written",
    )
    formulas: Literal["drop", "keep"] = Field("drop", description="formulas in <math>: leave out, or keep as TeX")
