"""Requests that try to exhaust a server, with a small request answered throughout; used by the tests and by hand."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

HEADERS = {"Content-Type": "application/json"}


@dataclass
class Watch:
    """What a small request experiences: seconds of each answer, and vectors that were not the right one."""

    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def post(address: str, path: str, body: Any, timeout: float = 60) -> tuple[int, bytes]:
    """The status and the body of a response."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=timeout)
    try:
        connection.request("POST", path, json.dumps(body), HEADERS)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@contextlib.contextmanager
def watched(address: str, pause: float = 0.05) -> Iterator[Watch]:
    """Send a small request again and again, on a new connection each time."""
    watch, done = Watch(), threading.Event()
    body = {"inputs": "a lazy dog"}
    expected = json.loads(post(address, "/embed", body)[1])[0]

    def ask() -> None:
        while not done.is_set():
            began = time.monotonic()
            try:
                status, found = post(address, "/embed", body)
                values = json.loads(found)[0] if status == 200 else []
                if (
                    len(values) != len(expected)
                    or max(abs(a - b) for a, b in zip(values, expected, strict=True)) > 1e-4
                ):
                    watch.wrong.append(f"{status} {found[:200]!r}")
            except (OSError, http.client.HTTPException) as error:
                watch.wrong.append(repr(error))
            watch.seconds.append(time.monotonic() - began)
            done.wait(pause)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield watch
    finally:
        done.set()
        thread.join(120)


def abandoned(address: str, path: str, body: Any, seconds: float) -> None:
    """Send a request and leave after some seconds."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    connection.request("POST", path, json.dumps(body), HEADERS)
    time.sleep(seconds)
    connection.close()


def half_requests(address: str, count: int, body: bytes = b'{"inputs": "a') -> list[socket.socket]:
    """Connections that each send the head of a request and half of its body."""
    where = urlsplit(address)
    opened: list[socket.socket] = []
    for _ in range(count):
        try:
            one = socket.create_connection((where.hostname or "", where.port or 0), timeout=5)
            one.sendall(
                b"POST /embed HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(body) + 1000, body)
            )
        except OSError:
            continue
        opened.append(one)
    return opened


def peak_bytes(pid: int) -> int:
    """The most memory that a process has had, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


def together(calls: list[tuple[str, Any]], address: str) -> list[int]:
    """The status of each of some requests that are sent at once."""
    found = [0] * len(calls)

    def send(index: int) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            found[index] = post(address, *calls[index], timeout=300)[0]

    threads = [threading.Thread(target=send, args=(index,)) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


TEXT = "[MASK] [MASK] [MASK] [MASK] " + "x" * 1960


def too_large(scale: int) -> list[tuple[str, Any]]:
    """Requests whose answer or work would be too large. scale: 1000 for the limits of a real server."""
    return [
        ("/fill", {"text": [TEXT] * 60, "top_k": 1000}),
        ("/fill", {"text": ["[MASK]"] * 2048, "top_k": 1000}),
        ("/fill", {"text": "[MASK]", "targets": ["dog"] * (300 * scale)}),
        ("/", {"inputs": [TEXT] * 60, "parameters": {"top_k": 1000}}),
        ("/tokenize", {"inputs": ["!" * 500 * scale] * 4}),
        ("/score", {"text": ["! " * scale] * 16}),
        ("/embed_all", {"inputs": ["! " * scale] * 2048}),
        ("/embed", {"inputs": ["a"] * 10 * scale}),
        ("/embed", {"inputs": [1] * 1000 * scale}),
        ("/v1/embeddings", {"input": [[1]] * 500 * scale}),
        ("/v1/embeddings", {"input": [1] * 1000 * scale}),
        ("/decode", {"ids": [1] * 1000 * scale}),
        ("/v1/rerank", {"query": "a", "documents": ["a"] * 100 * scale}),
    ]


def slow(scale: int) -> list[tuple[str, Any]]:
    """Requests within the limits that take long."""
    words = [f"dog{number} fox" for number in range(200)]
    return [
        ("/score", {"text": "! " * scale}),
        ("/score", {"text": ["! " * (scale // 4)] * 8}),
        ("/fill", {"text": "the [MASK] dog sees a fox", "targets": words}),
        ("/fill", {"text": ["[MASK] dog"] * 50, "top_k": 1000}),
        ("/embed", {"inputs": ["dog " * 100] * 500, "truncate": True}),
        ("/embed", {"inputs": ["a" * 400 * scale], "truncate": True}),
        ("/attention", {"text": "dog " * 100}),
        ("/tokenize", {"inputs": ["!" * 95 * scale]}),
        ("/fill", {"text": "[MASK] " * 16 + "dog", "joint": True, "top_k": 16}),
    ]
