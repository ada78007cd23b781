"""A model folder for onnxruntime, and for whatever else reads ONNX; checked before anyone sees it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from maskling.errors import ModelError
from maskling.export.folder import check_tokenizer, clear_partial, save_tokenizer
from maskling.export.onnx_card import render_onnx_card
from maskling.export.onnx_check import Agreement, agreement, check_graph
from maskling.export.onnx_graph import LanguageGraph, TaskGraph, write_graph
from maskling.export.onnx_int8 import write_int8
from maskling.export.onnx_parts import write_parts
from maskling.export.opened import open_graph
from maskling.export.place import refuse_other_things
from maskling.export.same_model import model_fingerprint, other_weights, refuse_other_model
from maskling.export.sentence_transformers import longest_sequence, own_normalizing, own_pooling, write_pooling
from maskling.files import folder_written_aside, recover_folder, write_json
from maskling.model.masked_lm import MaskedLM
from maskling.model.onnx_session import FOLDER, WHOLE, whole_graph
from maskling.model.tasks.model import TaskModel


@dataclass(frozen=True)
class WrittenOnnx:
    """What was written. what: for a person; graph_bytes: of the graph; agreement: None in fp32."""

    what: str
    parameters: int
    vocab_size: int
    graph: Path
    graph_bytes: int
    agreement: Agreement | None


def export_onnx(source: Path, out: Path, *, int8: bool = False) -> WrittenOnnx:
    """Write the model in `source` as an ONNX graph in `out`, with config.json, tokenizer files and a card.

    The graph is onnx/model.onnx, or onnx/model_quantized.onnx in int8: where transformers.js, optimum and
    SentenceTransformer look for it. A masked language model gives `logits` and `last_hidden_state`, an encoder the
    latter alone, a model for a task what transformers names so. Beside it lie the parts that maskling runs.
    Where `out` holds weights or other graphs of the same model, onnx/ alone is written, and all that was there stays;
    otherwise `out` is written as a whole. Either takes its place only after graph and parts gave the model's answers.
    Raises ModelError where they do not, for what is no model, and where `out` holds another model, which would lose
    what belongs to it; MissingExtra without onnx.
    """
    refuse_other_things(source, out)
    if whole_graph(source) is not None:
        raise ModelError(f"{source} is ONNX already; give the model that it was made from")
    graph, config, tree, tokenizer = open_graph(source)
    known_as = model_fingerprint(graph, tokenizer)
    name = WHOLE[1 if int8 else 0]
    recover_folder(out / FOLDER)
    others = other_weights(out, name)
    if others:
        refuse_other_model(source, out, known_as, others)
        clear_partial(out / FOLDER)
        with folder_written_aside(out / FOLDER) as graphs:
            alike = _write_graphs(graph, graphs, known_as, out, int8)
            _keep(out / FOLDER, graphs)
    else:
        longest = longest_sequence(source, config, tokenizer)
        clear_partial(out)
        with folder_written_aside(out) as aside:
            (aside / FOLDER).mkdir()
            alike = _write_graphs(graph, aside / FOLDER, known_as, out, int8)
            write_json(aside / "config.json", tree)
            save_tokenizer(tokenizer, config, aside, longest)
            if isinstance(graph, LanguageGraph):
                write_pooling(aside, config.hidden_size, longest, own_pooling(source), own_normalizing(source))
            card = render_onnx_card(source, graph, name, alike)
            (aside / "README.md").write_text(card, encoding="utf-8")
            check_tokenizer(tokenizer, aside, out)
    model: MaskedLM | TaskModel = graph.module if isinstance(graph, LanguageGraph) else graph.model
    parameters = sum(parameter.numel() for parameter in model.parameters())
    whole = out / FOLDER / name
    return WrittenOnnx(
        str(tree["architectures"][0]), parameters, tokenizer.vocab_size, whole, whole.stat().st_size, alike
    )


def _write_graphs(
    graph: LanguageGraph | TaskGraph, folder: Path, known_as: str, out: Path, int8: bool
) -> Agreement | None:
    """Write a graph and its parts into an empty folder, and check them. out: for messages."""
    whole = folder / WHOLE[0]
    write_graph(graph, whole, known_as)
    if isinstance(graph, LanguageGraph):
        write_parts(whole)
    check_graph(graph, whole, str(out))
    if not int8:
        return None
    exact, whole = whole, folder / WHOLE[1]
    write_int8(exact, whole)
    for path in folder.iterdir():
        if path != whole:
            path.unlink()
    if isinstance(graph, LanguageGraph):
        write_parts(whole)
    return agreement(graph, whole, str(out))


def _keep(old: Path, new: Path) -> None:
    """Copy what is in one folder and not yet in another."""
    for path in old.rglob("*"):
        copy = new / path.relative_to(old)
        if path.is_file() and not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy)
