"""How the vectors of a model are meant to be made, where its folder says so as Sentence-Transformers does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from maskling.errors import ModelError
from maskling.infer.embed import Pooling


def own_pooling(folder: Path) -> Pooling:
    """The pooling that modules.json and 1_Pooling/config.json name; the mean where there is neither.

    Raises ModelError for one that is not done here, as its vectors would be others than the model was trained for.
    """
    for module in _json(folder / "modules.json", []):
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind not in ("Transformer", "Pooling", "Normalize"):
            raise ModelError(f"{folder}/modules.json has a layer of the kind {kind}, which is not calculated here")
    said = _json(folder / "1_Pooling" / "config.json", {})
    named = said.get("pooling_mode")  # sentence-transformers 6; a list of names, or one
    modes = [named] if isinstance(named, str) else list(named or ())
    modes += [key.removeprefix("pooling_mode_") for key, on in said.items() if key.startswith("pooling_mode_") and on]
    if modes in ([], ["mean"], ["mean_tokens"]):
        return "mean"
    if modes in (["cls"], ["cls_token"]):
        return "cls"
    raise ModelError(f"{folder}/1_Pooling asks for {' and '.join(modes)}; only mean and cls are calculated here")


def _json(path: Path, default: Any) -> Any:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return default
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from None
    if not isinstance(found, type(default)):
        raise ModelError(f"{path} does not hold what Sentence-Transformers writes; copy the folder again, whole")
    return found
