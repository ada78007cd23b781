"""A module traced into an ONNX graph, for batches and sequences of any size, with padding."""

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
from maskling.export.folder import has_token_types
from maskling.files import checksum
from maskling.model.attention import AttentionPattern
from maskling.model.config import ModelConfig, ModernConfig
from maskling.model.masked_lm import MaskedLM
from maskling.model.onnx import CHECKSUM_KEY, MODEL, PARAMETERS, part_path
from maskling.model.tasks.model import TaskModel

# FOLDED DOCS
# [onnx_parts] Encoder and head of a graph as small graphs of their own, whose weights stay in the file of the whole. Other tools want one graph from ids to logits. maskling wants the head apart, to run it at masked positions only: at every position it is most of the work of a small model. ONNX lets a graph keep its weights in another file, at an offset there; that file may be the whole graph itself.


# A file of ONNX is one protobuf message, which ends at 2 GB.
_MOST_BYTES = 2**31 - (1 << 20)


class TracedPattern(AttentionPattern):
    """AttentionPattern without a look at the values: a graph must hold for all of them."""

    def __init__(self, attention_mask: Tensor) -> None:
        super().__init__(attention_mask.to(torch.int32) - 1, full=False)

    def _cached(self, window: int | None, dtype: torch.dtype) -> Tensor | None:
        half = None if window is None else window // 2
        if (half, dtype) not in self._masks:
            self._masks[half, dtype] = self._make(half, dtype)
        return self._masks[half, dtype]


class LanguageGraph(nn.Module):
    """Logits at every position, where there is a head, and the last hidden states."""

    def __init__(self, module: MaskedLM, headless: bool) -> None:
        super().__init__()
        self.module, self.headless = module, headless
        self.outputs = ["last_hidden_state"] if headless else ["logits", "last_hidden_state"]

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Any:
        """input_ids, attention_mask, token_type_ids: (batch, sequence) int64."""
        hidden = _encode(self.module, input_ids, attention_mask, token_type_ids)
        return hidden if self.headless else (self.module.predict(hidden), hidden)


class TaskGraph(nn.Module):
    """The logits of a task, by the names and shapes that transformers gives them."""

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
    """The inputs of the graph of a model."""
    return ["input_ids", "attention_mask", *(["token_type_ids"] if has_token_types(config) else [])]


def write_graph(graph: LanguageGraph | TaskGraph, path: Path, fingerprint: str) -> None:
    """Trace a graph and write it, weights included, into one file. fingerprint: of the model, to be kept in it.

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
            f"the weights take {size / 1e9:.2f} GB, and a file of ONNX holds at most 2 GB; use the folder as it is"
        )
    names = input_names(module.config)
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
    # Two rows and padding: of one row, or an all-ones mask, the trace would keep that it was so.
    example = torch.zeros(2, 7, dtype=torch.int64)
    mask = torch.ones_like(example)
    mask[1, 5:] = 0
    # Each a tensor of its own: two names for one would be taken for one input.
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
            node.metadata_props.clear()  # where each line of source lies on this machine, ten times the graph itself
        program.model.metadata_props[PARAMETERS] = str(sum(parameter.numel() for parameter in module.parameters()))
        program.model.metadata_props[MODEL] = fingerprint
        program.save(str(path), external_data=False)


def _encode(module: nn.Module, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None) -> Tensor:
    positions = torch.arange(input_ids.shape[1], device=input_ids.device)[None].expand(input_ids.shape)
    hidden: Tensor = module(input_ids, positions, token_type_ids, TracedPattern(attention_mask))
    return hidden


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Within the block the exporter keeps to itself what it thinks of torchvision and of its own axis names."""
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
    """Write the encoder beside a graph and, if it has one, the head."""
    import onnx

    model = onnx.load(str(whole))
    outputs = {output.name: output for output in model.graph.output}
    places = _places(model.graph.initializer, whole.read_bytes())
    digest = checksum(whole)
    _write(model, model.graph.input, [outputs[HIDDEN]], places, digest, whole, "encoder")
    if "logits" in outputs:
        _write(model, [outputs[HIDDEN]], [outputs["logits"]], places, digest, whole, "head")


def _write(
    model: Any,
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    places: dict[str, int],
    digest: str,
    whole: Path,
    part: str,
) -> None:
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
            if tensor.name in places:
                size = len(tensor.raw_data)
                onnx.external_data_helper.set_external_data(
                    weights[-1], location=whole.name, offset=places[tensor.name], length=size
                )
                weights[-1].ClearField("raw_data")
    graph = onnx.helper.make_graph(nodes[::-1], part, list(inputs), list(outputs), weights)
    made = onnx.helper.make_model(
        graph, opset_imports=model.opset_import, ir_version=model.ir_version, functions=model.functions
    )
    metadata = {one.key: one.value for one in model.metadata_props}
    onnx.helper.set_model_props(made, {**metadata, CHECKSUM_KEY: digest})
    part_path(whole, part).write_bytes(made.SerializeToString())


def _places(weights: Sequence[Any], file: bytes) -> dict[str, int]:
    """Where the bytes of each larger weight stand in a file that holds them in this order."""
    found, at = {}, 0
    for tensor in weights:
        if len(tensor.raw_data) >= _LEAST_BYTES:
            at = file.find(tensor.raw_data, at)
            if at < 0:
                raise ModelError(
                    "the weights of the graph are not where they were written; this is a fault of maskling"
                )
            found[tensor.name] = at
            at += len(tensor.raw_data)
    return found
