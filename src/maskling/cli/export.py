"""`maskling export`: a model folder for other programs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from maskling.adapters import adapters_on
from maskling.cli.format import byte_size
from maskling.cli.inputs import BaseModelFolder, check_out_folder
from maskling.console import Console, counted
from maskling.errors import SettingsError


def export(
    model: Annotated[Path, Parameter(help="a run, or a folder with any BERT, RoBERTa or ModernBERT model")],
    /,
    *,
    out: Annotated[Path | None, Parameter(help="folder to write", metavar="FOLDER")] = None,
    format: Annotated[  # noqa: A002 - the name of the option
        Literal["hf", "onnx"], Parameter(help="hf: transformers and others; onnx: onnxruntime, transformers.js, others")
    ] = "hf",
    int8: Annotated[bool, Parameter(help="with onnx: int8 weights, a quarter of the size")] = False,
    fp16: Annotated[bool, Parameter(help="with onnx: half precision, half of the size, for GPUs and browsers")] = False,
    encoder: Annotated[
        bool, Parameter(help="with onnx: the encoder alone, for embedding tools that take a graph's first output")
    ] = False,
    step: Annotated[
        int | None, Parameter(help="with a run of 'train': export the checkpoint of this step, not the best one")
    ] = None,
    license: Annotated[  # noqa: A002 - the name of the option
        str | None, Parameter(help="license for the model card, such as apache-2.0", metavar="ID")
    ] = None,
    language: Annotated[
        str | None, Parameter(help="languages for the model card, such as en or en,de", metavar="CODES")
    ] = None,
    base: BaseModelFolder = None,
    json: Annotated[bool, Parameter(help="print the result as JSON on stdout")] = False,
) -> None:
    """Write a model for other programs, as a Hugging Face folder or ONNX.

    Writes config.json, model.safetensors, tokenizer files and a model card, in the layout of transformers and
    sentence-transformers. A run is exported with its best weights; an older folder is converted to the current layout
    and keeps its card; a PEFT adapter is merged with its base model. The folder is loaded back, and export fails unless
    its outputs are the same.

    --format onnx writes a graph for any batch size and sequence length, with the same checks; --fp16 and --int8
    make it smaller. maskling can load such a folder too.

    Example: maskling export runs/mine --out exported/
    """
    if out is None:
        raise SettingsError("give a folder to write: maskling export runs/mine --out exported/")
    check_out_folder(out)

    from maskling.exporting.card_metadata import card_metadata, set_card_metadata
    from maskling.infer.model import load
    from maskling.model.folder import read_config, weight_shapes
    from maskling.model.locate import find_model
    from maskling.train.export_run import export_checkpoint, export_folder

    console = Console(as_json=json)
    for name, given in (("--int8", int8), ("--fp16", fp16), ("--encoder", encoder)):
        if given and format != "onnx":
            raise SettingsError(f"{name} needs --format onnx; add it, or leave {name} out")
    metadata = card_metadata(license, language)
    if format == "onnx":
        if step is not None:
            raise SettingsError(
                "--step needs --format hf; export the checkpoint in that format first, then that folder as onnx"
            )
        with adapters_on(base):
            _onnx(find_model(model), out, int8, fp16, encoder, console)
        set_card_metadata(out, metadata)
        return
    left_out: tuple[str, ...] = ()
    if step is None:
        with adapters_on(base):
            left_out = export_folder(find_model(model), out)
    elif (model / "config.toml").is_file():
        export_checkpoint(model, step, out)
    else:
        raise SettingsError(f"--step chooses a checkpoint of a run, and {model} is not a run; leave it out")
    set_card_metadata(out, metadata)
    written = load(out, device="cpu")
    architecture = str(read_config(out)["architectures"][0])
    parameters = sum(math.prod(shape) for shape in weight_shapes(out).values())
    if left_out:
        console.note(f"left out: {counted(len(left_out), 'weight')} that {architecture} does not have ({left_out[0]})")
    console.note(f"{out} written and loaded back: {parameters:,} parameters, {written.tokenizer.vocab_size:,} tokens")
    console.data(
        {
            "folder": str(out),
            "parameters": parameters,
            "vocab_size": written.tokenizer.vocab_size,
            "architecture": architecture,
            "left_out": list(left_out),
        }
    )


def _onnx(source: Path, out: Path, int8: bool, fp16: bool, encoder: bool, console: Console) -> None:
    from maskling.exporting.onnx import export_onnx

    written = export_onnx(source, out, int8=int8, fp16=fp16, encoder=encoder)
    size = byte_size(written.graph_bytes)
    console.note(f"{written.graph} written and checked: {written.what}, {written.parameters:,} parameters, {size}")
    if written.agreement is not None:
        console.note(f"in {'int8' if int8 else 'fp16'} {written.agreement.words}, on a fixed probe")
    console.data(
        {
            "folder": str(out),
            "graph": str(written.graph),
            "architecture": written.what,
            "parameters": written.parameters,
            "vocab_size": written.vocab_size,
            "bytes": written.graph_bytes,
            "agreement": written.agreement.value if written.agreement else None,
        }
    )
