"""Refused requests and their messages; addresses, and accepted host names."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from maskling.errors import SettingsError
from maskling.serve.app import PAGE, create_app, listen, local_hosts, url_of
from maskling.serve.middleware import BufferedRequests
from maskling.serve.service import Service
from served_models import Client, Opened

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/fill", '{"text": "a"', "the request is not JSON"),
        ("/fill", '{"text": "a", "topk": 3}', "topk: there is no such key here"),
        ("/fill", '{"text": "a [MASK]", "top_k": 0}', "top_k: input should be greater than or equal to 1"),
        ("/fill", '{"top_k": 1}', "text: field required"),
        ("/fill", '{"text": 5}', "text: "),
        ("/fill", '{"text": []}', "text: "),
        ("/fill", '{"text": "a"}', "there is no [MASK] in 'a'"),
        ("/score", '{"text": "a", "method": "best"}', "method: input should be 'original' or 'within-word-l2r'"),
        ("/predict", '{"inputs": "a"}', "plain has no task head; it is for: fill-mask"),
    ],
)
def test_an_invalid_request_gets_one_clear_line(client: Client, path: str, body: str, said: str) -> None:
    answer = client("plain").post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert said in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def test_unknown_paths_and_methods(client: Client) -> None:
    serving = client("plain")
    assert serving.get("/nowhere").json()["error"].startswith("there is nothing at /nowhere")
    assert serving.get("/fill").status_code == 405
    assert serving.get("/v1/nowhere").json()["error"]["message"].startswith("there is nothing at")
    assert serving.get("/page/../app.py").status_code == 404
    assert serving.get("/page/%2e%2e/app.py").status_code == 404


def test_an_internal_error_shows_no_details(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(Service, "score", fails)
    serving = client("plain")
    answer = serving.post("/score", json={"text": "a"})
    assert answer.status_code == 500
    assert "RuntimeError" in answer.json()["error"]
    assert "secret" not in answer.text
    assert 'path="/score",status="500"' in serving.get("/metrics").text


def pieces(size: int) -> Iterator[bytes]:
    for _ in range(0, size, 1000):
        yield b" " * 1000


@pytest.mark.parametrize("whole", [True, False], ids=["said", "in pieces"])
def test_a_request_that_is_too_large_is_refused(opened: Opened, monkeypatch: pytest.MonkeyPatch, whole: bool) -> None:
    monkeypatch.setattr(BufferedRequests.__init__, "__defaults__", (10_000, 30.0))
    with TestClient(create_app(Service.of(opened("plain"), "plain"))) as client:
        long = b" " * 20_000 if whole else pieces(20_000)
        answer = client.post("/embed", content=long, headers=JSON)
        assert answer.status_code == 413
        assert "larger than" in answer.json()["error"]
        body = json.dumps({"inputs": "a"}).encode()
        short = body if whole else iter([body[:5], body[5:]])
        assert client.post("/embed", content=short, headers=JSON).status_code == 200
        assert 'path="other",status="413"' in client.get("/metrics").text


@pytest.mark.parametrize(
    ("path", "asked", "said"),
    [
        ("/fill", {"text": "a " * 5000 + "[MASK]", "top_k": 1000}, "response would be too large"),
        ("/fill", {"text": ["[MASK] " + "a" * 900] * 20, "top_k": 1000}, "response would be too large"),
        ("/fill", {"text": "[MASK]", "targets": ["a" * 300]}, "a target has 300 characters"),
        ("/score", {"text": ["a " * 60] * 2048}, "the model would read about"),
        ("/embed", {"inputs": "a" * 500_001}, "500,001 characters"),
        ("/decode", {"ids": [1] * 100_001}, "ids is neither"),
        ("/fill", {"text": "[MASK] " * 20, "top_k": 20, "joint": True}, "too many to be filled jointly"),
        ("/score", {"text": "dog " * 1100}, "1,100 tokens, and each would be masked by itself"),
        ("/tokenize", {"inputs": ["a" * 400_000] * 2}, "800,000 characters"),
    ],
)
def test_responses_that_would_be_too_large_or_too_slow_are_refused(
    client: Client, path: str, asked: dict[str, object], said: str
) -> None:
    answer = client("plain").post(path, json=asked)
    assert answer.status_code == 422
    assert said in answer.json()["error"]


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/fill", {"text": "a \ud800[MASK]"}),
        ("/fill", {"text": "a [MASK]", "targets": ["\ud800"]}),
        ("/score", {"text": "a \udfff"}),
        ("/embed", {"inputs": ["a", "\ud800"]}),
        ("/", {"inputs": {"source_sentence": "a", "sentences": ["\ud800"]}}),
        ("/v1/embeddings", {"input": "\ud800"}),
    ],
)
def test_a_lone_surrogate_is_an_error(client: Client, path: str, asked: dict[str, object]) -> None:
    answer = client("plain").post(path, content=json.dumps(asked), headers=JSON)
    assert answer.status_code == 422
    assert "half a character" in answer.text


def test_a_surrogate_pair_is_a_character(client: Client) -> None:
    body = json.dumps({"inputs": "a 😀"})
    assert "\\ud83d" in body
    assert client("plain").post("/embed", content=body, headers=JSON).status_code == 200


@pytest.mark.parametrize(
    ("path", "asked", "key"),
    [
        ("/embed", {"inputs": "a", "pooling": "cls"}, "pooling"),
        ("/embed", {"inputs": "a", "prompt_name": "query"}, "prompt_name"),
        ("/v1/embeddings", {"input": "a", "nonsense": 3}, "nonsense"),
        ("/embed", {"inputs": "a", "truncation_direction": "Left"}, "truncation_direction"),
        ("/", {"inputs": "a", "parameters": {"function_to_apply": "none"}}, "parameters.function_to_apply"),
        ("/", {"inputs": "a [MASK]", "topk": 2}, "parameters.topk"),
        ("/predict", {"inputs": "a", "raw_scores": True}, "raw_scores"),
        ("/fill", {"text": "a [MASK]", "strict": 1}, "strict"),
    ],
)
def test_unsupported_parameters_are_refused(client: Client, path: str, asked: dict[str, object], key: str) -> None:
    answer = client("plain").post(path, json=asked)
    assert answer.status_code == 422
    said = answer.json()["error"]
    assert (said if isinstance(said, str) else said["message"]).startswith(f"{key}: ")


def test_a_request_without_the_json_content_type_gets_a_remedy(client: Client) -> None:
    serving = client("plain")
    body = '{"text": "a [MASK]"}'
    for headers in ({}, {"Content-Type": "application/x-www-form-urlencoded"}):
        answer = serving.post("/fill", content=body, headers=headers)
        assert answer.status_code == 415
        assert "Content-Type: application/json" in answer.json()["error"]
    assert "JSON in UTF-8" in serving.post("/fill", content=b'{"text": "\xff"}', headers=JSON).json()["error"]


def test_requests_of_load_balancers(client: Client) -> None:
    serving = client("plain")
    assert serving.head("/health").status_code == serving.head("/").status_code == 200
    answer = serving.get("/fill")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost"])
def test_a_local_server_accepts_only_its_own_host_names(opened: Opened, host: str) -> None:
    service = Service.of(opened("plain"), "plain")
    with listen(host, 0) as socket:
        names = local_hosts(host, socket)
    with TestClient(create_app(service, names)) as client:
        for name in ("localhost:8000", "127.0.0.1:8000", "LOCALHOST", "[::1]:8000", f"{host}:1"):
            assert client.get("/health", headers={"Host": name}).status_code == 200, name
        for path in ("/embed", "/v1/embeddings"):
            answer = client.post(path, json={"inputs": "a"}, headers={"Host": "evil.example"})
            assert answer.status_code == 400
            assert "not as 'evil.example'" in answer.text
    with listen("0.0.0.0", 0) as socket:
        assert local_hosts("0.0.0.0", socket) is None
    with TestClient(create_app(service)) as client:
        assert client.get("/health", headers={"Host": "model.example"}).status_code == 200


def test_a_port_in_use_is_named() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert url_of(taken) == f"http://127.0.0.1:{port}"
        assert taken.proto == socket.IPPROTO_TCP  # or small answers wait for 40 ms
        with pytest.raises(SettingsError, match=f"cannot listen on 127.0.0.1:{port}: address already in use"):
            listen("127.0.0.1", port)


def test_an_address_that_does_not_exist() -> None:
    with pytest.raises(SettingsError, match="there is no such address"):
        listen("no such host.invalid", 0)


class Bound(socket.socket):
    """A socket that says it is bound to an address of IPv6, which not every machine has."""

    def getsockname(self) -> tuple[str, int, int, int]:
        return ("::1", 8000, 0, 0)


def test_urls_for_a_browser() -> None:
    with listen("0.0.0.0", 0) as opened:
        assert url_of(opened) == f"http://localhost:{opened.getsockname()[1]}"
    with Bound() as bound:
        assert url_of(bound) == "http://[::1]:8000"
        names = local_hosts("::1", bound)
        assert names is not None
        assert "[::1]" in names


def test_the_page_loads_nothing_from_other_sites_and_uses_existing_endpoints(client: Client) -> None:
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
        asked |= set(re.findall(r'\b(?:ask|run)\("(\w+)"', source))
    assert asked >= {"fill", "score", "similarity", "generate", "tokenize", "predict", "info", "examples"}
    # A model that fills masks is not described as one that predicts labels.
    assert {f"/{name}" for name in asked} - set(paths) == {"/predict"}


def test_vendored_files_have_their_licences() -> None:
    vendored = PAGE / "vendor"
    assert {path.name for path in vendored.iterdir()} == {
        "htm-preact.js", "htm.module.js", "preact.module.js", "hooks.module.js", "LICENSE-htm", "LICENSE-preact"
    }  # fmt: skip
    assert "Apache License" in Path(vendored / "LICENSE-htm").read_text()
