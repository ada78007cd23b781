"""Results as rows of plain values, for a table such as a DataFrame of pandas, which is optional."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from maskling.errors import MissingExtra, SettingsError
from maskling.infer.attention_maps import AttentionMaps
from maskling.infer.generate import Generated
from maskling.infer.results import Answered, FilledMasks, FilledTogether, Label, Labels, Number, Tagged
from maskling.infer.score import ScoredText
from maskling.infer.search import Hit

if TYPE_CHECKING:
    from pandas import DataFrame


def to_dicts(results: Any) -> list[dict[str, Any]]:
    """Return the results of a method of `Model` as rows of plain values, best first, one result or a list of them.

    One row per candidate of a mask, filling, scored text, hit, generated text, prediction, tagged word, or attention
    head. Of a list of results each row says of which one it is: 'index', counted from 0.

    Raises SettingsError for anything else.
    """
    rows = _rows(results)
    if rows is not None:
        return rows
    if not isinstance(results, Iterable) or isinstance(results, str | bytes | Mapping):
        raise SettingsError(f"{type(results).__name__} is not a result of fill, score, search, generate or predict")
    found = []
    for index, one in enumerate(results):
        inner = [hit for hits in one for hit in to_dicts(hits)] if isinstance(one, list) else _rows(one)
        if inner is None:
            raise SettingsError(
                f"item {index} is {type(one).__name__}, not a result of fill, score, search, generate or predict"
            )
        found += [{"index": index, **row} for row in inner]
    return found


def to_pandas(results: Any) -> DataFrame:
    """Return the results of a method of `Model` as a DataFrame, with the rows of `to_dicts`.

    Raises SettingsError for anything else, MissingExtra if pandas is not installed.

    Example: maskling.to_pandas(model.fill(["The [MASK] barks.", "A [MASK] sleeps."]))
    """
    try:
        import pandas
    except ModuleNotFoundError:
        raise MissingExtra("pandas", "pandas", "to_pandas") from None
    return pandas.DataFrame(to_dicts(results))


def _rows(result: Any) -> list[dict[str, Any]] | None:
    """Return the rows of one result, None if it is not one."""
    match result:
        case FilledMasks():
            return [
                {
                    "text": result.text,
                    "mask": mask,
                    "word": one.word,
                    "probability": one.probability,
                    "filled": one.text,
                }
                for mask, candidates in enumerate(result)
                for one in candidates
            ]
        case FilledTogether():
            return [
                {"text": result.text, "words": list(one.words), "probability": one.probability, "filled": one.text}
                for one in result
            ]
        case Tagged():
            return [asdict(word) for word in result.words]
        case Answered():
            return [
                {name: getattr(result, name) for name in ("text", "start", "end", "score", "no_answer")},
            ]
        case AttentionMaps():
            return result.summary()
        case Label() | Labels() | Number() | Generated() | ScoredText() | Hit():
            return [dict(result.as_dict())]
        case _:
            return None
