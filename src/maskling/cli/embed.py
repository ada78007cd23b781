"""`maskling embed`: texts as vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from maskling.cli.texts import texts_from
from maskling.console import Console


def embed(
    model: Path,
    *text: str,
    file: Annotated[Path | None, Parameter(help="read texts from this file, one a line; - is standard input")] = None,
    out: Annotated[Path | None, Parameter(help="write a (texts, hidden) float32 array to this .npy file")] = None,
    pooling: Annotated[Literal["mean", "cls"], Parameter(help="mean over tokens, or the first token")] = "mean",
    normalize: Annotated[bool, Parameter(help="scale every vector to length 1", negative="")] = False,
    json: Annotated[bool, Parameter(help="one line of JSON for each text on stdout", negative="")] = False,
    device: Annotated[str, Parameter(help="auto, cpu, cuda, mps")] = "auto",
) -> None:
    """Turn texts into vectors with a run, an export or any Hugging Face BERT, RoBERTa or ModernBERT folder.

    Example: maskling embed runs/mine --file sentences.txt --out sentences.npy
    """
    from maskling.infer.load import load

    console = Console(as_json=json)
    texts = texts_from(text, file)
    loaded = load(model, device=device)
    vectors = loaded.embed(texts, pooling=pooling, normalize=normalize)
    if out is not None:
        import numpy as np

        from maskling.files import written_aside

        with written_aside(out) as opened:
            np.save(opened, vectors)
        console.note(f"{vectors.shape[0]:,} vectors of {vectors.shape[1]:,} numbers written to {out}")
    for asked, vector in zip(texts, vectors, strict=True):
        console.data({"text": asked, "vector": vector.tolist()})
    if out is None:
        for vector in vectors:
            console.result(" ".join(f"{number:.5g}" for number in vector))
