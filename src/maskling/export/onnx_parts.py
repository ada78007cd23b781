"""Encoder and head of a graph as small graphs of their own, whose weights stay in the file of the whole.

Other tools want one graph from ids to logits. maskling wants the head apart, to run it at masked positions only: at
every position it is most of the work of a small model. ONNX lets a graph keep its weights in another file, at an offset
there; that file may be the whole graph itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskling.errors import ModelError
from maskling.files import checksum
from maskling.model.onnx_session import WEIGHTS_CHECKSUM, part_of

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
    onnx.helper.set_model_props(made, {**metadata, WEIGHTS_CHECKSUM: digest})
    part_of(whole, part).write_bytes(made.SerializeToString())


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
