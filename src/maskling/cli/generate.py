"""`maskling generate`: text written by a masked model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from maskling.console import Console


def generate(
    model: Annotated[Path, Parameter(help="a run, an export, or a Hugging Face folder")],
    text: Annotated[
        str | None, Parameter(help="a text in quotes with [MASK] where to write; none: write from nothing")
    ] = None,
    /,
    *,
    length: Annotated[
        int | None, Parameter(help="tokens to write: in place of the one mask, or behind a text without (20)")
    ] = None,
    count: Annotated[int, Parameter(help="how many texts")] = 1,
    order: Annotated[
        Literal["confidence", "left-to-right", "random"], Parameter(help="which masks are filled first")
    ] = "confidence",
    temperature: Annotated[float, Parameter(help="0 takes the likeliest token, 1 draws as the model expects")] = 1.0,
    top_k: Annotated[int | None, Parameter(help="draw among so many likeliest tokens")] = None,
    top_p: Annotated[float, Parameter(help="draw among the likeliest tokens that hold this probability")] = 0.9,
    steps: Annotated[int | None, Parameter(help="looks at the text; as many as tokens to write, if left out")] = None,
    no_repeat: Annotated[int, Parameter(help="no run of so many tokens twice; 0 allows all repeats")] = 3,
    seed: Annotated[int, Parameter(help="equal seeds give equal texts")] = 0,
    json: Annotated[bool, Parameter(help="one line of JSON for each text on stdout")] = False,
    device: Annotated[str, Parameter(help="auto, cpu, cuda or mps")] = "auto",
) -> None:
    """Write text: for the masks of a text, behind it, or from nothing.

    Masks are filled one after the other, each in view of what stands there already; given words stay as they are. A
    masked model of a few million weights writes phrases that fit, and seldom a paragraph that makes sense.

    Example: maskling generate runs/mine "The dog [MASK] the cat." --length 4 --count 3
    """
    console = Console(as_json=json)

    from maskling.infer.model import load

    found = load(model, device=device).generate(
        text,
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
