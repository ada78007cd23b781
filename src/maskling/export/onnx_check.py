"""Whether a graph says what the model says that it was made from: at random shapes, with and without padding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskling.errors import ModelError
from maskling.export.onnx_graph import LanguageGraph, TaskGraph, input_names
from maskling.model.config import ModelConfig
from maskling.model.onnx_lm import OnnxLM
from maskling.model.onnx_session import OnnxGraph
from maskling.randomness import stream

TOLERANCE = 1e-4
# Of int8: below this share of equal answers, or this cosine of encoders' vectors, something is broken.
LEAST_AGREEMENT = 0.8
_ROUNDS = 3
_TEXTS = (16, 64)


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


def agreement(graph: LanguageGraph | TaskGraph, whole: Path, where: str) -> float:
    """How often a graph in int8 gives the answer that the model gives, as a fraction.

    Of masked tokens in texts that the model itself made up; for an encoder alone the mean cosine of text vectors, for
    a task its labels, both on random tokens. Raises ModelError below `LEAST_AGREEMENT`.
    """
    found = OnnxGraph(whole)
    config = _config(graph)
    draws = stream(0, "int8 probe")
    ids = torch.from_numpy(draws.integers(0, config.vocab_size, (_TEXTS[0], min(_TEXTS[1], config.max_positions))))
    masked = torch.from_numpy(draws.random(ids.shape) < 0.15)
    if isinstance(graph, LanguageGraph) and not graph.headless:
        # Random tokens are no text, and about no text a model has firm opinions. So it writes over them, half of the
        # places at a time, what it finds likeliest there.
        for _ in range(_ROUNDS):
            again = torch.from_numpy(draws.random(ids.shape) < 0.5)
            ids = torch.where(again, _answers(graph, _batch(config, ids))["logits"].argmax(-1), ids)
        ids = torch.where(masked, torch.from_numpy(draws.integers(0, config.vocab_size, ids.shape)), ids)
    inputs = _batch(config, ids)
    name = graph.outputs[0]
    expected, got = _answers(graph, inputs)[name], torch.from_numpy(found.run(name, **_arrays(inputs)))
    if name == "last_hidden_state":
        share = float(torch.nn.functional.cosine_similarity(expected.mean(1), got.mean(1)).mean())
    else:
        same = expected.argmax(-1) == got.argmax(-1)
        if expected.shape[-1] == 1:  # a number: right is whoever orders the texts alike
            same = torch.argsort(expected.flatten()) == torch.argsort(got.flatten())
        elif isinstance(graph, LanguageGraph):
            same = same[masked]
        share = float(same.double().mean())
    if not share >= LEAST_AGREEMENT:
        raise ModelError(
            f"{where} was not written: in int8 only {100 * share:.0f}% of the answers are the model's; its weights do "
            f"not bear rounding to bytes, so export it without --int8"
        )
    return share


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
