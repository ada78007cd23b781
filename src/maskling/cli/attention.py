"""`maskling attention`: show the attention of every head of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from maskling.cli.format import table
from maskling.cli.inputs import check_out_file
from maskling.cli.texts import read_one_text
from maskling.console import Console


def attention(
    model: Annotated[Path, Parameter(help="a run, an export, or a Hugging Face folder")],
    text: Annotated[str, Parameter(help="a text in quotes; [MASK] in it is the mask; - is standard input")],
    /,
    *,
    out: Annotated[
        Path | None, Parameter(help="write the maps to this .npz file: tokens, weights (layers, heads, n, n)")
    ] = None,
    json: Annotated[bool, Parameter(help="the table as JSON on stdout")] = False,
    device: Annotated[str, Parameter(help="auto, cpu, cuda or mps")] = "auto",
) -> None:
    """Show what each attention head attends to, and write the attention maps.

    Fractions of a head's attention, averaged over the tokens: on the token itself, the one before, the one after, the
    first ([CLS]) and the last ([SEP]). Entropy is in nats: 0 for a head that attends to one token. Layers and heads
    are counted from 0, as in the array.

    Example: maskling attention runs/mine "The dog barks." --out maps.npz
    """
    console = Console(as_json=json)
    text = read_one_text(text)
    if out is not None:
        check_out_file(out, suffixes=(".npz",))

    from maskling.infer.attention_maps import attention_maps
    from maskling.infer.model import load

    loaded = load(model, device=device)
    maps = attention_maps(loaded, text)
    if maps.cut:
        console.warn(f"the text was longer than the {loaded.max_length:,} tokens this model reads, and was cut")
    if out is not None:
        import numpy as np

        from maskling.files import atomic_write

        with atomic_write(out) as opened:
            np.savez(opened, tokens=np.array(maps.tokens), weights=maps.weights)
        console.note(f"{' x '.join(map(str, maps.weights.shape))} weights written to {out}")
    heads = maps.summary()
    console.data({"tokens": list(maps.tokens), "heads": heads})
    console.result(" ".join(maps.tokens))
    names = [name for name in heads[0] if name not in ("layer", "head")]
    rows = [[f"{head['layer']}", f"{head['head']}", *(f"{head[name]:.3f}" for name in names)] for head in heads]
    for line in table([["layer", "head", *names], *rows], heads=True):
        console.result(line)
