"""`maskling embed`: embed texts as vectors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from maskling.adapters import adapters_on
from maskling.cli.inputs import BaseModelFolder, check_out_file
from maskling.cli.options import SettingPairs
from maskling.cli.texts import FILE_HELP, TEXT_FIELD_HELP, Texts, read_texts
from maskling.console import Console, counted
from maskling.grouping import grouped

if TYPE_CHECKING:
    from maskling.infer.embed import Pooled
    from maskling.infer.model import Model
    from maskling.infer.search import Vectors
    from maskling.infer.vector_file import VectorFile
    from maskling.train.distributed import Ranks

# Characters of texts that are embedded together.
_CHARACTERS = 1 << 26


def embed(
    model: Annotated[Path, Parameter(help="a run, an export, or a Hugging Face folder")],
    /,
    *text: Annotated[str, Parameter(help="texts, each in quotes; - alone is standard input")],
    file: Annotated[Path | None, Parameter(help=FILE_HELP)] = None,
    text_field: Annotated[str | None, Parameter(help=TEXT_FIELD_HELP, metavar="NAME")] = None,
    out: Annotated[Path | None, Parameter(help="write a (texts, hidden) float32 array to this .npy file")] = None,
    pooling: Annotated[
        Literal["cls", "mean"] | None,
        Parameter(help="mean over tokens, or the state of the first token; default: as the model was trained"),
    ] = None,
    normalize: Annotated[
        bool | None, Parameter(help="scale every vector to length 1; default: if the model's folder says so")
    ] = None,
    layer: Annotated[
        int | None,
        Parameter(help="pool the states of this layer instead of the last; 0 is the embeddings", metavar="N"),
    ] = None,
    base: BaseModelFolder = None,
    json: Annotated[bool, Parameter(help="one line of JSON per text on stdout")] = False,
    device: Annotated[str, Parameter(help="auto, cpu, cuda or mps")] = "auto",
    dtype: Annotated[
        Literal["auto", "fp32", "bf16"],
        Parameter(help="precision of the calculation: fp32, or bf16 for speed; auto: the faster one"),
    ] = "fp32",
    settings: SettingPairs = (),
) -> None:
    """Embed texts as vectors.

    For BERT, RoBERTa and ModernBERT models. Texts that are too long are truncated, with a warning. A file is written
    piece by piece: after a stop, the same command resumes. Started by torchrun, each rank embeds its share of the
    texts, and rank 0 writes.

    Example: maskling embed runs/mine "Seven words about one dog." --out vectors.npy
    """
    console = Console(as_json=json)
    if out is not None:
        check_out_file(out, [file] if file else [], suffixes=(".npy",))

    from maskling.infer.embed import Pooled, embed_chunks, embed_shares
    from maskling.infer.model import load
    from maskling.model.sentence_transformers import normalizes, read_pooling
    from maskling.train.distributed import device_of_rank, join_ranks

    with adapters_on(base), join_ranks(device) as ranks:
        # Only rank 0 reads: standard input belongs to it, and a file may be on its machine only.
        texts = read_texts(text, file, settings, text_field) if ranks.is_main else None
        loaded = load(model, device=device_of_rank(device, ranks), dtype=dtype)
        scaled = normalizes(loaded.folder) if normalize is None else normalize
        how = Pooled(pooling or read_pooling(loaded.folder), scaled, layer)
        with _vector_file(out, loaded, texts, how) as opened:
            done, cut = ranks.broadcast([0, 0] if opened is None else [opened.done.texts, opened.done.cut])
            if texts is not None and done:
                console.note(f"{done:,} of {counted(len(texts), 'vector')} were there")

            def on_progress(done_of_share: int, _: int) -> None:
                so_far = done + done_of_share * ranks.size
                if texts is not None and so_far < len(texts):
                    console.progress(f"embedded {so_far:,} of {counted(len(texts), 'text')}", so_far, len(texts))

            embed_own = partial(embed_chunks, loaded, how=how, on_progress=on_progress)
            remaining = None if texts is None else islice(texts, done, None)
            for chunk, some in embed_shares(embed_own, _chunks(remaining, ranks), ranks):
                if opened is not None:
                    opened.add(some.vectors, some.cut)
                elif texts is not None:
                    _print(console, chunk, some.vectors)
                done, cut = done + len(some.vectors), cut + some.cut
    if texts is None:
        return
    if cut:
        console.warn(f"{cut:,} of {counted(len(texts), 'text')} longer than {loaded.max_length:,} tokens and cut")
    if texts.empty_lines:
        console.warn(f"{counted(texts.empty_lines, 'empty line')} skipped: vector numbers and line numbers differ")
    if out is not None:
        import numpy as np

        vectors = np.load(out, mmap_mode="r")
        console.note(f"{counted(len(texts), 'vector')} of {vectors.shape[1]:,} numbers written to {out}")
        if json:
            _print(console, texts, vectors)


def _chunks(texts: Iterable[str] | None, ranks: Ranks) -> Iterator[list[str]]:
    """Yield the texts of rank 0 in chunks, on every rank. texts: None on the other ranks."""
    from maskling.infer.embed import CHUNK_TEXTS

    chunks = grouped(texts or (), len, _CHARACTERS * ranks.size, CHUNK_TEXTS * ranks.size)
    while chunk := ranks.broadcast(next(chunks, [])):
        yield chunk


def _vector_file(
    out: Path | None, model: Model, texts: Texts | None, how: Pooled
) -> AbstractContextManager[VectorFile | None]:
    """Open the file for the vectors on rank 0, if they go to a file. texts: None on the other ranks."""
    if out is None or texts is None:
        return nullcontext()

    from maskling.infer.index import model_identity
    from maskling.infer.vector_file import identity_of, vector_file

    made_from = {"model": model_identity(model), "dtype": str(model.compute.dtype), "texts": identity_of(texts)}
    return vector_file(out, len(texts), model.module.config.hidden_size, {**made_from, **asdict(how)})


def _print(console: Console, texts: Iterable[str], vectors: Vectors) -> None:
    for text, vector in zip(texts, vectors, strict=True):
        console.data({"text": text, "vector": vector.tolist()})
        console.result(" ".join(f"{number:.5g}" for number in vector))
