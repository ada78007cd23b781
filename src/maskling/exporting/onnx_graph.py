"""Trace a module into an ONNX graph for batches and sequences of any size with padding, and split off its parts.

Other tools need one graph from ids to logits. maskling runs the encoder and the head as separate graphs, the head at
masked positions only: at every position it would be most of the work of a small model. ONNX lets a graph keep its
weights at an offset in another file; for the parts this is the file of the whole graph.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from maskling.errors import MissingExtra, ModelError
from maskling.exporting.folder import has_token_types
from maskling.files import checksum
from maskling.model.attention import AttentionPattern
from maskling.model.config import ModelConfig, ModernConfig
from maskling.model.masked_lm import MaskedLM
from maskling.model.onnx import CHECKSUM_KEY, MODEL, PARAMETERS, part_path
from maskling.model.tasks.model import TaskModel

# A file of ONNX is one protobuf message, which ends at 2 GB.
_MOST_BYTES = 2**31 - (1 << 20)


class TracedPattern(AttentionPattern):
    """AttentionPattern that does not depend on values, as a traced graph must hold for all attention masks."""

    def __init__(self, attention_mask: Tensor) -> None:
        super().__init__(attention_mask.to(torch.int32) - 1, full=False)

    def _cached(self, window: int | None, dtype: torch.dtype) -> Tensor | None:
        half = None if window is None else window // 2
        if (half, dtype) not in self._masks:
            self._masks[half, dtype] = self._make(half, dtype)
        return self._masks[half, dtype]


class LanguageGraph(nn.Module):
    """Module with the outputs of a masked language model: logits at every position, if it has a head, and states."""

    def __init__(self, module: MaskedLM, headless: bool) -> None:
        super().__init__()
        self.module, self.headless = module, headless
        self.outputs = ["last_hidden_state"] if headless else ["logits", "last_hidden_state"]

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Any:
        """input_ids, attention_mask, token_type_ids: (batch, sequence) int64."""
        hidden = _encode(self.module, input_ids, attention_mask, token_type_ids)
        return hidden if self.headless else (self.module.predict(hidden), hidden)


class TaskGraph(nn.Module):
    """Module with the outputs of a task model: logits under the names and with the shapes of transformers."""

    def __init__(self, model: TaskModel) -> None:
        super().__init__()
        self.model = model
        self.outputs = ["start_logits", "end_logits"] if model.head_config.kind == "answer" else ["logits"]

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Any:
        """input_ids, attention_mask, token_type_ids: (batch, sequence) int64."""
        model, config = self.model, self.model.head_config
        hidden = _encode(model, input_ids, attention_mask, token_type_ids)
        if config.kind == "answer":
            logits = model.head(hidden)
            return logits[..., 0], logits[..., 1]
        if config.kind == "tag":
            return model.head(hidden)
        if isinstance(model.config, ModernConfig) and config.pooling == "mean":
            real = attention_mask[..., None].to(hidden.dtype)
            return model.head((hidden * real).sum(1) / real.sum(1))
        return model.head(hidden[:, 0])


def input_names(config: ModelConfig) -> list[str]:
    """Return the names of the inputs of a model's graph."""
    return ["input_ids", "attention_mask", *(["token_type_ids"] if has_token_types(config) else [])]


def write_graph(graph: LanguageGraph | TaskGraph, path: Path, fingerprint: str) -> None:
    """Trace a graph and write it, weights included, to one file. fingerprint: of the model, stored as metadata.

    Raises MissingExtra without onnx and onnxscript, ModelError for a model of more than 2 GB.
    """
    for package in ("onnx", "onnxscript"):
        try:
            __import__(package)
        except ImportError:
            raise MissingExtra(package, "onnx", "exporting to ONNX") from None
    module: MaskedLM | TaskModel = graph.module if isinstance(graph, LanguageGraph) else graph.model
    size = sum(parameter.numel() * 4 for parameter in module.parameters())
    if size > _MOST_BYTES:
        raise ModelError(
            f"the weights take {size / 1e9:.2f} GB, but an ONNX file holds at most 2 GB; use the model folder as it is"
        )
    names = input_names(module.config)
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
    # Two rows and padding: the trace would specialize on a single row or an all-ones mask.
    example = torch.zeros(2, 7, dtype=torch.int64)
    mask = torch.ones_like(example)
    mask[1, 5:] = 0
    # Each a tensor of its own: one tensor under two names would become one input.
    inputs = {name: mask if name == "attention_mask" else example.clone() for name in names}
    with _quietly(), torch.no_grad():
        program = torch.onnx.export(
            graph.eval(),
            kwargs=inputs,
            dynamo=True,
            verbose=False,
            input_names=names,
            output_names=graph.outputs,
            dynamic_shapes=dict.fromkeys(names, sizes),
        )
        assert program is not None
        for node in program.model.graph:
            node.metadata_props.clear()  # stack traces with local paths, ten times the size of the graph itself
        program.model.metadata_props[PARAMETERS] = str(sum(parameter.numel() for parameter in module.parameters()))
        program.model.metadata_props[MODEL] = fingerprint
        program.save(str(path), external_data=False)


def _encode(module: nn.Module, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None) -> Tensor:
    positions = torch.arange(input_ids.shape[1], device=input_ids.device)[None].expand(input_ids.shape)
    hidden: Tensor = module(input_ids, positions, token_type_ids, TracedPattern(attention_mask))
    return hidden


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Suppress the exporter's messages about torchvision and about its own axis names."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


HIDDEN = "last_hidden_state"
# Smaller weights are copied into the part.
_LEAST_BYTES = 1024


def write_parts(whole: Path) -> None:
    """Write the encoder of a graph, and its head if it has one, beside it."""
    import onnx

    model = onnx.load(str(whole))
    outputs = {output.name: output for output in model.graph.output}
    offsets = _weight_offsets(model.graph.initializer, whole.read_bytes())
    digest = checksum(whole)
    _write_part(model, model.graph.input, [outputs[HIDDEN]], offsets, digest, whole, "encoder")
    if "logits" in outputs:
        _write_part(model, [outputs[HIDDEN]], [outputs["logits"]], offsets, digest, whole, "head")


def _write_part(
    model: Any,
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    offsets: dict[str, int],
    digest: str,
    whole: Path,
    part: str,
) -> None:
    """Write the nodes between `inputs` and `outputs` as a graph. offsets: of weights in the file `whole`."""
    import onnx

    given = {one.name for one in inputs}
    needed, nodes = {one.name for one in outputs}, []
    for node in reversed(model.graph.node):
        if needed & (set(node.output) - given):
            nodes.append(node)
            needed |= set(node.input)
    weights = []
    for tensor in model.graph.initializer:
        if tensor.name in needed - given:
            weights.append(onnx.TensorProto())
            weights[-1].CopyFrom(tensor)
            if tensor.name in offsets:
                size = len(tensor.raw_data)
                onnx.external_data_helper.set_external_data(
                    weights[-1], location=whole.name, offset=offsets[tensor.name], length=size
                )
                weights[-1].ClearField("raw_data")
    graph = onnx.helper.make_graph(nodes[::-1], part, list(inputs), list(outputs), weights)
    made = onnx.helper.make_model(
        graph, opset_imports=model.opset_import, ir_version=model.ir_version, functions=model.functions
    )
    metadata = {one.key: one.value for one in model.metadata_props}
    onnx.helper.set_model_props(made, {**metadata, CHECKSUM_KEY: digest})
    part_path(whole, part).write_bytes(made.SerializeToString())


def _weight_offsets(weights: Sequence[Any], file: bytes) -> dict[str, int]:
    """Return the offset of each larger weight in a file that holds them in this order."""
    offsets, at = {}, 0
    for tensor in weights:
        if len(tensor.raw_data) >= _LEAST_BYTES:
            at = file.find(tensor.raw_data, at)
            if at < 0:
                raise ModelError("a weight of the graph was not found in its file; this is a bug in maskling")
            offsets[tensor.name] = at
            at += len(tensor.raw_data)
    return offsets
