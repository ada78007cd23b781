"""Folders with an ONNX graph, put to use as the others are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from maskling.console import counted
from maskling.data.labelled.targets import WordTargets
from maskling.data.labelled.windows import Windows
from maskling.data.shards import ragged
from maskling.errors import SettingsError
from maskling.infer.judge import Float32Array
from maskling.infer.rows import BATCH_TOKENS, laid
from maskling.model.device import Compute, Precision
from maskling.model.folder import read_config
from maskling.model.hugging_face import from_hugging_face
from maskling.model.onnx_lm import OnnxLM
from maskling.model.onnx_session import OnnxGraph
from maskling.model.tasks.config import HeadConfig, head_of, surely_headless


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
    head = None if surely_headless(tree) else head_of(tree, _shapes(tree), str(folder))
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
