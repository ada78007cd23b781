"""Whether a graph says what the model says that it was made from: at random shapes, with and without padding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskling.errors import ModelError
from maskling.export.onnx_graph import LanguageGraph, TaskGraph, input_names
from maskling.metrics.ranking import pearson
from maskling.model.config import ModelConfig
from maskling.model.onnx import OnnxGraph, OnnxLM
from maskling.randomness import stream

TOLERANCE = 1e-4
# Of int8: below this share of equal answers, this cosine of vectors, this correlation of scores, something is broken.
LEAST_AGREEMENT: Final = {"answers": 0.8, "vectors": 0.8, "scores": 0.9}
_ROUNDS = 3
_TEXTS = (16, 64)
# Texts for a task: of each a model says one thing or two, where a language model fills in nine masks.
_TASK_TEXTS = 64
# How much of the way from the best place down to the mean of all places a start or an end may lose.
_NEARLY = 0.1


class Agreement(NamedTuple):
    """How near a graph in int8 is to its model: 1 is the same. words: what `value` is, for a person."""

    value: float
    words: str


def check_graph(graph: LanguageGraph | TaskGraph, whole: Path, where: str) -> None:
    """Compare the graph in `whole`, and its parts, with the module. Raises ModelError where they differ."""
    config = _config(graph)
    found = OnnxGraph(whole)
    parts = OnnxLM(config, whole) if isinstance(graph, LanguageGraph) else None
    for number, inputs in enumerate(_inputs(config)):
        expected = _answers(graph, inputs)
        real = inputs["attention_mask"].bool()
        answers = {name: torch.from_numpy(found.run(name, **_arrays(inputs))) for name in graph.outputs}
        if parts is not None:
            hidden = parts.encode(_arrays(inputs))
            answers["parts: last_hidden_state"] = torch.from_numpy(hidden)
            expected["parts: last_hidden_state"] = expected["last_hidden_state"]
            if not parts.headless:
                answers["parts: logits"] = parts.predict(torch.from_numpy(hidden))
                expected["parts: logits"] = expected["logits"]
        for name, wanted in expected.items():
            got = answers[name]
            per_token = wanted.ndim > 1 and wanted.shape[:2] == real.shape and "logits" not in _per_text(graph)
            one, other = (wanted[real], got[real]) if per_token else (wanted, got)
            if not bool(one.isfinite().all()):
                raise ModelError(f"{where} was not written: the answers of this model are not all numbers")
            if got.shape != wanted.shape or not torch.allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE):
                gap = float((one - other).abs().max()) if one.shape == other.shape else float("nan")
                raise ModelError(
                    f"{where} was not written: its {name} differed by {gap:.2g} from the model's for a batch of "
                    f"{' x '.join(map(str, real.shape))} tokens (number {number}), more than {TOLERANCE:g}; this is a "
                    f"fault of maskling or of onnxruntime"
                )


def agreement(graph: LanguageGraph | TaskGraph, whole: Path, where: str) -> Agreement:
    """How near a graph in int8 comes to the model.

    The share of equal answers: of masked tokens in texts that the model itself made up, or of a task's labels. For an
    encoder alone the mean cosine of text vectors. For scores Pearson's correlation: their order would change with any
    two texts that are nearly alike, and most random ones are; the model that was tried (STS-B) had 0.99 here and 0.9993
    on its own test pairs, and weights of another model have some 0. For answers the share of starts and ends that are
    nearly the best to the model as well, as which of two places leads by a hair says nothing either. Tasks and encoders
    are asked about random tokens. Raises ModelError below `LEAST_AGREEMENT`.
    """
    inputs, masked = _probe(graph)
    found, expected = OnnxGraph(whole), _answers(graph, inputs)
    got = {name: torch.from_numpy(found.run(name, **_arrays(inputs))) for name in graph.outputs}
    kind, value = "answers", 0.0
    if isinstance(graph, TaskGraph) and graph.model.head_config.kind == "regress":
        kind, value = "scores", pearson(expected["logits"].flatten().numpy(), got["logits"].flatten().numpy())
    elif isinstance(graph, TaskGraph) and graph.model.head_config.kind == "answer":
        value = float(np.mean([_nearly_best(expected[name], got[name]) for name in graph.outputs]))
    elif isinstance(graph, LanguageGraph) and graph.headless:
        one, other = (states["last_hidden_state"].mean(1) for states in (expected, got))
        kind, value = "vectors", float(torch.nn.functional.cosine_similarity(one, other).mean())
    else:
        same = expected["logits"].argmax(-1) == got["logits"].argmax(-1)
        value = float((same[masked] if isinstance(graph, LanguageGraph) else same).double().mean())
    words = {
        "answers": f"{100 * value:.1f}% of its answers are those of the model",
        "vectors": f"its vectors have a mean cosine of {value:.3f} with those of the model",
        "scores": f"its scores have a correlation of {value:.3f} with those of the model",
    }[kind]
    if not value >= LEAST_AGREEMENT[kind]:
        raise ModelError(
            f"{where} was not written: in int8 {words}, and {LEAST_AGREEMENT[kind]:g} is the least that is taken; its "
            f"weights do not bear rounding to bytes, so export it without --int8"
        )
    return Agreement(value, words)


def _probe(graph: LanguageGraph | TaskGraph) -> tuple[dict[str, Tensor], Tensor]:
    """What a graph in int8 is asked, and where tokens are masked in it: (texts, seq) bool."""
    config = _config(graph)
    draws = stream(0, "int8 probe")
    texts = _TASK_TEXTS if isinstance(graph, TaskGraph) else _TEXTS[0]
    ids = torch.from_numpy(draws.integers(0, config.vocab_size, (texts, min(_TEXTS[1], config.max_positions))))
    masked = torch.from_numpy(draws.random(ids.shape) < 0.15)
    if isinstance(graph, LanguageGraph) and not graph.headless:
        # Random tokens are no text, and about no text a model has firm opinions. So it writes over them, half of the
        # places at a time, what it finds likeliest there.
        for _ in range(_ROUNDS):
            again = torch.from_numpy(draws.random(ids.shape) < 0.5)
            ids = torch.where(again, _answers(graph, _batch(config, ids))["logits"].argmax(-1), ids)
        ids = torch.where(masked, torch.from_numpy(draws.integers(0, config.vocab_size, ids.shape)), ids)
    return _batch(config, ids), masked


def _nearly_best(expected: Tensor, got: Tensor) -> float:
    """The share of texts where the best place of `got` is nearly the best of `expected`: (texts, seq) logits both."""
    best, mean = expected.amax(-1), expected.mean(-1)
    chosen = expected.gather(-1, got.argmax(-1, keepdim=True)).squeeze(-1)
    return float((best - chosen <= _NEARLY * (best - mean)).double().mean())


def _config(graph: LanguageGraph | TaskGraph) -> ModelConfig:
    return graph.module.config if isinstance(graph, LanguageGraph) else graph.model.config


def _per_text(graph: LanguageGraph | TaskGraph) -> tuple[str, ...]:
    """Outputs that have one row for a text, whatever their other sizes look like."""
    one_each = isinstance(graph, TaskGraph) and graph.model.head_config.kind not in ("tag", "answer")
    return ("logits",) if one_each else ()


def _inputs(config: ModelConfig) -> Iterator[dict[str, Tensor]]:
    """Batches of several shapes, each row padded on the right but the first."""
    draws = stream(0, "onnx probe")
    longest = min(config.max_positions, 160)
    for rows, seq in ((1, 2), (1, longest), (3, min(17, longest)), (5, min(37, longest)), (2, longest)):
        ids = torch.from_numpy(draws.integers(0, config.vocab_size, (rows, seq)))
        lengths = torch.from_numpy(draws.integers(1, seq + 1, rows))
        lengths[0] = seq
        mask = (torch.arange(seq) < lengths[:, None]).long()
        types = (torch.arange(seq) >= lengths[:, None] // 2).long() * mask
        yield _batch(config, ids, mask, types)


def _batch(
    config: ModelConfig, ids: Tensor, mask: Tensor | None = None, types: Tensor | None = None
) -> dict[str, Tensor]:
    mask = torch.ones_like(ids) if mask is None else mask
    types = torch.zeros_like(ids) if types is None else types.clamp_max(getattr(config, "type_vocab_size", 1) - 1)
    every = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    return {name: every[name] for name in input_names(config)}


@torch.no_grad()
def _answers(graph: LanguageGraph | TaskGraph, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = graph.eval()(**inputs)
    return dict(zip(graph.outputs, found if isinstance(found, tuple) else (found,), strict=True))


def _arrays(inputs: Mapping[str, Tensor]) -> dict[str, NDArray[np.int64]]:
    return {name: tensor.numpy() for name, tensor in inputs.items()}
