"""Requests per second: `maskling serve` vs. sentence-transformers behind a simple hand-written endpoint.

    python benchmarks/serving.py MODEL [--text FOLDER ...] [--clients 1 8 32] [--seconds 10] [--rounds 3] [--quick]

MODEL is a folder that SentenceTransformer loads. Each client requests the vector of one line of text, and the next as
soon as it has it. The peer is a FastAPI endpoint that calls `encode` for each request in a thread, fp32 on both
sides.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

from common import lines, parser_of, report

PEER = """
import socket, sys
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

model = SentenceTransformer(sys.argv[1], device="cpu")
app = FastAPI()

class Texts(BaseModel):
    inputs: list[str]

@app.post("/embed")
def embed(texts: Texts) -> list[list[float]]:
    return model.encode(texts.inputs, normalize_embeddings=True, show_progress_bar=False).tolist()

opened = socket.socket(proto=socket.IPPROTO_TCP)
opened.bind(("127.0.0.1", 0))
print(f'{{"address": "http://127.0.0.1:{opened.getsockname()[1]}"}}', flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[opened])
"""


def main() -> None:
    parser = parser_of(__doc__, "--text", "--quick", "--json")
    parser.add_argument("model", type=Path)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.quick:
        options.clients, options.seconds, options.rounds = [2], 0.5, 1
    texts = [line for line in lines(options.text, 500_000) if 20 <= len(line) <= 600]
    ours = [sys.executable, "-m", "maskling", "serve", str(options.model), "--port", "0", "--json", "--device", "cpu"]
    peer = [sys.executable, "-c", PEER, str(options.model)]
    rows: list[dict[str, Any]] = []
    with started(ours) as one, started(peer) as other:
        sides = {"maskling": one, "sentence-transformers": other}
        for clients in options.clients:
            found: dict[str, list[Load]] = {side: [] for side in sides}
            for turn in range(options.rounds + 1):
                for side, address in sides.items():
                    load = asyncio.run(load_of(address, texts, clients, options.seconds if turn else 1))
                    if turn:  # the first is a warm-up
                        found[side].append(load)
            rows += [row(side, clients, loads) for side, loads in found.items()]
            ahead = rows[-2]["requests/s"] / rows[-1]["requests/s"]
            rows[-2]["maskling is x"], rows[-1]["maskling is x"] = None, ahead
    report("serving", rows, options.json)


Load = tuple[float, list[float]]


def row(side: str, clients: int, loads: list[Load]) -> dict[str, Any]:
    waits = sorted(wait for _, some in loads for wait in some)
    return {
        "clients": clients,
        "side": side,
        "requests/s": statistics.median(len(some) / seconds for seconds, some in loads),
        "median ms": 1000 * waits[len(waits) // 2],
        "p95 ms": 1000 * waits[int(0.95 * (len(waits) - 1))],
    }


async def load_of(address: str, texts: list[str], clients: int, seconds: float) -> Load:
    """Return the total seconds and the latency of each request."""
    import httpx

    source, waits = cycle(texts), list[float]()
    end = time.perf_counter() + seconds

    async def ask(client: httpx.AsyncClient) -> None:
        while time.perf_counter() < end:
            began = time.perf_counter()
            # `encode` truncates long texts silently; `maskling serve` refuses them without "truncate".
            body = {"inputs": [next(source)], "truncate": True}
            (await client.post("/embed", json=body)).raise_for_status()
            waits.append(time.perf_counter() - began)

    began = time.perf_counter()
    async with httpx.AsyncClient(base_url=address, timeout=120) as client:
        await asyncio.gather(*(ask(client) for _ in range(clients)))
    return time.perf_counter() - began, waits


@contextmanager
def started(command: list[str]) -> Iterator[str]:
    """Start a server in a separate process; yield its address."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["address"]
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
