"""Run exported ONNX graphs with onnxruntime on the CPU: `OnnxGraph`, and `OnnxLM` in place of a torch MaskedLM.

Files of a folder: onnx/model.onnx (fp32), onnx/model_fp16.onnx or onnx/model_quantized.onnx (int8) is the whole graph;
its parts, the encoder and the head, are graphs beside it that share its weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskling.arrays import Int64Array
from maskling.errors import MissingExtra, ModelError
from maskling.files import checksum
from maskling.model.attention import AttentionPattern
from maskling.model.config import ModelConfig
from maskling.model.masked_lm import MaskedLM

FOLDER = "onnx"
OnnxPrecision = Literal["fp32", "fp16", "int8"]
# Graph files of a folder, under the names that other tools look for; of several, maskling runs the first.
GRAPH_FILES: Final[dict[OnnxPrecision, str]] = {
    "fp32": "model.onnx",
    "fp16": "model_fp16.onnx",
    "int8": "model_quantized.onnx",
}
PARTS = ("encoder", "head")
PART_SUFFIX = ".onnx_part"
# Metadata key of a part: the checksum of the file that holds its weights, see `exporting.onnx_graph.write_parts`.
CHECKSUM_KEY = "maskling.weights_checksum"
# Metadata keys of a graph: the number of weights, and the fingerprint of the model that it was exported from, see
# `maskling.exporting.onnx.model_fingerprint`.
PARAMETERS = "maskling.parameters"
MODEL = "maskling.model"


class OnnxLM(MaskedLM):
    """MaskedLM whose encoder and head are two ONNX graphs, so that the head runs at masked positions only.

    For inference only: it has no weights, and no hidden states of single layers.
    """

    def __init__(self, config: ModelConfig, whole: Path | None) -> None:
        """Open the parts of the graph `whole`; None for the graph of a task, which has no parts.

        Raises ModelError as `open_part` does.
        """
        super().__init__()
        self.config = config.model_copy(update={"pair_head": False})
        self._encoder = None if whole is None else open_part(whole, "encoder")
        has_head = whole is not None and part_path(whole, "head").is_file()
        self._head: OnnxGraph | None = open_part(whole, "head") if whole is not None and has_head else None

    @property
    def headless(self) -> bool:
        """Whether it is an encoder without a head."""
        return self._head is None

    def forward(
        self,
        input_ids: Tensor,
        _position_ids: Tensor,
        token_type_ids: Tensor | None,
        pattern: AttentionPattern,
        states: list[Tensor] | None = None,
    ) -> Tensor:
        """Encode rows of tokens, see MaskedLM. Packed rows are unpacked: the graph gets one example per row.

        The graph computes positions itself.
        """
        if states is not None:
            raise ModelError("an ONNX model has hidden states of its last layer only; use the model it was made from")
        ids = input_ids.numpy().astype(np.int64)
        types = np.zeros_like(ids) if token_type_ids is None else token_type_ids.numpy().astype(np.int64)
        examples = pattern.example_ids.numpy()
        hidden = np.zeros((*ids.shape, self.config.hidden_size), dtype=np.float32)
        rows, columns = _unpack(examples)
        tokens = examples >= 0
        shape = (int(rows.max(initial=-1)) + 1, int(columns.max(initial=-1)) + 1)
        inputs = {
            "input_ids": np.full(shape, self.config.pad_id, np.int64),
            "attention_mask": np.zeros(shape, np.int64),
            "token_type_ids": np.zeros(shape, np.int64),
        }
        inputs["input_ids"][rows, columns] = ids[tokens]
        inputs["attention_mask"][rows, columns] = 1
        inputs["token_type_ids"][rows, columns] = types[tokens]
        if len(rows):
            hidden[tokens] = self.encode(inputs)[rows, columns]
        return torch.from_numpy(hidden)

    def encode(self, inputs: dict[str, Int64Array]) -> NDArray[np.float32]:
        """Return the last hidden states of a batch with one example per row: (batch, sequence, hidden)."""
        if self._encoder is None:
            raise ModelError("this ONNX model has the predictions of its task only; use the model it was made from")
        shape = (*inputs["input_ids"].shape, self.config.hidden_size)
        return self._encoder.run("last_hidden_state", shape, **inputs)

    def predict(self, hidden: Tensor) -> Tensor:
        """Return logits over the vocabulary, see MaskedLM."""
        if self._head is None:
            raise ModelError("this ONNX model was made from an encoder without a masked-token head; use another model")
        flat = hidden.reshape(1, -1, self.config.hidden_size).float().numpy()
        shape = (*flat.shape[:2], self.config.vocab_size)
        logits = torch.from_numpy(self._head.run("logits", shape, last_hidden_state=flat))
        return logits.view(*hidden.shape[:-1], -1)

    def num_parameters(self) -> int:
        """Return the number of weights of the model that the graph was made from."""
        return int(self._encoder.metadata.get(PARAMETERS, "0")) if self._encoder else 0

    def pair(self, _first: Tensor) -> Tensor:
        """Raise ModelError: a graph has no pair head."""
        raise ModelError("an ONNX model has no pair head; use the model it was made from")

    def _no_weights(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise ModelError("an ONNX model is for inference only and has no weights here; use the model it was made from")

    transformed = decoder = initialize = hf_names = canonical_name = _no_weights


def _unpack(examples: NDArray[np.integer]) -> tuple[Int64Array, Int64Array]:
    """Return a row for each example, and the column within it, for each token of packed rows: (n,) int64 each.

    examples: (rows, seq), the example of each token within its row, -1 for padding.
    """
    tokens = examples >= 0
    begins = tokens.copy()
    begins[:, 1:] &= examples[:, 1:] != examples[:, :-1]
    rows = np.cumsum(begins[tokens]) - 1
    first = np.flatnonzero(begins[tokens])
    return rows, np.arange(len(rows)) - first[rows]


class OnnxGraph:
    """Graph loaded from a file, ready to run."""

    def __init__(self, path: Path) -> None:
        """Load the graph. Raises MissingExtra without onnxruntime, ModelError for a file that it cannot run."""
        try:
            import onnxruntime
        except ImportError:
            raise MissingExtra("onnxruntime", "onnx", "running an ONNX model") from None
        self.path = path
        options = onnxruntime.SessionOptions()
        # As many threads as torch uses, which OMP_NUM_THREADS or the user has chosen.
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            # onnxruntime raises a different class for each kind of damage.
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(f"{path} is damaged or not supported by onnxruntime: {first}; export it again") from None
        self.inputs = tuple(one.name for one in self._session.get_inputs())
        self.outputs = tuple(one.name for one in self._session.get_outputs())
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)

    def run(self, output: str, shape: tuple[int, ...], **inputs: NDArray[Any]) -> NDArray[np.float32]:
        """Return one output of the graph, which must have this shape; inputs that the graph does not have are dropped.

        Raises ModelError for a graph that has other inputs, another output, or fails: it may come from anywhere.
        """
        if other := [name for name in self.inputs if name not in inputs]:
            raise ModelError(f"{self.path} asks for the input {other[0]}, which {self._hint}")
        if output not in self.outputs:
            raise ModelError(
                f"{self.path} has no output {output} (it has {', '.join(self.outputs)}), which {self._hint}"
            )
        try:
            found = self._session.run([output], {name: inputs[name] for name in self.inputs})[0]
        except Exception as error:
            # onnxruntime raises a different class for each kind of failure.
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(f"{self.path} failed in onnxruntime: {first}; {self._hint.partition('; ')[2]}") from None
        if not isinstance(found, np.ndarray) or found.shape != shape or found.dtype != np.float32:
            what = f"{found.dtype} {found.shape}" if isinstance(found, np.ndarray) else type(found).__name__
            raise ModelError(f"{self.path} returns {output} as {what} instead of float32 {shape}, which {self._hint}")
        return found

    _hint = "does not fit its config.json; export the model again"


def find_graph(folder: Path) -> Path | None:
    """Return the graph file that a model folder is run with, None if it has torch weights, which take precedence.

    Of several graphs it is the most exact one: to run int8, export it to a folder of its own.
    """
    if weight_files(folder):
        return None
    return next((path for name in GRAPH_FILES.values() if (path := folder / FOLDER / name).is_file()), None)


def weight_files(folder: Path) -> list[Path]:
    """Return the files with torch weights in a model folder, sorted."""
    return sorted(path for pattern in ("*.safetensors", "pytorch_model*.bin") for path in folder.glob(pattern))


def part_path(whole: Path, part: str) -> Path:
    """Return the path of a part of a graph, such as encoder.onnx_part or encoder_quantized.onnx_part beside it.

    The suffix keeps it apart from graphs that other tools look for: optimum takes any *.onnx.
    """
    path = whole.with_name(whole.name.replace("model", part))
    old = path.with_suffix(".onnx")  # as earlier versions named it
    return old if old.is_file() and not path.with_suffix(PART_SUFFIX).is_file() else path.with_suffix(PART_SUFFIX)


def open_part(whole: Path, part: str) -> OnnxGraph:
    """Load the encoder or the head of a graph. Raises ModelError if it is missing or belongs to another graph."""
    path = part_path(whole, part)
    if not path.is_file():
        raise ModelError(
            f"{whole.parent} has {whole.name} but no {path.name}, which maskling reads; write it with "
            f"'maskling export MODEL --format onnx --out FOLDER'"
        )
    graph = OnnxGraph(path)
    if graph.metadata.get(CHECKSUM_KEY) != checksum(whole):
        raise ModelError(f"{path.name} was not made from the {whole.name} in {whole.parent}; export the model again")
    return graph
