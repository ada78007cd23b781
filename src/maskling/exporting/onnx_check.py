"""Compare the outputs of an ONNX graph with those of its model, for several shapes, with and without padding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskling.errors import ModelError
from maskling.exporting.onnx_graph import LanguageGraph, TaskGraph, input_names
from maskling.metrics.ranking import pearson
from maskling.model.config import ModelConfig
from maskling.model.onnx import OnnxGraph, OnnxLM, OnnxPrecision
from maskling.randomness import stream

# Of a graph in fp32, absolute and relative.
GRAPH_TOLERANCE = 1e-4
# Of a graph in int8: minimum fraction of equal predictions, mean cosine of vectors, correlation of scores.
LEAST_AGREEMENT: Final = {"answers": 0.8, "vectors": 0.8, "scores": 0.9}
_ROUNDS = 3
# Number of texts, and tokens per text.
_TEXTS = (16, 64)
# Texts for a task: each has one or two predictions, where a language model fills in nine masks.
_TASK_TEXTS = 64
# A start or end is nearly the best if it loses at most this fraction of the distance from the best logit to the mean.
_NEARLY = 0.1


class Agreement(NamedTuple):
    """Agreement of a graph in int8 with its model. value: 1 is perfect; words: what it means, as a clause."""

    value: float
    words: str


def check_graph(graph: LanguageGraph | TaskGraph, whole: Path, where: str) -> None:
    """Compare the outputs of a graph and of its parts with the module's. Raises ModelError if they differ."""
    config = _config(graph)
    found = OnnxGraph(whole)
    parts = OnnxLM(config, whole) if isinstance(graph, LanguageGraph) else None
    for index, inputs in enumerate(_inputs(config)):
        expected = _outputs(graph, inputs)
        real = inputs["attention_mask"].bool()
        outputs = {name: _run(found, name, inputs, expected[name]) for name in graph.outputs}
        if parts is not None:
            hidden = parts.encode(_arrays(inputs))
            outputs["parts: last_hidden_state"] = torch.from_numpy(hidden)
            expected["parts: last_hidden_state"] = expected["last_hidden_state"]
            if not parts.headless:
                outputs["parts: logits"] = parts.predict(torch.from_numpy(hidden))
                expected["parts: logits"] = expected["logits"]
        for name, wanted in expected.items():
            got = outputs[name]
            per_token = wanted.ndim > 1 and wanted.shape[:2] == real.shape and "logits" not in _per_text(graph)
            one, other = (wanted[real], got[real]) if per_token else (wanted, got)
            if not bool(one.isfinite().all()):
                raise ModelError(f"{where} was not written: the outputs of this model include NaN or infinity")
            if got.shape != wanted.shape or not torch.allclose(one, other, rtol=GRAPH_TOLERANCE, atol=GRAPH_TOLERANCE):
                gap = float((one - other).abs().max()) if one.shape == other.shape else float("nan")
                raise ModelError(
                    f"{where} was not written: its {name} differed by {gap:.2g} from the model's for a batch of "
                    f"{' x '.join(map(str, real.shape))} tokens (batch {index}), more than {GRAPH_TOLERANCE:g}; this "
                    f"is a bug in maskling or onnxruntime"
                )


def agreement(graph: LanguageGraph | TaskGraph, whole: Path, where: str, precision: OnnxPrecision) -> Agreement:
    """Measure the agreement of a graph in int8 or fp16 with its model. Raises ModelError below `LEAST_AGREEMENT`.

    Masked tokens and task labels: the fraction of equal predictions; masked tokens in texts that the model generated
    itself. An encoder: the mean cosine of text vectors. Regression: Pearson's correlation of scores. A rank correlation
    would change with any two texts of nearly equal score, and most random texts are; a model fine-tuned on STS-B had
    0.99 here and 0.9993 on its own test pairs, and the weights of another model have about 0. Question answering: the
    fraction of starts and ends that are nearly the best for the model too, since the order of two nearly equal
    positions is arbitrary. Tasks and encoders get random tokens.
    """
    inputs, masked = _probe(graph)
    found, expected = OnnxGraph(whole), _outputs(graph, inputs)
    got = {
        name: torch.from_numpy(found.run(name, tuple(expected[name].shape), **_arrays(inputs)))
        for name in graph.outputs
    }
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
            f"{where} was not written: in {precision} {words}, below the minimum of {LEAST_AGREEMENT[kind]:g}; its "
            f"weights cannot be rounded so far, so export it without --{precision}"
        )
    return Agreement(value, words)


def _probe(graph: LanguageGraph | TaskGraph) -> tuple[dict[str, Tensor], Tensor]:
    """Return the inputs of the comparison, and which of their tokens are masked: (texts, seq) bool."""
    config = _config(graph)
    draws = stream(0, "int8 probe")
    texts = _TASK_TEXTS if isinstance(graph, TaskGraph) else _TEXTS[0]
    ids = torch.from_numpy(draws.integers(0, config.vocab_size, (texts, min(_TEXTS[1], config.max_positions))))
    masked = torch.from_numpy(draws.random(ids.shape) < 0.15)
    if isinstance(graph, LanguageGraph) and not graph.headless:
        # On random tokens all predictions are uncertain. So the model first replaces them by its own predictions, half
        # of the positions per round.
        for _ in range(_ROUNDS):
            replaced = torch.from_numpy(draws.random(ids.shape) < 0.5)
            ids = torch.where(replaced, _outputs(graph, _batch(config, ids))["logits"].argmax(-1), ids)
        ids = torch.where(masked, torch.from_numpy(draws.integers(0, config.vocab_size, ids.shape)), ids)
    return _batch(config, ids), masked


def _nearly_best(expected: Tensor, got: Tensor) -> float:
    """Return the fraction of texts where the best position in `got` is nearly the best in `expected`: (texts, seq)."""
    best, mean = expected.amax(-1), expected.mean(-1)
    chosen = expected.gather(-1, got.argmax(-1, keepdim=True)).squeeze(-1)
    return float((best - chosen <= _NEARLY * (best - mean)).double().mean())


def _config(graph: LanguageGraph | TaskGraph) -> ModelConfig:
    return graph.module.config if isinstance(graph, LanguageGraph) else graph.model.config


def _per_text(graph: LanguageGraph | TaskGraph) -> tuple[str, ...]:
    """Return the outputs with one row per text, which may have the shape of an output per token."""
    per_text = isinstance(graph, TaskGraph) and graph.model.head_config.kind not in ("tag", "answer")
    return ("logits",) if per_text else ()


def _inputs(config: ModelConfig) -> Iterator[dict[str, Tensor]]:
    """Yield batches of several shapes, with padding on the right in every row but the first."""
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
def _outputs(graph: LanguageGraph | TaskGraph, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = graph.eval()(**inputs)
    return dict(zip(graph.outputs, found if isinstance(found, tuple) else (found,), strict=True))


def _run(graph: OnnxGraph, output: str, inputs: Mapping[str, Tensor], expected: Tensor) -> Tensor:
    """Return an output of a graph, of the shape of the expected one."""
    return torch.from_numpy(graph.run(output, tuple(expected.shape), **_arrays(inputs)))


def _arrays(inputs: Mapping[str, Tensor]) -> dict[str, NDArray[np.int64]]:
    return {name: tensor.numpy() for name, tensor in inputs.items()}
