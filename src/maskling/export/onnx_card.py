"""README.md of a folder with an ONNX graph."""

from __future__ import annotations

from pathlib import Path

from maskling import __version__
from maskling.export.card import around_held_out, environment
from maskling.export.onnx_check import Agreement
from maskling.export.onnx_graph import LanguageGraph, TaskGraph, input_names
from maskling.export.task_card import PIPELINES


def render_onnx_card(source: Path, graph: LanguageGraph | TaskGraph, file: str, agreement: Agreement | None) -> str:
    """The text of the card; held-out numbers are taken over from the card of the model it was made from."""
    try:
        before = (source / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        before = ""
    parts = around_held_out(before)
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
            int8=agreement is not None,
            agreement=agreement.words if agreement else None,
            held_out=parts[1] if parts else "",
            version=__version__,
        )
    )
