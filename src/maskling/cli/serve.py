"""`maskling serve`: a model behind HTTP, and a page to play with it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from maskling.cli import EXIT_STOPPED
from maskling.console import Console
from maskling.errors import MissingExtra, SettingsError
from maskling.files import path_text

_HIGHEST_PORT = 65535


def serve(
    model: Annotated[Path, Parameter(help="a run, an export, a fine-tuned model, or a Hugging Face folder")],
    /,
    *,
    host: Annotated[str, Parameter(help="address to listen at; 0.0.0.0 lets other machines in")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="port to listen at; 0 takes a free one")] = 8000,
    json: Annotated[bool, Parameter(help="the address as JSON on stdout once the server answers")] = False,
    dtype: Annotated[
        Literal["auto", "fp32", "bf16"],
        Parameter(help="numbers to calculate in; bf16 is faster on newer processors, coarser; auto takes the faster"),
    ] = "fp32",
    device: Annotated[str, Parameter(help="auto, cpu, cuda or mps")] = "auto",
) -> None:
    """Serve a model over HTTP, with a page to play with it.

    Whatever the model can do: masks to fill, vectors, scores, attention, or the task it was fine-tuned for. It answers
    the clients of Hugging Face (InferenceClient), of OpenAI (embeddings) and of text-embeddings-inference. Requests
    that come together run together. There are no passwords: beyond this machine put a proxy before it.

    Example: maskling serve runs/mine
    """
    console = Console(as_json=json)
    if not 0 <= port <= _HIGHEST_PORT:
        raise SettingsError(f"--port is {port}; it is a number from 0 to {_HIGHEST_PORT}")
    try:
        from maskling.serve.app import address_of, application, listening, names_of, run
        from maskling.serve.batching import Batcher
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), "serve", "serve") from None
    with listening(host, port) as opened:
        from maskling.infer.model import load
        from maskling.serve.service import Service

        console.doing("loading the model")
        service = Service.of(load(model, device=device, dtype=dtype), _name(model))
        service.warm_up()
        address = address_of(opened)

        def ready() -> None:
            console.data({"address": address, "model": service.name, "task": service.task})
            console.result(f"{service.name} answers at {address}")
            console.note(f"{service.task}, {service.model.compute.description}; endpoints: {address}/openapi.json")
            console.note("Ctrl-C ends it")

        batcher = Batcher()
        try:
            run(application(service, names_of(host, opened), batcher), opened, ready)
        finally:
            batcher.close()
            if batcher.busy:
                # The model cannot be stopped in the middle of a text; what it would say, nobody waits for any more.
                console.stopped()
                os._exit(EXIT_STOPPED)


def _name(model: Path) -> str:
    """That of the folder, or of the run that it is the model of."""
    place = model.resolve()
    return path_text(place.parent.name if place.name == "model" else place.name)
