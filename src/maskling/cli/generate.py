"""`maskling generate`: generate text with a masked model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from maskling.cli.texts import read_one_text
from maskling.console import Console


def generate(
    model: Annotated[Path, Parameter(help="a run, an export, or a Hugging Face folder")],
    text: Annotated[
        str | None,
        Parameter(help="a text in quotes, [MASK] where to write; - is standard input; default: write from nothing"),
    ] = None,
    /,
    *,
    length: Annotated[
        int | None,
        Parameter(help="tokens to write, in place of the one mask or after a text without a mask (default: 20)"),
    ] = None,
    count: Annotated[int, Parameter(help="number of texts")] = 1,
    order: Annotated[
        Literal["confidence", "left-to-right", "random"], Parameter(help="which masks are filled first")
    ] = "confidence",
    temperature: Annotated[
        float, Parameter(help="0 takes the most probable token; 1 samples with the model's probabilities")
    ] = 1.0,
    top_k: Annotated[int | None, Parameter(help="sample among this many most probable tokens")] = None,
    top_p: Annotated[float, Parameter(help="sample among the most probable tokens with this total probability")] = 0.9,
    steps: Annotated[int | None, Parameter(help="number of forward passes; default: one per token to write")] = None,
    no_repeat: Annotated[int, Parameter(help="no run of this many tokens occurs twice; 0 allows all repeats")] = 3,
    seed: Annotated[int, Parameter(help="seed of the random draws; equal seeds give equal texts")] = 0,
    json: Annotated[bool, Parameter(help="one line of JSON per text on stdout")] = False,
    device: Annotated[str, Parameter(help="auto, cpu, cuda or mps")] = "auto",
) -> None:
    """Generate text: for the masks of a text, after it, or from nothing.

    Masks are filled one by one, each given the text so far; given words do not change. A masked model of a few million
    weights writes fitting phrases, and seldom a coherent paragraph.

    Example: maskling generate runs/mine "The dog [MASK] the cat." --length 4 --count 3
    """
    console = Console(as_json=json)
    prompt = None if text is None else read_one_text(text)

    from maskling.infer.model import load

    found = load(model, device=device).generate(
        prompt,
        length=length,
        count=count,
        order=order,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        steps=steps,
        no_repeat=no_repeat,
        seed=seed,
    )
    for one in found:
        console.data(one.as_dict())
        console.result(one.text)
