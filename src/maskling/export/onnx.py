"""A model folder for onnxruntime, and for whatever else reads ONNX; checked before anyone sees it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskling.errors import ModelError
from maskling.export.folder import check_tokenizer, clear_partial, save_tokenizer
from maskling.export.onnx_card import render_onnx_card
from maskling.export.onnx_check import Agreement, agreement, check_graph
from maskling.export.onnx_graph import LanguageGraph, TaskGraph, write_graph
from maskling.export.onnx_int8 import write_int8
from maskling.export.onnx_parts import write_parts
from maskling.export.place import refuse_place
from maskling.export.sentence_encoder import encoder_tree
from maskling.export.sentence_transformers import longest_sequence, own_normalizing, own_pooling, write_pooling
from maskling.files import folder_written_aside, write_json
from maskling.model.claimed import check_vocabulary
from maskling.model.folder import read_folder
from maskling.model.hugging_face import to_hugging_face
from maskling.model.masked_lm import MaskedLM
from maskling.model.onnx_session import FOLDER, WHOLE, whole_graph
from maskling.model.tasks.folder import read_task_folder, task_tree
from maskling.model.tasks.model import TaskModel
from maskling.tokenizer.tokenizer import Tokenizer


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
    The folder takes the place of `out` as a whole, and only after graph and parts gave the answers of the model.
    Raises ModelError where they do not, or for what is no model; MissingExtra without onnx.
    """
    refuse_place(source, out)
    if whole_graph(source) is not None:
        raise ModelError(f"{source} is ONNX already; give the model that it was made from")
    task = read_task_folder(source)
    tokenizer = Tokenizer.load(source)
    graph, tree = _language(source) if task is None else (TaskGraph(task), task_tree(task.config, task.head_config))
    model: MaskedLM | TaskModel = graph.module if isinstance(graph, LanguageGraph) else graph.model
    config = model.config
    check_vocabulary(config, tokenizer.vocab_size, source)
    longest = longest_sequence(source, config, tokenizer)
    clear_partial(out)
    with folder_written_aside(out) as aside:
        (aside / FOLDER).mkdir()
        whole = aside / FOLDER / WHOLE[0]
        write_graph(graph, whole)
        if isinstance(graph, LanguageGraph):
            write_parts(whole)
        check_graph(graph, whole, str(out))
        alike = None
        if int8:
            exact, whole = whole, aside / FOLDER / WHOLE[1]
            write_int8(exact, whole)
            for path in (aside / FOLDER).iterdir():
                if path != whole:
                    path.unlink()
            if isinstance(graph, LanguageGraph):
                write_parts(whole)
            alike = agreement(graph, whole, str(out))
        write_json(aside / "config.json", tree)
        save_tokenizer(tokenizer, config, aside, longest)
        if isinstance(graph, LanguageGraph):
            write_pooling(aside, config.hidden_size, longest, own_pooling(source), own_normalizing(source))
        card = render_onnx_card(source, graph, whole.name, alike)
        (aside / "README.md").write_text(card, encoding="utf-8")
        check_tokenizer(tokenizer, aside, out)
        size = whole.stat().st_size
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return WrittenOnnx(
        str(tree["architectures"][0]), parameters, tokenizer.vocab_size, out / FOLDER / whole.name, size, alike
    )


def _language(source: Path) -> tuple[LanguageGraph, dict[str, Any]]:
    """The graph of a masked language model or of an encoder, and its config.json."""
    config, module, missing, _ = read_folder(source, pair_head=False)
    tree = encoder_tree(config) if missing else to_hugging_face(config)
    return LanguageGraph(module, headless=bool(missing)), tree
