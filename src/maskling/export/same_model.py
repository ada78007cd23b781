"""Whether what is in a folder is the model whose graph is to lie beside it."""

from __future__ import annotations

from pathlib import Path

import xxhash

from maskling.errors import ModelError
from maskling.export.onnx_graph import LanguageGraph, TaskGraph
from maskling.export.opened import open_graph
from maskling.files import fingerprint
from maskling.model.masked_lm import MaskedLM
from maskling.model.onnx_session import FOLDER, MODEL, PARTS, WHOLE, OnnxGraph, part_of, weight_files
from maskling.model.tasks.model import TaskModel
from maskling.tokenizer.tokenizer import Tokenizer

# What a config.json may say otherwise of the same model: how it is trained, and what its tokenizer says too.
_NO_MATTER = {"dropout", "attention_dropout", "initializer_range", "cls_id", "sep_id"}


def model_fingerprint(graph: LanguageGraph | TaskGraph, tokenizer: Tokenizer) -> str:
    """The xxh3-128 of what a model's answers come of: weights in fp32, shape, labels, vocabulary."""
    model: MaskedLM | TaskModel
    head: tuple[object, ...]
    drawn: tuple[str, ...] = ()
    if isinstance(graph, LanguageGraph):
        model, head = graph.module, (graph.headless,)
        drawn = graph.module.head_prefixes if graph.headless else ()
    else:
        said = graph.model.head_config
        model, head = graph.model, (said.kind, said.labels, said.pooling)
    weights = xxhash.xxh3_128()
    for name, tensor in sorted(model.to_hugging_face().items()):
        if not name.startswith(drawn):  # an encoder's own weights only: heads were drawn for it
            weights.update(name.encode())
            weights.update(tensor.detach().contiguous().numpy().data)
    shape = model.config.model_dump(mode="json", exclude=_NO_MATTER)
    return fingerprint([weights.hexdigest(), shape, head, tokenizer.fingerprint])


def other_weights(out: Path, whole: str) -> list[Path]:
    """The weights and graphs in `out` that an export of the graph `whole` does not write itself."""
    graph = out / FOLDER / whole
    own = {graph, *(part_of(graph, part) for part in PARTS)}
    return weight_files(out) + [
        path for path in sorted((out / FOLDER).rglob("*")) if path.is_file() and path not in own
    ]


def refuse_other_model(source: Path, out: Path, wanted: str, others: list[Path]) -> None:
    """Raises ModelError unless `others`, see `other_weights`, are of the model with the fingerprint `wanted`."""
    if weight_files(out):
        found = open_graph(out)
        same = model_fingerprint(found.graph, found.tokenizer) == wanted
    else:
        graphs = [path for path in others if path.parent == out / FOLDER and path.name in WHOLE]
        same = bool(graphs) and all(OnnxGraph(path).metadata.get(MODEL) == wanted for path in graphs)
    if not same:
        raise ModelError(
            f"{out} holds {others[0].relative_to(out).as_posix()}, which is not known to be of the model in {source}, "
            f"and a folder is for one model; give another one with --out, or delete what is there"
        )
