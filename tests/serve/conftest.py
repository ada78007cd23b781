"""Fixtures: small models of every kind, behind the application, and behind a real server for real clients."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch
import uvicorn
from fastapi.testclient import TestClient

from maskling.exporting.cards import CardFacts, TaskFacts
from maskling.exporting.folder import export_model, export_task_model
from maskling.infer.model import Model, load
from maskling.model.tasks.model import new_task_model
from maskling.serve.app import create_app, listen, url_of
from maskling.serve.service import Service
from served_models import HEADS, Address, Client, Opened
from small_models import bert, wordpiece


@pytest.fixture(scope="session")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """The model of a kind: 'plain', which fills masks, or one of HEADS."""
    folder = tmp_path_factory.mktemp("served")
    tokenizer = wordpiece(folder / "vocabulary")
    export_model(bert(tokenizer), tokenizer, folder / "plain", CardFacts())
    models: dict[str, Model] = {}

    def model(kind: str) -> Model:
        if kind not in models:
            if kind != "plain":
                task = new_task_model(bert(tokenizer).config, HEADS[kind], seed=3)
                with torch.no_grad():
                    task.head.classifier.weight.mul_(3)
                export_task_model(task, tokenizer, folder / kind, TaskFacts(seq_length=40))
            models[kind] = load(folder / kind, device="cpu")
        return models[kind]

    return model


@pytest.fixture
def client(opened: Opened) -> Iterator[Client]:
    """A client of the application for the model of a kind, without a server in between."""
    clients: list[TestClient] = []

    def of(kind: str) -> TestClient:
        app = create_app(Service.of(opened(kind), kind))
        clients.append(TestClient(app, raise_server_exceptions=False).__enter__())
        return clients[-1]

    yield of
    for each in clients:
        each.__exit__()


@pytest.fixture(scope="session")
def address(opened: Opened) -> Iterator[Address]:
    """The address of a server for the model of a kind."""
    running: dict[str, tuple[str, uvicorn.Server, threading.Thread]] = {}

    def of(kind: str) -> str:
        if kind not in running:
            app = create_app(Service.of(opened(kind), kind), ["127.0.0.1"])
            socket = listen("127.0.0.1", 0)
            server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True)
            thread.start()
            running[kind] = url_of(socket), server, thread
        return running[kind][0]

    yield of
    for _, server, thread in running.values():
        server.should_exit = True
        thread.join(10)
