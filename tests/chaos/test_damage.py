"""Flipped bits, truncated files, full disks, a second process: reported, and nothing is lost."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos_runs import assert_same_run, metrics
from maskling.errors import CheckpointError, MasklingError
from maskling.train import checkpoint
from maskling.train.events import Saved, Started, Step, Warned
from maskling.train.pretrain import pretrain
from toy_runs import Make

HALF = 11


def leave_after(recipe, run_dir: Path, step: int) -> None:
    for event in pretrain(recipe, run_dir):
        if isinstance(event, Step) and event.step == step:
            break


@pytest.fixture(scope="module")
def half(recipe_of: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run interrupted half-way."""
    folder = tmp_path_factory.mktemp("half") / "run"
    leave_after(recipe_of(), folder, HALF)
    return folder


def spoil(path: Path, draws: random.Random) -> None:
    """Flip a bit, or truncate the file."""
    content = bytearray(path.read_bytes())
    if draws.random() < 0.5:
        content[draws.randrange(len(content))] ^= 1 << draws.randrange(8)
    else:
        del content[draws.randrange(len(content)) :]
    path.write_bytes(content)


@pytest.mark.parametrize("what", ["tokens", "words", "sentences", "documents", "counts", "tokenizer.json"])
def test_a_damaged_shard_is_named_before_a_step_is_taken(
    recipe_of: Make, tmp_path: Path, toy: Path, half: Path, what: str
):
    data = shutil.copytree(toy, tmp_path / "data")
    (path, *_) = sorted(path for path in data.rglob("*") if what in path.name)
    content = bytearray(path.read_bytes())
    # The last byte of a packed array may have bits that stand for nothing.
    place = len(content) - 2 if path.suffix == ".npy" else content.index(b"ba")
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(MasklingError, match=f"{path.name}|tokenizer"):
        next(iter(pretrain(recipe_of({"data.path": str(data)}), shutil.copytree(half, tmp_path / "run"))))


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_manifest_is_refused_or_changes_nothing(
    recipe_of: Make, tmp_path: Path, toy: Path, half: Path, seed: int
):
    data = shutil.copytree(toy, tmp_path / "data")
    spoil(data / "manifest.json", random.Random(seed))
    run = pretrain(recipe_of({"data.path": str(data)}), shutil.copytree(half, tmp_path / "run"))
    # What no fingerprint covers (a source's size) decides nothing; all else is refused.
    with contextlib.suppress(MasklingError), contextlib.closing(run):
        assert isinstance(next(run), Started)
        assert isinstance(next(run), Step)


@pytest.mark.parametrize("seed", range(3))
def test_damaged_checkpoints_are_named_and_the_run_ends_with_the_same_bytes(
    recipe_of: Make, tmp_path: Path, half: Path, in_peace: Path, seed: int
):
    run, draws = shutil.copytree(half, tmp_path / "run"), random.Random(seed)
    newest = max((run / "checkpoints").iterdir())
    spoiled = newest / draws.choice(["model.safetensors", "optimizer.safetensors", "state.json"])
    content = bytearray(spoiled.read_bytes())
    if seed:
        content[draws.randrange(len(content))] ^= 128
    else:
        del content[draws.randrange(len(content)) :]
    spoiled.write_bytes(content)
    events = list(pretrain(recipe_of(), run))
    assert str(newest) in next(event for event in events if isinstance(event, Warned)).text
    assert_same_run(run, in_peace)


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Limit the size of files in the block, as on a full disk or over a quota."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_stops_the_run_and_it_goes_on_once_there_is_room(
    recipe_of: Make, tmp_path: Path, half: Path, in_peace: Path
):
    run = shutil.copytree(half, tmp_path / "run")
    before = checkpoint.newest_whole(run)[0].state.step
    events = pretrain(recipe_of(), run)
    next(event for event in events if isinstance(event, Step))
    with largest_file(20_000), pytest.raises(CheckpointError, match=r"could not be written.*make room"):
        list(events)
    assert checkpoint.newest_whole(run)[0].state.step == before
    assert not list(run.rglob("*.partial"))
    list(pretrain(recipe_of(), run))
    assert_same_run(run, in_peace)


def test_a_full_disk_is_warned_of_and_trained_through_where_that_is_asked(
    recipe_of: Make, tmp_path: Path, half: Path, in_peace: Path
):
    run = shutil.copytree(half, tmp_path / "run")
    warned, saved = [], []
    with contextlib.ExitStack() as room:
        for event in pretrain(recipe_of({"train.on_full_disk": "continue"}), run):
            if isinstance(event, Step) and event.step == HALF:
                room.enter_context(largest_file((run / "metrics.jsonl").stat().st_size + 10))
            if isinstance(event, Step) and event.step == 20:
                room.close()
            warned += [event.text] if isinstance(event, Warned) else []
            saved += [event.step] if isinstance(event, Saved) else []
    assert any("checkpoint" in text and "could not be written" in text for text in warned)
    assert sum("metrics.jsonl could not be written" in text for text in warned) == 1
    assert any("model could not be written" in text for text in warned)
    assert min(saved) >= 20
    names = ["checkpoints/step-000024/model.safetensors", "model/model.safetensors"]
    assert all((run / name).read_bytes() == (in_peace / name).read_bytes() for name in names)
    # Lines are missing, none is half there.
    assert all(line in metrics(in_peace) for line in metrics(run))
    assert len(metrics(run)) < len(metrics(in_peace))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("only root can mount a disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.slow
def test_a_disk_that_is_really_full(recipe_of: Make, small_disk: Path, in_peace: Path):
    with pytest.raises(CheckpointError, match="could not be written"):
        list(pretrain(recipe_of(), small_disk / "run"))
    subprocess.run(["mount", "-o", "remount,size=50m", str(small_disk)], check=True)
    list(pretrain(recipe_of(), small_disk / "run"))
    assert_same_run(small_disk / "run", in_peace)


HOLD = "import sys; from pathlib import Path; from maskling.train.run_folder import lock_run_folder\n"
HOLD += "with lock_run_folder(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"


def test_a_second_process_is_refused_and_a_dead_one_holds_nothing(recipe_of: Make, tmp_path: Path, half: Path):
    run = shutil.copytree(half, tmp_path / "run")
    command = [sys.executable, "-c", HOLD, str(run)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(CheckpointError, match=f"trained by another process .process {holder.pid}"):
            next(iter(pretrain(recipe_of(), run)))
        with pytest.raises(CheckpointError, match="another process"):
            next(iter(pretrain(recipe_of(), run, force_new=True)))
        holder.kill()
    with contextlib.closing(pretrain(recipe_of(), run)) as again:
        assert isinstance(next(again), Started)


def test_a_new_run_by_force_moves_the_old_one_aside(
    recipe_of: Make, tmp_path: Path, half: Path, monkeypatch: pytest.MonkeyPatch
):
    run = shutil.copytree(half, tmp_path / "run")
    (tmp_path / "run.1").mkdir()
    before = {path.relative_to(run): path.read_bytes() for path in run.rglob("*.safetensors")}
    other = recipe_of({"seed": 9, "train.steps": 2})
    with pytest.raises(CheckpointError, match="seed = 0, but this command asks for 9"):
        list(pretrain(other, run))
    events = list(pretrain(other, run, force_new=True))
    assert str(tmp_path / "run.2") in events[0].text
    assert events[1].resumed_from is None
    assert {path.relative_to(tmp_path / "run.2") for path in (tmp_path / "run.2").rglob("*.safetensors")} == set(before)
    assert all((tmp_path / "run.2" / name).read_bytes() == content for name, content in before.items())
    # torchrun starting the same command again goes on with the new run instead of moving it, too.
    monkeypatch.setitem(os.environ, "TORCHELASTIC_RESTART_COUNT", "1")
    assert list(pretrain(other, run, force_new=True))[-1].already
    assert not (tmp_path / "run.3").exists()
