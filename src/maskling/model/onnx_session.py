"""A graph in an .onnx file, run by onnxruntime on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from maskling.errors import MissingExtra, ModelError
from maskling.files import checksum

FOLDER = "onnx"
# Graphs of a folder, in fp32 and in int8, by the names that other tools look for.
WHOLE = ("model.onnx", "model_quantized.onnx")
# What the parts say of the file that holds their weights, see export/onnx_parts.py.
WEIGHTS_CHECKSUM = "maskling.weights_checksum"
PARAMETERS = "maskling.parameters"
# What a graph says of the model that it was made from, see export/same_model.py.
MODEL = "maskling.model"
PARTS = ("encoder", "head")


class OnnxGraph:
    """A graph that is ready to run."""

    def __init__(self, path: Path) -> None:
        """Raises MissingExtra without onnxruntime, ModelError for a file that it cannot run."""
        try:
            import onnxruntime
        except ImportError:
            raise MissingExtra("onnxruntime", "onnx", "running an ONNX model") from None
        options = onnxruntime.SessionOptions()
        # As many threads as torch would take, which is what OMP_NUM_THREADS or a person has chosen.
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            # onnxruntime raises a class of its own for each kind of damage.
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(f"{path} is damaged or of a kind that onnxruntime cannot run: {first}") from None
        self.inputs = tuple(one.name for one in self._session.get_inputs())
        self.outputs = tuple(one.name for one in self._session.get_outputs())
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)

    def run(self, output: str, **inputs: NDArray[Any]) -> NDArray[np.float32]:
        """One output of the graph; inputs that it does not have are left out."""
        found: NDArray[np.float32] = self._session.run([output], {name: inputs[name] for name in self.inputs})[0]
        return found


def whole_graph(folder: Path) -> Path | None:
    """The graph that a model folder is run with; None for a folder with weights for torch, which come first.

    Of two graphs it is the one in fp32: whoever wants int8 gives it a folder of its own.
    """
    if weight_files(folder):
        return None
    return next((path for name in WHOLE if (path := folder / FOLDER / name).is_file()), None)


def weight_files(folder: Path) -> list[Path]:
    """The files with weights for torch in a model folder, in order."""
    return sorted(path for pattern in ("*.safetensors", "pytorch_model*.bin") for path in folder.glob(pattern))


def part_of(whole: Path, part: str) -> Path:
    """Where a part of a graph is filed: beside it, as encoder.onnx or encoder_quantized.onnx."""
    return whole.with_name(whole.name.replace("model", part))


def open_part(whole: Path, part: str) -> OnnxGraph:
    """The encoder or the head of a graph. Raises ModelError if it is not there or belongs to another graph."""
    path = part_of(whole, part)
    if not path.is_file():
        raise ModelError(
            f"{whole.parent} has {whole.name} but no {path.name}, which maskling reads; write it with "
            f"'maskling export MODEL --format onnx --out FOLDER'"
        )
    graph = OnnxGraph(path)
    if graph.metadata.get(WEIGHTS_CHECKSUM) != checksum(whole):
        raise ModelError(f"{path.name} was not made from the {whole.name} in {whole.parent}; export the model again")
    return graph
