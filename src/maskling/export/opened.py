"""A model folder, opened to become a graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from maskling.export.onnx_graph import LanguageGraph, TaskGraph
from maskling.export.sentence_encoder import encoder_tree
from maskling.model.claimed import check_vocabulary
from maskling.model.config import ModelConfig
from maskling.model.folder import read_folder
from maskling.model.hugging_face import to_hugging_face
from maskling.model.tasks.folder import read_task_folder, task_tree
from maskling.tokenizer.tokenizer import Tokenizer


class Opened(NamedTuple):
    """What is to be written. tree: its config.json."""

    graph: LanguageGraph | TaskGraph
    config: ModelConfig
    tree: dict[str, Any]
    tokenizer: Tokenizer


def open_graph(folder: Path) -> Opened:
    """The graph of a masked language model, of an encoder, or of a model for a task. Raises ModelError for others."""
    graph: LanguageGraph | TaskGraph
    task = read_task_folder(folder)
    tokenizer = Tokenizer.load(folder)
    if task is None:
        config, module, missing, _ = read_folder(folder, pair_head=False)
        graph = LanguageGraph(module, headless=bool(missing))
        tree = encoder_tree(config) if missing else to_hugging_face(config)
    else:
        graph, config, tree = TaskGraph(task), task.config, task_tree(task.config, task.head_config)
    check_vocabulary(config, tokenizer.vocab_size, folder)
    return Opened(graph, config, tree, tokenizer)
