"""Requests of clients that have disconnected are cancelled."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from maskling.serve.service import Service
from served_models import Address


class Gate:
    """Blocks a Service's scores until opened; records the scored texts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.goes = threading.Event(), threading.Event()
        self.texts, real = list[str](), Service.score

        def score(service: Service, texts: list[str], method: str) -> object:
            self.reached.set()
            assert self.goes.wait(30)
            self.texts += texts
            return real(service, texts, method)  # type: ignore[arg-type]

        monkeypatch.setattr(Service, "score", score)


def post(address: str, text: str) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    connection.request("POST", "/score", json.dumps({"text": text}), {"Content-Type": "application/json"})
    return connection


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def waiting(address: str) -> int:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    return int(float(next(line for line in lines if line.startswith("maskling_waiting_texts ")).split()[1]))


def test_the_request_of_a_disconnected_client_is_cancelled(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, where = Gate(monkeypatch), address("plain")
    first = post(where, "a dog")
    assert gate.reached.wait(30)
    leaving = [post(where, "a fox") for _ in range(3)]
    until(lambda: waiting(where) == 3)
    for connection in leaving:
        connection.close()
    until(lambda: waiting(where) == 0)
    last = post(where, "paris")
    until(lambda: waiting(where) == 1)
    gate.goes.set()
    answers = [json.loads(one.getresponse().read())["text"] for one in (first, last)]
    assert answers == ["a dog", "paris"]
    assert gate.texts == ["a dog", "paris"]
    for connection in (first, last):
        connection.close()
