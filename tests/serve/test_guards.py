"""What a server refuses, and how it says so; where it listens, and under which names it answers."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from maskling.errors import SettingsError
from maskling.serve import size_limit
from maskling.serve.app import PAGE, application
from maskling.serve.running import address_of, hosts_of, listening
from maskling.serve.service import Service
from served_models import Client, Opened


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/fill", '{"text": "a"', "the request is no JSON"),
        ("/fill", '{"text": "a", "topk": 3}', "topk: extra inputs are not permitted"),
        ("/fill", '{"text": "a [MASK]", "top_k": 0}', "top_k: input should be greater than or equal to 1"),
        ("/fill", '{"top_k": 1}', "text: field required"),
        ("/fill", '{"text": 5}', "text: "),
        ("/fill", '{"text": []}', "text: "),
        ("/fill", '{"text": "a"}', "there is no [MASK] in 'a'"),
        ("/score", '{"text": "a", "method": "best"}', "method: input should be 'original' or 'within-word-l2r'"),
        ("/predict", '{"inputs": "a"}', "no head for a task"),
    ],
)
def test_a_mistake_is_one_clear_line(client: Client, path: str, body: str, said: str) -> None:
    answer = client("plain").post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert said in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def test_other_places_and_methods(client: Client) -> None:
    serving = client("plain")
    assert serving.get("/nowhere").json()["error"].startswith("there is nothing at /nowhere")
    assert serving.get("/fill").status_code == 405
    assert serving.get("/v1/nowhere").json()["error"]["message"].startswith("there is nothing at")
    assert serving.get("/page/../app.py").status_code == 404
    assert serving.get("/page/%2e%2e/app.py").status_code == 404


def test_a_fault_of_ours_shows_nothing_of_its_insides(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(Service, "score", fails)
    answer = client("plain").post("/score", json={"text": "a"})
    assert answer.status_code == 500
    assert "RuntimeError" in answer.json()["error"]
    assert "secret" not in answer.text


def pieces(size: int) -> Iterator[bytes]:
    for _ in range(0, size, 1000):
        yield b" " * 1000


@pytest.mark.parametrize("whole", [True, False], ids=["said", "in pieces"])
def test_what_is_too_large_is_refused(opened: Opened, monkeypatch: pytest.MonkeyPatch, whole: bool) -> None:
    monkeypatch.setattr(size_limit.SizeLimit.__init__, "__defaults__", (10_000,))
    with TestClient(application(Service.of(opened("plain"), "plain"))) as client:
        long = b" " * 20_000 if whole else pieces(20_000)
        answer = client.post("/embed", content=long, headers={"Content-Type": "application/json"})
        assert answer.status_code == 413
        assert "larger than" in answer.json()["error"]
        body = json.dumps({"inputs": "a"}).encode()
        short = body if whole else iter([body[:5], body[5:]])
        assert client.post("/embed", content=short, headers={"Content-Type": "application/json"}).status_code == 200


def test_on_this_machine_alone_it_answers_under_its_own_names_alone(opened: Opened) -> None:
    service = Service.of(opened("plain"), "plain")
    with TestClient(application(service, hosts_of("127.0.0.1"))) as client:
        for host in ("localhost:8000", "127.0.0.1:8000", "localhost"):
            assert client.get("/health", headers={"Host": host}).status_code == 200, host
        assert client.get("/health", headers={"Host": "evil.example"}).status_code == 400
        assert client.post("/embed", json={"inputs": "a"}, headers={"Host": "evil.example"}).status_code == 400
    with TestClient(application(service, hosts_of("0.0.0.0"))) as client:
        assert client.get("/health", headers={"Host": "model.example"}).status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_loopback_is_this_machine_alone(host: str) -> None:
    assert "*" not in hosts_of(host)


def test_a_port_that_is_taken_is_said_to_be() -> None:
    with listening("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert address_of(taken) == f"http://127.0.0.1:{port}"
        with pytest.raises(SettingsError, match=f"127.0.0.1:{port} cannot be listened at: address already in use"):
            listening("127.0.0.1", port)


def test_an_address_that_is_none() -> None:
    with pytest.raises(SettingsError, match="there is no such address"):
        listening("no such host.invalid", 0)


def test_everywhere_is_shown_as_localhost() -> None:
    with listening("0.0.0.0", 0) as opened:
        assert address_of(opened).startswith("http://localhost:")
    if socket.has_ipv6:
        try:
            with listening("::1", 0) as opened:
                assert address_of(opened).startswith("http://[::1]:")
        except SettingsError:
            pytest.skip("there is no ::1 on this machine")


def test_the_page_takes_nothing_from_elsewhere_and_asks_what_there_is(client: Client) -> None:
    serving = client("plain")
    page = serving.get("/")
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    files = [path for path in PAGE.rglob("*") if path.suffix in (".js", ".css", ".html") and "vendor" not in path.parts]
    assert len(files) > 5
    paths = serving.get("/openapi.json").json()["paths"]
    asked: set[str] = set()
    for path in files:
        source = path.read_text(encoding="utf-8")
        assert not re.search(r"https?://", source), path
        for name in re.findall(r'(?:from|src=|href=) ?"(?:\./|page/)([^"]+)"', source):
            assert (PAGE / name).is_file(), f"{path}: {name}"
            assert serving.get(f"/page/{name}").status_code == 200
        asked |= set(re.findall(r'\bask\("(\w+)"', source))
    assert asked >= {"fill", "score", "embed", "attention", "predict", "info"}
    assert {f"/{name}" for name in asked} <= set(paths)


def test_licences_lie_beside_what_is_not_ours() -> None:
    vendored = PAGE / "vendor"
    assert {path.name for path in vendored.iterdir()} == {"htm-preact.js", "LICENSE-htm", "LICENSE-preact"}
    assert "Apache License" in Path(vendored / "LICENSE-htm").read_text()
