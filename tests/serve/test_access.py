"""API key, origins of web pages, and host names."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from maskling.errors import SettingsError
from maskling.serve.access import check_key, check_origins
from maskling.serve.app import create_app
from maskling.serve.service import Service
from served_models import Opened

BODY = {"inputs": "a dog"}


def test_an_api_key_is_required_of_all_but_health_and_the_page(opened: Opened) -> None:
    with TestClient(create_app(Service.of(opened("plain"), "plain"), api_key="s3cret")) as client:
        for given in (None, "Bearer wrong", "Bearer s3cretx", "Bearer ", "s3cret", "Basic s3cret", "Bearer \xe9"):
            headers = {} if given is None else {b"Authorization": given.encode("latin-1")}
            answer = client.post("/embed", json=BODY, headers=headers)  # type: ignore[arg-type]
            assert answer.status_code == 401, given
            assert "Authorization: Bearer KEY" in answer.json()["error"]
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert client.post("/v1/embeddings", json={"input": "a"}).json()["error"]["type"] == "unauthorized_error"
        for path in ("/info", "/metrics", "/openapi.json", "/page/../info", "/health/"):
            assert client.get(path).status_code == 401, path
        assert client.post("/", json=BODY).status_code == 401
        for path in ("/health", "/", "/docs", "/page/main.js"):
            assert client.get(path).status_code == 200, path
        key = {"Authorization": "Bearer s3cret"}
        assert client.post("/embed", json=BODY, headers=key).status_code == 200
        assert client.get("/openapi.json", headers=key).json()["security"] == [{"key": []}]


def test_only_allowed_pages_may_ask(opened: Opened) -> None:
    service = Service.of(opened("plain"), "plain")
    allowed, other = "http://localhost:3000", "https://evil.example"
    with TestClient(create_app(service, api_key="k", origins=[allowed])) as client:
        asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
        answer = client.options("/embed", headers={"Origin": allowed, **asks})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == allowed
        refused = client.options("/embed", headers={"Origin": other, **asks})
        assert refused.status_code == 400
        assert "access-control-allow-origin" not in refused.headers
        # A page can read why it was refused.
        wrong = client.post("/embed", json=BODY, headers={"Origin": allowed})
        assert (wrong.status_code, wrong.headers["access-control-allow-origin"]) == (401, allowed)
    with TestClient(create_app(service)) as client:
        assert client.options("/embed", headers={"Origin": allowed, **asks}).status_code == 405
        assert (
            "access-control-allow-origin" not in client.post("/embed", json=BODY, headers={"Origin": allowed}).headers
        )


def test_origins_and_keys_that_no_browser_or_client_sends_are_refused() -> None:
    assert check_origins(["https://Example.org", "*", "http://[::1]:3000"])[0] == "https://example.org"
    for origin in ("example.org", "https://example.org/", "https://example.org/page", "ftp://a", "", "null"):
        with pytest.raises(SettingsError, match="--allow-origin"):
            check_origins([origin])
    assert check_key(None) is None
    for key in ("", "a b", "schlüssel", "a\n"):
        with pytest.raises(SettingsError, match="API key"):
            check_key(key)


@pytest.mark.parametrize("host", ["[::1]evil", "localhost:8791@evil", "localhost:80:80", "localhost:", "[::1", ""])
def test_host_names_are_read_whole(opened: Opened, host: str) -> None:
    app = create_app(Service.of(opened("plain"), "plain"), ["localhost", "[::1]"])
    with TestClient(app) as client:
        assert client.get("/health", headers={"Host": "[::1]:8791"}).status_code == 200
        assert client.get("/health", headers={"Host": host}).status_code == 400


def test_the_documentation_page_loads_nothing_from_elsewhere(opened: Opened) -> None:
    with TestClient(create_app(Service.of(opened("plain"), "plain"))) as client:
        page = client.get("/docs")
        assert "default-src 'self'" in page.headers["Content-Security-Policy"]
        assert "page/docs.js" in page.text
