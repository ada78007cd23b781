"""`maskling embed`: texts as vectors."""

from __future__ import annotations

from dataclasses import astuple
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from maskling.cli.places import check_out_file
from maskling.cli.texts import Texts
from maskling.console import Console, counted


def embed(
    model: Annotated[Path, Parameter(help="a run, an export, or a Hugging Face folder")],
    /,
    *text: Annotated[str, Parameter(help="texts, each in quotes; - alone is standard input")],
    file: Annotated[Path | None, Parameter(help="read texts from this file, one a line; - is standard input")] = None,
    out: Annotated[Path | None, Parameter(help="write a (texts, hidden) float32 array to this .npy file")] = None,
    pooling: Annotated[
        Literal["cls", "mean"] | None,
        Parameter(help="mean over tokens, or the first token; what the model was trained for, if left out"),
    ] = None,
    normalize: Annotated[bool, Parameter(help="scale every vector to length 1")] = False,
    layer: Annotated[
        int | None, Parameter(help="pool this layer's states instead of the last's; 0 are the embeddings", metavar="N")
    ] = None,
    json: Annotated[bool, Parameter(help="one line of JSON for each text on stdout")] = False,
    device: Annotated[str, Parameter(help="auto, cpu, cuda or mps")] = "auto",
    dtype: Annotated[
        Literal["auto", "fp32", "bf16"], Parameter(help="fp32, or bf16 for speed; auto is what is faster here")
    ] = "fp32",
) -> None:
    """Turn texts into vectors.

    With a BERT, RoBERTa or ModernBERT model. Texts that are too long for it are cut, and that is said. Started by
    torchrun, each process embeds its share of the texts, and the first writes.

    Example: maskling embed runs/mine "Seven words about one dog." --out vectors.npy
    """
    console = Console(as_json=json)
    if out is not None:
        check_out_file(out)

    from maskling.infer.load import load
    from maskling.infer.shares import embed_shares
    from maskling.train.joining import joined

    with joined(device) as world:
        # Standard input belongs to rank 0, and a file may be on its machine only.
        texts = Texts(*world.share([*astuple(Texts.of(text, file))] if world.leads else None))
        loaded = load(model, device=device if world.size == 1 else str(world.device), dtype=dtype)

        def told(done: int) -> None:
            if world.leads and done < own:
                console.progress(f"embedded {done * world.size:,} of {counted(len(texts.lines), 'text')}", done, own)

        own = len(texts.lines[:: world.size])
        embed_some = partial(loaded.embed, pooling=pooling, normalize=normalize, layer=layer, told=told)
        vectors, warned = embed_shares(embed_some, texts.lines, world)
    if not world.leads:
        return
    for said in warned:
        console.warn(said)
    if texts.empty_lines:
        console.warn(f"{counted(texts.empty_lines, 'empty line')} passed over: vectors and lines do not count alike")
    if out is not None:
        import numpy as np

        from maskling.files import written_aside

        with written_aside(out) as opened:
            np.save(opened, vectors)
        console.note(f"{counted(len(vectors), 'vector')} of {vectors.shape[1]:,} numbers written to {out}")
    for asked, vector in zip(texts.lines, vectors, strict=True):
        console.data({"text": asked, "vector": vector.tolist()})
        if out is None:
            console.result(" ".join(f"{number:.5g}" for number in vector))
