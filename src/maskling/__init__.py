"""maskling: a masked language model of your own, from the text you have, on the hardware you have.

    import maskling

    maskling.prepare("books/", "data/", settings={"tokenizer.vocab_size": 16_000}).result()
    for event in maskling.pretrain("data/", "runs/mine", preset="small", budget="30m"):
        print(event)
    model = maskling.load("runs/mine")
    model.fill("The quick brown [MASK] jumps over the lazy dog.")

Each function does what a command does: `prepare`, `pretrain` (`maskling train`), `finetune`, `evaluate`, `compare`,
`export` and `serve_app` (`maskling serve`); `load` opens a model for filling masks, embeddings and the rest, and
`to_pandas` and `to_dicts` make a table of their results. `show` runs a job with progress, and with curves in a
notebook. `Recipe` holds every setting of a pretraining run, `Tokenizer` reads and writes any tokenizer folder, and the
classes of events are what `prepare`, `pretrain` and `finetune` yield. Everything else may move between releases.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from maskling.api import (
    compare,
    evaluate,
    evaluate_labelled,
    evaluate_pairs,
    export,
    finetune,
    load,
    prepare,
    pretrain,
    serve_app,
)
from maskling.job import Job
from maskling.threads import stop_openmp_spinning
from maskling.version import __version__

if TYPE_CHECKING:
    from maskling.data.prepare.events import Prepared
    from maskling.errors import MasklingError
    from maskling.infer.frames import to_dicts, to_pandas
    from maskling.infer.model import Model
    from maskling.notebook import show
    from maskling.tokenizer.tokenizer import Tokenizer
    from maskling.train.events import Evaluated, Evaluating, FinalMetrics, Finished, Saved, Started, Step, Warned
    from maskling.train.recipe import Recipe

# OpenMP reads its settings once, when torch is loaded; this is the last point that is certainly before that.
stop_openmp_spinning()

# Classes and functions, imported on first use so that `import maskling` loads nothing heavy.
_CLASSES = {
    "Evaluated": "maskling.train.events",
    "Evaluating": "maskling.train.events",
    "FinalMetrics": "maskling.train.events",
    "Finished": "maskling.train.events",
    "MasklingError": "maskling.errors",
    "Model": "maskling.infer.model",
    "Prepared": "maskling.data.prepare.events",
    "Recipe": "maskling.train.recipe",
    "Saved": "maskling.train.events",
    "Started": "maskling.train.events",
    "Step": "maskling.train.events",
    "Tokenizer": "maskling.tokenizer.tokenizer",
    "Warned": "maskling.train.events",
    "show": "maskling.notebook",
    "to_dicts": "maskling.infer.frames",
    "to_pandas": "maskling.infer.frames",
}

__all__ = [
    "Evaluated",
    "Evaluating",
    "FinalMetrics",
    "Finished",
    "Job",
    "MasklingError",
    "Model",
    "Prepared",
    "Recipe",
    "Saved",
    "Started",
    "Step",
    "Tokenizer",
    "Warned",
    "__version__",
    "compare",
    "evaluate",
    "evaluate_labelled",
    "evaluate_pairs",
    "export",
    "finetune",
    "load",
    "prepare",
    "pretrain",
    "serve_app",
    "show",
    "to_dicts",
    "to_pandas",
]


def __getattr__(name: str) -> Any:
    if name in _CLASSES:
        return getattr(import_module(_CLASSES[name]), name)
    raise AttributeError(f"module 'maskling' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
