"""Export a model folder to ONNX, in fp32, fp16 or int8, with a card; verified before it replaces anything.

int8 is a quarter of the size, and faster on processors that multiply bytes. Dynamic quantization: weights are rounded
once, with a scale per output; activations are rounded as they come. No training and no text is needed. Weights take 7
of the 8 bits: x86 processors before VNNI add pairs of products in 16 bits, which 8 bits overflow. Measured on a small
modern model (KL divergence from its own predictions on prose, in nats): 8 bits 0.019, 7 bits 0.021, 7 bits with one
scale per matrix 0.032; embedding tables in int8 or not, the same.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import xxhash

from maskling.errors import MissingExtra, ModelError, SettingsError
from maskling.exporting.card_metadata import kept_metadata
from maskling.exporting.cards import PIPELINES, environment, split_at_held_out
from maskling.exporting.folder import (
    check_tokenizer,
    clear_partial,
    encoder_config_json,
    refuse_foreign_files,
    save_tokenizer,
    write_pooling,
)
from maskling.exporting.onnx_check import Agreement, agreement, check_graph
from maskling.exporting.onnx_graph import HIDDEN, LanguageGraph, TaskGraph, input_names, write_graph, write_parts
from maskling.files import atomic_folder, fingerprint, recover_folder, write_json
from maskling.model.config import ModelConfig
from maskling.model.folder import build_encoder, check_vocabulary, read_folder
from maskling.model.hf_config import to_hugging_face
from maskling.model.masked_lm import MaskedLM
from maskling.model.onnx import (
    FOLDER,
    GRAPH_FILES,
    MODEL,
    PARTS,
    OnnxGraph,
    OnnxPrecision,
    find_graph,
    part_path,
    weight_files,
)
from maskling.model.sentence_transformers import max_sequence_length, normalizes, read_pooling
from maskling.model.tasks.folder import read_task_folder, task_config_json
from maskling.model.tasks.model import TaskModel
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.version import __version__


@dataclass(frozen=True)
class WrittenOnnx:
    """Result of an export. what: the class name; graph_bytes: size of the graph file; agreement: None in fp32."""

    what: str
    parameters: int
    vocab_size: int
    graph: Path
    graph_bytes: int
    agreement: Agreement | None


def export_onnx(
    source: Path, out: Path, *, int8: bool = False, fp16: bool = False, encoder: bool = False
) -> WrittenOnnx:
    """Write the model in `source` as an ONNX graph in `out`, with config.json, tokenizer files and a card.

    The graph is one of `GRAPH_FILES` in onnx/, where transformers.js, optimum and SentenceTransformer look for it.
    Outputs are `logits` and `last_hidden_state` for a masked language model, the latter alone for an encoder, and those
    of transformers for a task model. The parts that maskling runs are beside it. encoder: leave the heads out, for
    tools that take a graph's first output for the states of its tokens.
    If `out` holds weights or other graphs of the same model, only onnx/ is written and its other files are kept;
    otherwise `out` is replaced as a whole. Either happens only after graph and parts reproduced the model's outputs.
    Raises ModelError if they do not, if `source` is not a model, and if `out` holds another model; SettingsError for
    int8 and fp16 together; MissingExtra without onnx.
    """
    if int8 and fp16:
        raise SettingsError("int8 and fp16 are two precisions; leave one of them out")
    precision: OnnxPrecision = "int8" if int8 else "fp16" if fp16 else "fp32"
    refuse_foreign_files(source, out)
    if find_graph(source) is not None:
        raise ModelError(f"{source} is already ONNX; give the model that it was made from")
    graph, config, hf_config, tokenizer = open_graph(source, encoder)
    known_as = model_fingerprint(graph, tokenizer)
    name = GRAPH_FILES[precision]
    recover_folder(out / FOLDER)
    others = other_weights(out, name)
    if others:
        refuse_other_model(source, out, known_as, others)
        clear_partial(out / FOLDER)
        with atomic_folder(out / FOLDER) as graphs:
            alike = _write_graphs(graph, graphs, known_as, out, precision)
            _copy_missing(out / FOLDER, graphs)
    else:
        longest = max_sequence_length(source, config, tokenizer)
        clear_partial(out)
        with atomic_folder(out) as aside:
            (aside / FOLDER).mkdir()
            alike = _write_graphs(graph, aside / FOLDER, known_as, out, precision)
            write_json(aside / "config.json", hf_config)
            save_tokenizer(tokenizer, config, aside, longest)
            if isinstance(graph, LanguageGraph):
                write_pooling(aside, config.hidden_size, longest, read_pooling(source), normalizes(source))
            card = render_onnx_card(source, graph, name, alike, precision)
            (aside / "README.md").write_text(card, encoding="utf-8")
            check_tokenizer(tokenizer, aside, out)
    model: MaskedLM | TaskModel = graph.module if isinstance(graph, LanguageGraph) else graph.model
    parameters = sum(parameter.numel() for parameter in model.parameters())
    whole = out / FOLDER / name
    return WrittenOnnx(
        str(hf_config["architectures"][0]), parameters, tokenizer.vocab_size, whole, whole.stat().st_size, alike
    )


def _write_graphs(
    graph: LanguageGraph | TaskGraph, folder: Path, known_as: str, out: Path, precision: OnnxPrecision
) -> Agreement | None:
    """Write a graph and its parts to an empty folder and check them. out: for messages. Returns None in fp32."""
    whole = folder / GRAPH_FILES["fp32"]
    write_graph(graph, whole, known_as)
    if isinstance(graph, LanguageGraph):
        write_parts(whole)
    check_graph(graph, whole, str(out))
    if precision == "fp32":
        return None
    exact, whole = whole, folder / GRAPH_FILES[precision]
    (write_int8 if precision == "int8" else write_fp16)(exact, whole)
    for path in folder.iterdir():
        if path != whole:
            path.unlink()
    if isinstance(graph, LanguageGraph):
        write_parts(whole)
    return agreement(graph, whole, str(out), precision)


def _copy_missing(old: Path, new: Path) -> None:
    """Copy the files of one folder that another does not have."""
    for path in old.rglob("*"):
        copy = new / path.relative_to(old)
        if path.is_file() and not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy)


class GraphSource(NamedTuple):
    """A model to export. hf_config: its config.json."""

    graph: LanguageGraph | TaskGraph
    config: ModelConfig
    hf_config: dict[str, Any]
    tokenizer: Tokenizer


def open_graph(folder: Path, encoder: bool = False) -> GraphSource:
    """Load a masked language model, an encoder or a task model for export. Raises ModelError for other folders.

    encoder: of any of them, the encoder alone.
    """
    graph: LanguageGraph | TaskGraph
    task = None if encoder else read_task_folder(folder)
    tokenizer = Tokenizer.load(folder)
    if encoder:
        module = build_encoder(folder, seed=0)
        config, graph, hf_config = (
            module.config,
            LanguageGraph(module, headless=True),
            encoder_config_json(module.config),
        )
    elif task is None:
        config, module, missing, _ = read_folder(folder, pair_head=False)
        graph = LanguageGraph(module, headless=bool(missing))
        hf_config = encoder_config_json(config) if missing else to_hugging_face(config)
    else:
        graph, config, hf_config = TaskGraph(task), task.config, task_config_json(task.config, task.head_config)
    check_vocabulary(config, tokenizer.vocab_size, folder)
    return GraphSource(graph, config, hf_config, tokenizer)


# Settings that may differ for the same model: how it was trained, and what its tokenizer records too.
_NOT_COMPARED = {"dropout", "attention_dropout", "initializer_range", "cls_id", "sep_id"}


def model_fingerprint(graph: LanguageGraph | TaskGraph, tokenizer: Tokenizer) -> str:
    """Return the xxh3-128 of all that decides a model's outputs: weights in fp32, configuration, labels, vocabulary."""
    model: MaskedLM | TaskModel
    head: tuple[object, ...]
    drawn: tuple[str, ...] = ()
    if isinstance(graph, LanguageGraph):
        model, head = graph.module, (graph.headless,)
        drawn = graph.module.head_prefixes if graph.headless else ()
    else:
        head_config = graph.model.head_config
        model, head = graph.model, (head_config.kind, head_config.labels, head_config.pooling)
    weights = xxhash.xxh3_128()
    for name, tensor in sorted(model.to_hugging_face().items()):
        if not name.startswith(drawn):  # of an encoder without heads only its own weights: heads were drawn at random
            weights.update(name.encode())
            weights.update(tensor.detach().contiguous().numpy().data)
    shape = model.config.model_dump(mode="json", exclude=_NOT_COMPARED)
    return fingerprint([weights.hexdigest(), shape, head, tokenizer.fingerprint])


def other_weights(out: Path, whole: str) -> list[Path]:
    """Return the weights and graphs in `out` that an export of the graph `whole` does not replace."""
    graph = out / FOLDER / whole
    own = {graph, *(part_path(graph, part) for part in PARTS)}
    return weight_files(out) + [
        path for path in sorted((out / FOLDER).rglob("*")) if path.is_file() and path not in own
    ]


def refuse_other_model(source: Path, out: Path, wanted: str, others: list[Path]) -> None:
    """Raise ModelError unless `others`, see `other_weights`, belong to the model with the fingerprint `wanted`."""
    if weight_files(out):
        found = open_graph(out)
        same = model_fingerprint(found.graph, found.tokenizer) == wanted
    else:
        graphs = [path for path in others if path.parent == out / FOLDER and path.name in GRAPH_FILES.values()]
        same = bool(graphs) and all(OnnxGraph(path).metadata.get(MODEL) == wanted for path in graphs)
    if not same:
        raise ModelError(
            f"{out} holds {others[0].relative_to(out).as_posix()}, which is not known to be of the model in {source}, "
            f"and a folder is for one model; give another folder with --out, or delete that file"
        )


def write_int8(whole: Path, out: Path) -> None:
    """Quantize the graph in `whole` to int8 and write it to `out`: products with weights, and table look-ups.

    Raises MissingExtra without onnxruntime.
    """
    try:
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError:
        raise MissingExtra("onnxruntime", "onnx", "int8") from None
    import onnx

    model = onnx.load(str(whole))
    _transpose_weights(model.graph)
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


def write_fp16(whole: Path, out: Path) -> None:
    """Convert the graph in `whole` to half precision and write it to `out`; outputs stay fp32.

    Raises MissingExtra without onnxruntime.
    """
    try:
        from onnxruntime.transformers.float16 import convert_float_to_float16
    except ImportError:
        raise MissingExtra("onnxruntime", "onnx", "fp16") from None
    import onnx

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of each weight too small for fp16
        # Shape inference would need the model in a file again; types are all that the conversion needs.
        model = convert_float_to_float16(onnx.load(str(whole)), keep_io_types=True, disable_shape_infer=True)
    _read_states_from_output(model.graph)
    out.write_bytes(model.SerializeToString())


def _read_states_from_output(graph: Any) -> None:
    """Let the head read the states from the graph's output, as they are cast to fp32 there: parts are split at it."""
    import onnx

    cast = next((node for node in graph.node if HIDDEN in node.output and node.op_type == "Cast"), None)
    readers = [] if cast is None else [node for node in graph.node if node is not cast and cast.input[0] in node.input]
    if cast is None or not readers:
        return
    states, back = cast.input[0], f"{HIDDEN}_fp16"
    for node in readers:
        node.input[:] = [back if name == states else name for name in node.input]
    nodes = list(graph.node)
    after = nodes.index(cast) + 1
    first = min(nodes.index(node) for node in readers)
    nodes.remove(cast)
    nodes[min(first, after - 1) : min(first, after - 1)] = [
        cast,
        onnx.helper.make_node("Cast", [HIDDEN], [back], to=onnx.TensorProto.FLOAT16),
    ]
    del graph.node[:]
    graph.node.extend(nodes)


def _transpose_weights(graph: Any) -> None:
    """Replace transpositions of weights by transposed weights: only stored weights can be quantized."""
    import onnx

    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in list(graph.node):
        if node.op_type == "Transpose" and node.input[0] in weights:
            order = next(list(one.ints) for one in node.attribute if one.name == "perm")
            transposed = onnx.numpy_helper.to_array(weights[node.input[0]]).transpose(order)
            graph.initializer.append(onnx.numpy_helper.from_array(transposed.copy(), node.output[0]))
            graph.node.remove(node)


def render_onnx_card(
    source: Path,
    graph: LanguageGraph | TaskGraph,
    file: str,
    agreement: Agreement | None,
    precision: OnnxPrecision,
) -> str:
    """Render README.md of an ONNX folder, with the held-out metrics from the card of the source model."""
    try:
        before = (source / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        before = ""
    parts = split_at_held_out(before)
    if isinstance(graph, LanguageGraph):
        pipeline, config = "feature-extraction" if graph.headless else "fill-mask", graph.module.config
    else:
        pipeline, config = PIPELINES[graph.model.head_config.kind], graph.model.config
    name = source.resolve()
    return (
        environment()
        .get_template("onnx_card.md.jinja")
        .render(
            name=name.parent.name if name.name == "model" else name.name,
            pipeline=pipeline,
            inputs=input_names(config),
            outputs=graph.outputs,
            file=file,
            metadata=kept_metadata(
                before, ("license", "license_name", "license_link", "language", "datasets", "model-index")
            ),
            precision=precision,
            agreement=agreement.words if agreement else None,
            held_out=parts[1] if parts else "",
            version=__version__,
        )
    )
