"""Logits of a task model for texts, words and answer spans, computed by torch or by an ONNX graph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskling.arrays import Int64Array, offsets_of
from maskling.console import counted
from maskling.data.labelled.encode_texts import Windows, WordTargets
from maskling.data.shards import ragged
from maskling.errors import SettingsError
from maskling.infer.forward import BATCH_TOKENS, padded_batches
from maskling.model.attention import AttentionPattern
from maskling.model.device import Compute, Precision, to_device
from maskling.model.folder import read_config
from maskling.model.hf_config import from_hugging_face
from maskling.model.onnx import GRAPH_FILES, OnnxGraph, OnnxLM
from maskling.model.tasks.config import HeadConfig, HeadKind, has_no_task_head, head_from_hugging_face
from maskling.model.tasks.model import TaskModel

Float32Array = NDArray[np.float32]


class TaskScorer(Protocol):
    """Computes the logits of windows: a torch model, or an exported ONNX graph."""

    @property
    def head_config(self) -> HeadConfig:
        """The head that the logits are of."""
        ...

    def texts(self, windows: Windows, batch_tokens: int = BATCH_TOKENS) -> Float32Array:
        """Return (w, labels) logits per window, for classify, multi-label and regress."""
        ...

    def words(self, windows: Windows, words: WordTargets, batch_tokens: int = BATCH_TOKENS) -> Float32Array:
        """Return (n, labels) logits per word, in the order of `words`, for tag."""
        ...

    def spans(self, windows: Windows, batch_tokens: int = BATCH_TOKENS) -> Float32Array:
        """Return (t, 2) logits of starting and ending at each token, in the order of `windows.ids`, for answer."""
        ...


def window_logits(scorer: TaskScorer, windows: Windows, words: WordTargets | None, batch_tokens: int) -> Float32Array:
    """Return the logits of windows, in the form that the head has: per window, word or token.

    words: the words that each window predicts, for tag only.
    """
    match scorer.head_config.kind:
        case "tag":
            assert words is not None
            return scorer.words(windows, words, batch_tokens)
        case "answer":
            return scorer.spans(windows, batch_tokens)
        case _:
            return scorer.texts(windows, batch_tokens)


def logit_counts(kind: HeadKind, windows: Windows, words: WordTargets | None) -> Int64Array:
    """Return how many rows of `window_logits` each window has: (w,) int64."""
    match kind:
        case "tag":
            assert words is not None
            return words.count
        case "answer":
            return windows.length
        case _:
            return np.ones(len(windows), np.int64)


@dataclass(frozen=True)
class TorchTaskScorer:
    """A TaskScorer with a torch model. Windows of similar length run together, padded.

    pad: the id of [PAD].
    """

    model: TaskModel
    compute: Compute
    pad: int

    @property
    def head_config(self) -> HeadConfig:
        return self.model.head_config

    def texts(self, windows: Windows, batch_tokens: int = BATCH_TOKENS) -> Float32Array:
        logits = self._zeros(len(windows))
        with torch.inference_mode(), self.compute.autocast():
            for rows in self._rows(windows, batch_tokens):
                first = torch.from_numpy(rows.first).to(self.compute.device)
                logits[rows.indices] = _to_numpy(self.model.classify(rows.hidden, first, rows.attention_pattern))
        return logits

    def words(self, windows: Windows, words: WordTargets, batch_tokens: int = BATCH_TOKENS) -> Float32Array:
        logits = self._zeros(len(words.words))
        first = offsets_of(words.count)
        with torch.inference_mode(), self.compute.autocast():
            for rows in self._rows(windows, batch_tokens):
                positions = torch.from_numpy(words.take(rows.indices).positions(rows.first)).to(self.compute.device)
                logit_rows = ragged(first[rows.indices], words.count[rows.indices])
                logits[logit_rows] = _to_numpy(self.model.tag(rows.hidden, positions))
        return logits

    def spans(self, windows: Windows, batch_tokens: int = BATCH_TOKENS) -> Float32Array:
        logits = self._zeros(len(windows.ids))
        with torch.inference_mode(), self.compute.autocast():
            for rows in self._rows(windows, batch_tokens):
                logit_rows = ragged(windows.first[rows.indices], windows.length[rows.indices])
                logits[logit_rows] = _to_numpy(self.model.answer(rows.hidden))[rows.real]
        return logits

    def _zeros(self, count: int) -> Float32Array:
        return np.zeros((count, len(self.head_config.labels)), dtype=np.float32)

    def _rows(self, windows: Windows, batch_tokens: int) -> Iterator[_EncodedRows]:
        for rows in padded_batches(windows, self.pad, batch_tokens):
            count, longest = rows.attention_mask.shape
            positions = np.tile(np.arange(longest), (count, 1))
            attention_pattern = AttentionPattern.from_example_ids(
                torch.from_numpy(rows.attention_mask.astype(np.int32) - 1), self.compute.device
            )
            arrays = (rows.input_ids, positions, rows.token_type_ids)
            hidden = self.model(*(to_device(array, self.compute.device) for array in arrays), attention_pattern)
            first = np.arange(count, dtype=np.int64) * longest
            yield _EncodedRows(rows.indices, rows.attention_mask, first, hidden, attention_pattern)


@dataclass(frozen=True)
class _EncodedRows:
    """Encoded windows, padded side by side.

    indices: (rows,) int64, of the windows. real: (rows, longest) bool, False at padding. first: (rows,) int64, flat
    positions of their [CLS]. hidden: (rows, longest, hidden).
    """

    indices: NDArray[np.int64]
    real: NDArray[np.bool_]
    first: NDArray[np.int64]
    hidden: Tensor
    attention_pattern: AttentionPattern


def _to_numpy(logits: Tensor) -> Float32Array:
    found: Float32Array = logits.float().cpu().numpy()
    return found


@dataclass(frozen=True)
class OnnxTaskScorer:
    """A TaskScorer with an ONNX graph. pad: the id of [PAD]."""

    graph: OnnxGraph
    head_config: HeadConfig
    pad: int

    def texts(self, windows: Windows, batch_tokens: int = BATCH_TOKENS) -> Float32Array:
        logits = self._zeros(len(windows))
        for indices, _, inputs in self._batches(windows, batch_tokens):
            logits[indices] = self.graph.run("logits", (len(indices), logits.shape[1]), **inputs)
        return logits

    def words(self, windows: Windows, words: WordTargets, batch_tokens: int = BATCH_TOKENS) -> Float32Array:
        logits = self._zeros(len(words.words))
        first = offsets_of(words.count)
        for indices, real, inputs in self._batches(windows, batch_tokens):
            found = self.graph.run("logits", (*real.shape, logits.shape[1]), **inputs).reshape(-1, logits.shape[1])
            at = words.take(indices).positions(np.arange(len(indices)) * real.shape[1])
            logits[ragged(first[indices], words.count[indices])] = found[at]
        return logits

    def spans(self, windows: Windows, batch_tokens: int = BATCH_TOKENS) -> Float32Array:
        logits = self._zeros(len(windows.ids))
        for indices, real, inputs in self._batches(windows, batch_tokens):
            logit_rows = ragged(windows.first[indices], windows.length[indices])
            for end, name in enumerate(("start_logits", "end_logits")):
                logits[logit_rows, end] = self.graph.run(name, real.shape, **inputs)[real]
        return logits

    def _zeros(self, count: int) -> Float32Array:
        return np.zeros((count, len(self.head_config.labels)), dtype=np.float32)

    def _batches(
        self, windows: Windows, batch_tokens: int
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_], dict[str, NDArray[np.int64]]]]:
        """Yield indices of windows, where their tokens are, and the inputs of the graph."""
        for rows in padded_batches(windows, self.pad, batch_tokens):
            inputs = {
                "input_ids": rows.input_ids,
                "attention_mask": rows.attention_mask.astype(np.int64),
                "token_type_ids": rows.token_type_ids,
            }
            yield rows.indices, rows.attention_mask, inputs


class OpenedOnnx(NamedTuple):
    """The contents of a folder with an ONNX graph: a language model, or a model with a task head."""

    module: OnnxLM
    scorer: OnnxTaskScorer | None
    compute: Compute


def open_onnx(folder: Path, graph: Path, device: str, dtype: Precision) -> OpenedOnnx:
    """Open the graph `graph` of a model folder.

    Raises SettingsError for a device other than the CPU, ModelError for a graph that does not fit its folder,
    MissingExtra without onnxruntime.
    """
    if device not in ("auto", "cpu") or dtype == "bf16":
        wanted = dtype if dtype == "bf16" else device
        raise SettingsError(
            f"{folder} is an ONNX model, which runs on the CPU in the precision of its export, not on {wanted}; "
            f"use the model it was made from"
        )
    kind = next(precision for precision, name in GRAPH_FILES.items() if name == graph.name)
    words = f"cpu, {counted(torch.get_num_threads(), 'thread')}, onnxruntime {kind}"
    compute = Compute(torch.device("cpu"), torch.float32, words)
    tree = read_config(folder)
    config = from_hugging_face(tree, str(folder))
    head = None if has_no_task_head(tree) else head_from_hugging_face(tree, _shapes(tree), str(folder))
    if head is None:
        return OpenedOnnx(OnnxLM(config, graph), None, compute)
    return OpenedOnnx(OnnxLM(config, None), OnnxTaskScorer(OnnxGraph(graph), head, config.pad_id), compute)


def _shapes(tree: dict[str, object]) -> dict[str, list[int]]:
    """Return the shape of the last layer by config.json, as the graph does not name its weights like transformers."""
    labels = tree.get("id2label")
    count = len(labels) if isinstance(labels, dict) else 2
    return {
        "qa_outputs.weight" if "QuestionAnswering" in str(tree.get("architectures")) else "classifier.weight": [count]
    }
