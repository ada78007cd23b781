"""A graph in int8: a quarter of the size, and faster where the processor multiplies bytes.

Dynamic quantization: weights are rounded once, each output's by itself; what flows between layers is rounded as it
comes. Nothing is learned and no text is needed. Weights take 7 of the 8 bits: x86 processors before VNNI add pairs of
products in 16 bits, which 8 bits overflow. Measured on a small modern model (KL from its own predictions on prose, in
nats): 8 bits 0.019, 7 bits 0.021, 7 bits with one scale a matrix 0.032; tables in bytes or not, the same.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from pathlib import Path
from typing import Any

from maskling.errors import MissingExtra


def write_int8(whole: Path, out: Path) -> None:
    """Write the graph in `whole` in int8 to `out`: matrix products with weights, and look-ups in tables.

    Raises MissingExtra without onnxruntime.
    """
    try:
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError:
        raise MissingExtra("onnxruntime", "onnx", "int8") from None
    import onnx

    model = onnx.load(str(whole))
    _lay_out(model.graph)
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quantize_dynamic(
                model,
                str(out),
                op_types_to_quantize=["MatMul", "Gemm", "Gather"],
                per_channel=True,
                reduce_range=True,
                weight_type=QuantType.QInt8,
            )
    finally:
        logging.disable(before)
    written = onnx.load(str(out))
    with contextlib.suppress(KeyError):
        onnx.helper.set_model_props(written, {one.key: one.value for one in model.metadata_props})
        out.write_bytes(written.SerializeToString())


def _lay_out(graph: Any) -> None:
    """Turn tables that the graph turns at every call: only weights that are there can be rounded."""
    import onnx

    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in list(graph.node):
        if node.op_type == "Transpose" and node.input[0] in weights:
            order = next(list(one.ints) for one in node.attribute if one.name == "perm")
            turned = onnx.numpy_helper.to_array(weights[node.input[0]]).transpose(order)
            graph.initializer.append(onnx.numpy_helper.from_array(turned.copy(), node.output[0]))
            graph.node.remove(node)
