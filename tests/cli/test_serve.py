"""`maskling serve`, as a person starts and stops it."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from commands import Command, started

SERVE = ["serve", "runs/mine", "--port", "0", "--json", "--device", "cpu"]


def test_it_says_where_it_answers_and_ends_at_ctrl_c(made: Path) -> None:
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


def test_mistakes_are_said_before_the_model_is_opened(maskling: Command, made: Path) -> None:
    assert "--port is 70000" in maskling("serve", made / "runs" / "mine", "--port", 70_000).complaint
    assert "no such address" in maskling("serve", made / "runs" / "mine", "--host", "nowhere.invalid").complaint
    assert "nothing" in maskling("serve", made / "nothing", "--port", 0).complaint


def test_without_the_extra_it_names_it(made: Path) -> None:
    # In a process of its own: modules that are imported twice would be others for the tests that come after.
    code = "import sys; sys.modules['uvicorn'] = None; from maskling.cli.main import run; sys.exit(run(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "serve", "runs/mine"]
    said = subprocess.run(command, cwd=made, capture_output=True, text=True, check=False)
    assert said.returncode == 2
    assert "needs the package 'uvicorn': run  pip install 'maskling[serve]'" in said.stderr


def test_a_server_that_works_is_gone_at_the_second_ctrl_c(made: Path) -> None:
    with started(SERVE, made) as process:
        assert process.stdout is not None
        where = urlsplit(json.loads(process.stdout.readline())["address"]).netloc
        asked = json.dumps({"text": ["the dog sees a fox " * 60] * 200})  # some minutes of work
        connections = [http.client.HTTPConnection(where, timeout=60) for _ in range(2)]
        connections[0].request("POST", "/score", asked, {"Content-Type": "application/json"})
        connections[1].request("GET", "/health")
        assert connections[1].getresponse().status == 200
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
