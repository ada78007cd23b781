"""Calls in worker processes: in order, with their errors, whatever becomes of a worker."""

from __future__ import annotations

import math
import os
import pickle
import signal
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from maskling.data.prepare.workers import InProcess, Pool, in_order, open_workers, run_call
from maskling.errors import DataError, MissingExtra


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_come_in_the_order_of_the_calls(workers: int):
    with open_workers(workers) as workers:
        assert list(in_order(workers, pow, ((n, 2) for n in range(50)))) == [n * n for n in range(50)]


def test_calls_are_read_lazily():
    taken = []

    def calls():
        for n in range(1000):
            taken.append(n)
            yield (n,)

    with open_workers(2) as workers:
        answers = in_order(workers, abs, calls())
        assert next(answers) == 0
        assert len(taken) <= 4
        assert list(answers) == list(range(1, 1000))


def test_an_error_in_a_worker_is_raised_with_its_traceback():
    with Pool(1) as pool:
        error = pool.submit(math.sqrt, -1).exception()
        assert isinstance(error, ValueError)
        assert "in a worker process" in error.__notes__[0]
        assert pool.submit(math.sqrt, 4).result() == 2  # it lives on


@pytest.mark.parametrize("error", [MissingExtra("ftfy", "data", "mending"), DataError("a file: a fault; a remedy")])
def test_errors_of_this_project_keep_type_and_message(error: Exception):
    done, arrived = pickle.loads(run_call(pickle.dumps((raises, (error,)))))
    assert not done
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)


def test_an_error_that_cannot_be_pickled_is_raised_as_text():
    done, arrived = pickle.loads(run_call(pickle.dumps((raises, (SecretError(),)))))
    assert not done
    assert "SecretError: a secret" in str(arrived)


class SecretError(Exception):
    """Travels in, but not out again."""

    def __init__(self) -> None:
        super().__init__("a secret")

    def __reduce__(self) -> Any:
        if getattr(self, "__notes__", None):
            raise TypeError("not twice")
        return SecretError, ()


def raises(error: Exception) -> None:
    raise error


def test_a_call_that_cannot_be_pickled_is_an_error_not_a_hang():
    with Pool(1) as pool:
        assert pool.submit(len, (n for n in ())).exception() is not None
        assert pool.submit(len, "abc").result() == 3


def test_a_worker_that_dies_is_an_error_with_a_remedy():
    with Pool(1) as pool, pytest.raises(DataError, match=r"exited with code 7.*run the same command again"):
        pool.submit(os._exit, 7).result()
    with Pool(1) as pool:
        pid = pool.submit(os.getpid).result()
        with pytest.raises(DataError, match=r"by signal 9 \(often: out of memory\).*--system\.workers 1"):
            pool.submit(os.kill, pid, signal.SIGKILL).result()


def test_leaving_with_an_error_drops_the_calls_that_wait():
    waiting: list[Future[int]] = []

    def leave() -> None:
        with Pool(1) as pool:
            waiting.extend(pool.submit(sum, range(10_000_000)) for _ in range(200))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        leave()
    assert sum(call.cancelled() for call in waiting) > 150


def test_output_of_a_worker_does_not_mix_with_results(capfd: pytest.CaptureFixture[str]):
    with Pool(1) as pool:
        pool.submit(print, "noise").result()
        pool.submit(os.write, 1, b"more noise\n").result()
        assert pool.submit(len, "abc").result() == 3
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "noise" in captured.err


def test_workers_start_no_threads_of_their_own_and_take_no_module_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')")
    monkeypatch.chdir(tmp_path)
    with Pool(1) as pool:
        assert pool.submit(os.getenv, "RAYON_NUM_THREADS").result() == "1"


def test_a_script_without_a_main_guard_may_use_workers(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(
        "from maskling.data.prepare.workers import open_workers, in_order\n"
        "with open_workers(2) as workers: print(list(in_order(workers, abs, [(-1,), (2,)])))\n"
    )
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.stderr) == ("[1, 2]\n", "")


def test_in_process_is_the_same_without_processes():
    with InProcess() as here:
        assert here.submit(os.getpid).result() == os.getpid()
        assert isinstance(here.submit(math.sqrt, -1).exception(), ValueError)
