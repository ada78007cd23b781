"""`maskling serve`: start, stop, and errors before the model is loaded."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from commands import ENVIRONMENT, Command, started

SERVE = ["serve", "runs/mine", "--port", "0", "--json", "--device", "cpu"]


def test_it_prints_its_address_and_ends_at_ctrl_c(made: Path) -> None:
    with started(SERVE, made) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        assert (said["model"], said["task"]) == ("mine", "fill-mask")
        with urllib.request.urlopen(f"{said['address']}/info", timeout=30) as answer:
            assert json.load(answer)["model_id"] == "mine"
        with urllib.request.urlopen(said["address"], timeout=30) as answer:
            assert b"page/main.js" in answer.read()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "stopped"


def test_errors_are_reported_before_the_model_is_loaded(maskling: Command, made: Path) -> None:
    assert "--port is 70000" in maskling("serve", made / "runs" / "mine", "--port", 70_000).complaint
    assert "no such address" in maskling("serve", made / "runs" / "mine", "--host", "nowhere.invalid").complaint
    assert "nothing" in maskling("serve", made / "nothing", "--port", 0).complaint
    assert "not an origin" in maskling("serve", made / "runs" / "mine", "--allow-origin", "example.org").complaint
    assert "API key" in maskling("serve", made / "runs" / "mine", "--api-key", "a b").complaint


def test_the_key_comes_from_the_environment_and_is_not_shown(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENVIRONMENT, "MASKLING_API_KEY", "s3cret")
    with started([*SERVE, "--truncate", "--allow-origin", "http://localhost:3000"], made) as process:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["address"]
        asked = urllib.request.Request(
            f"{address}/embed",
            json.dumps({"inputs": "dog " * 500}).encode(),
            {"Content-Type": "application/json", "Authorization": "Bearer s3cret", "Origin": "http://localhost:3000"},
        )
        with urllib.request.urlopen(asked, timeout=60) as answer:
            assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
        asked.remove_header("Authorization")
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(asked, timeout=60)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert "s3cret" not in err


def test_without_the_extra_the_error_names_it(made: Path) -> None:
    # In a process of its own: modules that are imported twice would be others for the tests that come after.
    code = "import sys; sys.modules['uvicorn'] = None; from maskling.cli.main import run; sys.exit(run(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "serve", "runs/mine"]
    said = subprocess.run(command, cwd=made, capture_output=True, text=True, check=False)
    assert said.returncode == 2
    assert "needs the package 'uvicorn': run  pip install 'maskling[serve]'" in said.stderr


def test_a_busy_server_is_gone_at_the_second_ctrl_c(made: Path) -> None:
    with started(SERVE, made) as process:
        assert process.stdout is not None
        address = urlsplit(json.loads(process.stdout.readline())["address"]).netloc
        connections = [http.client.HTTPConnection(address, timeout=60) for _ in range(4)]
        # Several seconds of work on any processor. Texts differ, as the score of equal texts is computed once.
        for number, connection in enumerate(connections[:3]):
            texts = [f"{'the dog sees a fox ' * 60} {number} {index}" for index in range(200)]
            connection.request("POST", "/score", json.dumps({"text": texts}), {"Content-Type": "application/json"})
        connections[3].request("GET", "/health")
        assert connections[3].getresponse().status == 200
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)  # as a person would
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        took = time.monotonic() - began
        for connection in connections:
            connection.close()
    assert process.returncode == 130
    assert took < 8
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "stopped"


def test_an_idle_server_keeps_its_exit_code_at_a_second_ctrl_c_at_any_moment(made: Path) -> None:
    # It shuts down within some 0.2 s of the first; the second comes before, while and after the interpreter ends.
    for delay in (0, 0.05, 0.1, 0.15, 0.2):
        with started(SERVE, made) as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.send_signal(signal.SIGINT)
            time.sleep(delay)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        assert process.returncode == 130, delay
        assert "Traceback" not in err
