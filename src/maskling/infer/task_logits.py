"""Sequences through a task model: logits for texts, words, and places of answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskling.console import counted
from maskling.data.labelled.encode_texts import Windows, WordTargets
from maskling.data.shards import ragged
from maskling.errors import SettingsError
from maskling.infer.forward import BATCH_TOKENS, laid
from maskling.model.attention import AttentionPattern
from maskling.model.device import Compute, Precision, to_device
from maskling.model.folder import read_config
from maskling.model.hf_config import from_hugging_face
from maskling.model.onnx import OnnxGraph, OnnxLM
from maskling.model.tasks.config import HeadConfig, has_no_task_head, head_of
from maskling.model.tasks.model import TaskModel

# FOLDED DOCS
# [onnx] Folders with an ONNX graph, put to use as the others are.


Float32Array = NDArray[np.float32]


class TaskScorer(Protocol):
    """Whatever gives logits to sequences: a task model here, one that was exported elsewhere."""

    @property
    def head_config(self) -> HeadConfig:
        """What its logits are for."""
        ...

    def texts(self, windows: Windows, batch_tokens: int = BATCH_TOKENS) -> Float32Array:
        """For classify, multi-label, regress: (w, labels) logits of each sequence."""
        ...

    def words(self, windows: Windows, words: WordTargets, batch_tokens: int = BATCH_TOKENS) -> Float32Array:
        """For tag: (n, labels) logits of each word, in the order of `words`."""
        ...

    def spans(self, windows: Windows, batch_tokens: int = BATCH_TOKENS) -> Float32Array:
        """For answer: (t, 2) logits of starting and ending at each token, in the order of `windows.ids`."""
        ...


@dataclass(frozen=True)
class TorchTaskScorer:
    """A Judge that is a task model. Sequences of about one length run together, padded.

    pad: the id of [PAD].
    """

    model: TaskModel
    compute: Compute
    pad: int

    @property
    def head_config(self) -> HeadConfig:
        """See Judge."""
        return self.model.head_config

    def texts(self, windows: Windows, batch_tokens: int = BATCH_TOKENS) -> Float32Array:
        """See Judge."""
        logits = self._nothing(len(windows))
        with torch.inference_mode(), self.compute.autocast():
            for rows in self._rows(windows, batch_tokens):
                first = torch.from_numpy(rows.first).to(self.compute.device)
                logits[rows.numbers] = _numbers(self.model.classify(rows.hidden, first, rows.visible))
        return logits

    def words(self, windows: Windows, words: WordTargets, batch_tokens: int = BATCH_TOKENS) -> Float32Array:
        """See Judge."""
        logits = self._nothing(len(words.words))
        first = np.cumsum(words.count) - words.count
        with torch.inference_mode(), self.compute.autocast():
            for rows in self._rows(windows, batch_tokens):
                positions = torch.from_numpy(words.take(rows.numbers).positions(rows.first)).to(self.compute.device)
                places = ragged(first[rows.numbers], words.count[rows.numbers])
                logits[places] = _numbers(self.model.tag(rows.hidden, positions))
        return logits

    def spans(self, windows: Windows, batch_tokens: int = BATCH_TOKENS) -> Float32Array:
        """See Judge."""
        logits = self._nothing(len(windows.ids))
        with torch.inference_mode(), self.compute.autocast():
            for rows in self._rows(windows, batch_tokens):
                places = ragged(windows.first[rows.numbers], windows.length[rows.numbers])
                logits[places] = _numbers(self.model.answer(rows.hidden))[rows.real]
        return logits

    def _nothing(self, count: int) -> Float32Array:
        return np.zeros((count, len(self.head_config.labels)), dtype=np.float32)

    def _rows(self, windows: Windows, batch_tokens: int) -> Iterator[_Rows]:
        for rows in laid(windows, self.pad, batch_tokens):
            count, longest = rows.real.shape
            positions = np.tile(np.arange(longest), (count, 1))
            visible = AttentionPattern.from_example_ids(
                torch.from_numpy(rows.real.astype(np.int32) - 1), self.compute.device
            )
            arrays = (rows.input_ids, positions, rows.token_type_ids)
            hidden = self.model(*(to_device(array, self.compute.device) for array in arrays), visible)
            first = np.arange(count, dtype=np.int64) * longest
            yield _Rows(rows.numbers, rows.real, first, hidden, visible)


@dataclass(frozen=True)
class _Rows:
    """Some sequences, encoded.

    numbers: (rows,) which they are; real: (rows, longest) bool, False at padding; first: (rows,) flat places of their
    [CLS]; hidden: (rows, longest, hidden).
    """

    numbers: NDArray[np.int64]
    real: NDArray[np.bool_]
    first: NDArray[np.int64]
    hidden: Tensor
    visible: AttentionPattern


def _numbers(logits: Tensor) -> Float32Array:
    found: Float32Array = logits.float().cpu().numpy()
    return found


@dataclass(frozen=True)
class OnnxJudge:
    """A Judge that is a graph. pad: the id of [PAD]."""

    graph: OnnxGraph
    head_config: HeadConfig
    pad: int

    def texts(self, windows: Windows, batch_tokens: int = BATCH_TOKENS) -> Float32Array:
        """See Judge."""
        logits = self._nothing(len(windows))
        for numbers, _, inputs in self._batches(windows, batch_tokens):
            logits[numbers] = self.graph.run("logits", **inputs)
        return logits

    def words(self, windows: Windows, words: WordTargets, batch_tokens: int = BATCH_TOKENS) -> Float32Array:
        """See Judge."""
        logits = self._nothing(len(words.words))
        first = np.cumsum(words.count) - words.count
        for numbers, real, inputs in self._batches(windows, batch_tokens):
            found = self.graph.run("logits", **inputs).reshape(-1, len(self.head_config.labels))
            at = words.take(numbers).positions(np.arange(len(numbers)) * real.shape[1])
            logits[ragged(first[numbers], words.count[numbers])] = found[at]
        return logits

    def spans(self, windows: Windows, batch_tokens: int = BATCH_TOKENS) -> Float32Array:
        """See Judge."""
        logits = self._nothing(len(windows.ids))
        for numbers, real, inputs in self._batches(windows, batch_tokens):
            places = ragged(windows.first[numbers], windows.length[numbers])
            for end, name in enumerate(("start_logits", "end_logits")):
                logits[places, end] = self.graph.run(name, **inputs)[real]
        return logits

    def _nothing(self, count: int) -> Float32Array:
        return np.zeros((count, len(self.head_config.labels)), dtype=np.float32)

    def _batches(
        self, windows: Windows, batch_tokens: int
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_], dict[str, NDArray[np.int64]]]]:
        """Numbers of sequences, where their tokens are, and the inputs of the graph."""
        for rows in laid(windows, self.pad, batch_tokens):
            seen = rows.real.astype(np.int64)
            inputs = {"input_ids": rows.input_ids, "attention_mask": seen, "token_type_ids": rows.token_type_ids}
            yield rows.numbers, rows.real, inputs


class OpenedOnnx(NamedTuple):
    """What a folder with a graph holds: a language model or a judge, and where it is calculated."""

    module: OnnxLM
    judge: OnnxJudge | None
    compute: Compute


def open_onnx(folder: Path, whole: Path, device: str, dtype: Precision) -> OpenedOnnx:
    """Open the graph `whole` of a model folder.

    Raises SettingsError for another device than the CPU, ModelError for a graph that does not fit its folder,
    MissingExtra without onnxruntime.
    """
    if device not in ("auto", "cpu") or dtype == "bf16":
        wanted = dtype if dtype == "bf16" else device
        raise SettingsError(
            f"{folder} is an ONNX model, which runs on the CPU as it was exported, not on {wanted}; "
            f"use the model it was made from"
        )
    kind = "int8" if "quantized" in whole.name else "fp32"
    words = f"cpu, {counted(torch.get_num_threads(), 'thread')}, onnxruntime {kind}"
    compute = Compute(torch.device("cpu"), torch.float32, words)
    tree = read_config(folder)
    config = from_hugging_face(tree, str(folder))
    head = None if has_no_task_head(tree) else head_of(tree, _shapes(tree), str(folder))
    if head is None:
        return OpenedOnnx(OnnxLM(config, whole), None, compute)
    return OpenedOnnx(OnnxLM(config, None), OnnxJudge(OnnxGraph(whole), head, config.pad_id), compute)


def _shapes(tree: dict[str, object]) -> dict[str, list[int]]:
    """The shape of the last layer as config.json has it: the graph's own file does not name its weights so."""
    labels = tree.get("id2label")
    count = len(labels) if isinstance(labels, dict) else 2
    return {
        "qa_outputs.weight" if "QuestionAnswering" in str(tree.get("architectures")) else "classifier.weight": [count]
    }
