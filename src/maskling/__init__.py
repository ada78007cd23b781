"""maskling: a masked language model of your own, from the text you have, on the hardware you have."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from maskling.threads import stop_openmp_spinning
from maskling.version import __version__

if TYPE_CHECKING:
    from maskling.infer.model import load
    from maskling.train.pretrain import pretrain
    from maskling.train.recipe import Recipe

# OpenMP reads this once, when torch is loaded; this is the last place that is surely before that.
stop_openmp_spinning()

# Public names, resolved on first use so that `import maskling` stays light.
_WHERE = {
    "load": "maskling.infer.model",
    "pretrain": "maskling.train.pretrain",
    "Recipe": "maskling.train.recipe",
}

__all__ = ["Recipe", "__version__", "load", "pretrain"]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'maskling' has no attribute {name!r}")
