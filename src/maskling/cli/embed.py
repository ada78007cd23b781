"""`maskling embed`: texts as vectors."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, astuple
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from maskling.cli.inputs import Texts, check_out_file
from maskling.console import Console, counted

if TYPE_CHECKING:
    from maskling.infer.embed import Pooled
    from maskling.infer.model import Model
    from maskling.infer.search import Vectors
    from maskling.infer.vector_file import VectorFile


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

    With a BERT, RoBERTa or ModernBERT model. Texts that are too long for it are cut, and that is said. What goes into
    a file is kept as it comes: after a stop, the same command goes on. Started by torchrun, each process embeds its
    share of the texts, and the first writes.

    Example: maskling embed runs/mine "Seven words about one dog." --out vectors.npy
    """
    console = Console(as_json=json)
    if out is not None:
        check_out_file(out, [file] if file else [])

    from maskling.infer.embed import Pooled, embed_chunks, embed_shares
    from maskling.infer.model import load
    from maskling.model.sentence_transformers import read_pooling
    from maskling.train.distributed import device_of_rank, join_ranks

    with join_ranks(device) as ranks:
        # Standard input belongs to rank 0, and a file may be on its machine only.
        texts = Texts(*ranks.broadcast([*astuple(Texts.of(text, file))] if ranks.is_main else None))
        loaded = load(model, device=device_of_rank(device, ranks), dtype=dtype)
        how = Pooled(pooling or read_pooling(loaded.folder), normalize, layer)
        many = len(texts.lines)
        with _filled(out if ranks.is_main else None, loaded, texts.lines, how) as filling:
            before = ranks.broadcast([0, 0] if filling is None else [*astuple(filling.done)])

            def told(done: int) -> None:
                so_far = before[0] + done * ranks.size
                if ranks.is_main and so_far < many:
                    console.progress(f"embedded {so_far:,} of {counted(many, 'text')}", so_far, many)

            if ranks.is_main and before[0]:
                console.note(f"{before[0]:,} of {counted(many, 'vector')} were there")
            done, cut = before
            for some in embed_shares(partial(embed_chunks, loaded, how=how, told=told), texts.lines[done:], ranks):
                if filling is not None:
                    filling.add(some.vectors, some.cut)
                elif ranks.is_main:
                    _tell(console, texts.lines[done : done + len(some.vectors)], some.vectors)
                done, cut = done + len(some.vectors), cut + some.cut
    if not ranks.is_main:
        return
    if cut:
        console.warn(f"{cut:,} of {counted(many, 'text')} longer than {loaded.max_length:,} tokens and cut")
    if texts.empty_lines:
        console.warn(f"{counted(texts.empty_lines, 'empty line')} passed over: vectors and lines do not count alike")
    if out is not None:
        import numpy as np

        vectors = np.load(out, mmap_mode="r")
        console.note(f"{counted(many, 'vector')} of {vectors.shape[1]:,} numbers written to {out}")
        if json:
            _tell(console, texts.lines, vectors)


def _filled(
    out: Path | None, model: Model, texts: Sequence[str], how: Pooled
) -> AbstractContextManager[VectorFile | None]:
    """The file for the vectors, if they go into one."""
    if out is None:
        return nullcontext()

    from maskling.infer.index import model_identity
    from maskling.infer.vector_file import identity_of, vector_file

    made_from = {"model": model_identity(model), "dtype": str(model.compute.dtype), "texts": identity_of(texts)}
    return vector_file(out, len(texts), model.module.config.hidden_size, {**made_from, **asdict(how)})


def _tell(console: Console, texts: Sequence[str], vectors: Vectors) -> None:
    for text, vector in zip(texts, vectors, strict=True):
        console.data({"text": text, "vector": vector.tolist()})
        console.result(" ".join(f"{number:.5g}" for number in vector))
