"""A masked language model that onnxruntime calculates, in the place of a torch module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from maskling.arrays import Int64Array
from maskling.errors import MissingExtra, ModelError
from maskling.files import checksum
from maskling.model.attention import AttentionPattern
from maskling.model.config import ModelConfig
from maskling.model.masked_lm import MaskedLM

# FOLDED DOCS
# [onnx_session] A graph in an .onnx file, run by onnxruntime on the CPU.


class OnnxLM(MaskedLM):
    """Encoder and head as two graphs, so that here too the head runs at masked positions only.

    It answers and nothing else: there are no weights to train, and no states of single layers.
    """

    def __init__(self, config: ModelConfig, whole: Path | None) -> None:
        """whole: the graph that encoder and head are parts of; None for a task's, which has no parts.

        Raises what `open_part` does.
        """
        super().__init__()
        self.config = config.model_copy(update={"pair_head": False})
        self._encoder = None if whole is None else open_part(whole, "encoder")
        has_head = whole is not None and part_path(whole, "head").is_file()
        self._head: OnnxGraph | None = open_part(whole, "head") if whole is not None and has_head else None

    @property
    def headless(self) -> bool:
        """Whether it is an encoder alone."""
        return self._head is None

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,  # noqa: ARG002 - the graph counts by itself
        token_type_ids: Tensor | None,
        pattern: AttentionPattern,
        states: list[Tensor] | None = None,
    ) -> Tensor:
        """See MaskedLM. Where a row holds several examples, each is given to the graph in a row of its own."""
        if states is not None:
            raise ModelError("an ONNX model gives the states of its last layer only; use the model it was made from")
        ids = input_ids.numpy().astype(np.int64)
        types = np.zeros_like(ids) if token_type_ids is None else token_type_ids.numpy().astype(np.int64)
        examples = pattern.example_ids.numpy()
        hidden = np.zeros((*ids.shape, self.config.hidden_size), dtype=np.float32)
        rows, columns = _apart(examples)
        here = examples >= 0
        apart = (int(rows.max(initial=-1)) + 1, int(columns.max(initial=-1)) + 1)
        laid = [np.full(apart, self.config.pad_id, np.int64), np.zeros(apart, np.int64), np.zeros(apart, np.int64)]
        for into, values in zip(laid, (ids[here], np.ones(len(rows), np.int64), types[here]), strict=True):
            into[rows, columns] = values
        if len(rows):
            names = ("input_ids", "attention_mask", "token_type_ids")
            hidden[here] = self.encode(dict(zip(names, laid, strict=True)))[rows, columns]
        return torch.from_numpy(hidden)

    def encode(self, inputs: dict[str, Int64Array]) -> NDArray[np.float32]:
        """The last hidden states of a batch as the graph takes it, one example a row: (batch, sequence, hidden)."""
        if self._encoder is None:
            raise ModelError("this ONNX model gives the answers of its task only; use the model it was made from")
        return self._encoder.run("last_hidden_state", **inputs)

    def predict(self, hidden: Tensor) -> Tensor:
        """See MaskedLM."""
        if self._head is None:
            raise ModelError("this ONNX model has no masked-token head: it was made from an encoder alone")
        flat = hidden.reshape(1, -1, self.config.hidden_size).float().numpy()
        scores = torch.from_numpy(self._head.run("logits", last_hidden_state=flat))
        return scores.view(*hidden.shape[:-1], -1)

    def num_parameters(self) -> int:
        """Number of weights of the model that the graph was made from."""
        return int(self._encoder.metadata.get(PARAMETERS, "0")) if self._encoder else 0

    def transformed(self, hidden: Tensor) -> Tensor:  # noqa: ARG002
        """See MaskedLM; not to be had here."""
        raise ModelError(_NO_WEIGHTS)

    def decoder(self) -> tuple[Tensor, Tensor]:
        """See MaskedLM; not to be had here."""
        raise ModelError(_NO_WEIGHTS)

    def pair(self, first: Tensor) -> Tensor:  # noqa: ARG002
        """See MaskedLM; not to be had here."""
        raise ModelError("an ONNX model has no pair head; use the model it was made from")

    def initialize(self, generator: Generator) -> None:  # noqa: ARG002
        """See MaskedLM; not to be had here."""
        raise ModelError(_NO_WEIGHTS)

    def hf_names(self) -> dict[str, tuple[str, ...]]:
        """See MaskedLM; not to be had here."""
        raise ModelError(_NO_WEIGHTS)

    def canonical_name(self, name: str) -> str | None:  # noqa: ARG002
        """See MaskedLM; not to be had here."""
        raise ModelError(_NO_WEIGHTS)


_NO_WEIGHTS = "an ONNX model only answers: its weights are not at hand; use the model it was made from"


def _apart(examples: NDArray[np.integer]) -> tuple[Int64Array, Int64Array]:
    """For each token, rows first, the number of its example over all rows, and its place in it: (n,) int64 each."""
    here = examples >= 0
    begins = here.copy()
    begins[:, 1:] &= examples[:, 1:] != examples[:, :-1]
    number = np.cumsum(begins[here]) - 1
    first = np.flatnonzero(begins[here])
    return number, np.arange(len(number)) - first[number]


FOLDER = "onnx"
# Graphs of a folder, in fp32 and in int8, by the names that other tools look for.
WHOLE = ("model.onnx", "model_quantized.onnx")
# What the parts say of the file that holds their weights, see export/onnx_parts.py.
CHECKSUM_KEY = "maskling.weights_checksum"
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


def part_path(whole: Path, part: str) -> Path:
    """Where a part of a graph is filed: beside it, as encoder.onnx or encoder_quantized.onnx."""
    return whole.with_name(whole.name.replace("model", part))


def open_part(whole: Path, part: str) -> OnnxGraph:
    """The encoder or the head of a graph. Raises ModelError if it is not there or belongs to another graph."""
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
