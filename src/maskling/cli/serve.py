"""`maskling serve`: an HTTP server for one model, with a web page to try it out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from maskling.cli import EXIT_STOPPED
from maskling.console import Console
from maskling.errors import MissingExtra, SettingsError

_MAX_PORT = 65535


def serve(
    model: Annotated[Path, Parameter(help="a run, an export, a fine-tuned model, or a Hugging Face folder")],
    /,
    *,
    compare: Annotated[
        Path | None, Parameter(help="a second model of the same task, which the page shows beside the first")
    ] = None,
    host: Annotated[str, Parameter(help="address to listen on; 0.0.0.0 accepts other machines")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="port to listen on; 0 picks a free one")] = 8000,
    json: Annotated[bool, Parameter(help="print the address as JSON on stdout once the server is ready")] = False,
    dtype: Annotated[
        Literal["auto", "fp32", "bf16"],
        Parameter(help="precision; bf16 is faster on newer processors but coarser; auto picks the faster"),
    ] = "fp32",
    device: Annotated[str, Parameter(help="auto, cpu, cuda or mps")] = "auto",
    truncate: Annotated[
        bool, Parameter(help="cut texts to embed that are too long, if a request does not say; default: refuse them")
    ] = False,
    allow_origin: Annotated[
        tuple[str, ...],
        Parameter(help="web pages that may use the server (CORS), such as https://example.org; * for all"),
    ] = (),
    api_key: Annotated[
        str | None,
        Parameter(env_var="MASKLING_API_KEY", help="require this key; default: $MASKLING_API_KEY, else none"),
    ] = None,
) -> None:
    """Serve a model over HTTP, with a web page to try it out.

    Serves whatever the model can do: filling masks, embeddings, scores, attention maps, or the task it was fine-tuned
    for. Works with the clients of Hugging Face (InferenceClient), OpenAI (embeddings), Cohere (rerank) and
    text-embeddings-inference. Concurrent requests are batched. There is no encryption: put a proxy in front before you
    open it to other machines.

    Example: maskling serve runs/mine
    """
    console = Console(as_json=json)
    if not 0 <= port <= _MAX_PORT:
        raise SettingsError(f"--port is {port}; give a number from 0 to {_MAX_PORT}")
    try:
        from maskling.serve.access import check_key, check_origins
        from maskling.serve.app import create_app, listen, local_hosts, serve_until_stopped, url_of
        from maskling.serve.batching import Batcher
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), "serve", "serve") from None
    key, origins = check_key(api_key), check_origins(allow_origin)
    with listen(host, port) as listener:
        from maskling.infer.model import load
        from maskling.serve.service import Service, default_name

        console.doing("loading the model")
        # Copied into memory: a file that is overwritten or cut must not change the model, or end the process.
        services: list[Service] = []
        for path in (model, *([] if compare is None else [compare])):
            name = default_name(path)
            name = f"{name} (2)" if services and services[0].name == name else name
            services.append(Service.of(load(path, device=device, dtype=dtype, mmap=False), name, truncate))
            services[-1].warm_up()
        service, *others = services
        address = url_of(listener)

        def on_ready() -> None:
            console.data({"address": address, "model": service.name, "task": service.task})
            console.result(f"{service.name} is served at {address}")
            console.note(f"{service.task}, {service.model.compute.description}; endpoints: {address}/docs")
            console.note("press Ctrl-C to stop")

        batcher = Batcher()
        try:
            hosts = local_hosts(host, listener)
            other = others[0] if others else None
            app = create_app(service, hosts, batcher, api_key=key, origins=origins, compared=other)
            serve_until_stopped(app, listener, on_ready)
        finally:
            batcher.close()
            if batcher.busy:
                # A running call of the model cannot be interrupted, and its result is no longer needed. Waiting for
                # it, or ending the interpreter while the thread is in torch, would hang or abort.
                try:
                    console.stopped()
                finally:
                    os._exit(EXIT_STOPPED)
