"""Stopped anywhere and run again, with any number of workers, `prepare` makes the same bytes, and repeats nothing."""

from __future__ import annotations

import errno
import io
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import killed_prepare
from maskling.data.manifest import MANIFEST
from maskling.data.prepare.events import Prepared, Reading, Resumed, ShardWritten, TokenizerTraining
from maskling.data.prepare.prepare import prepare
from maskling.data.shards import open_shards
from maskling.errors import CorpusError, DataError, TokenizerError
from tiny_corpus import contents, events, jsonl, prepared, settings, texts

TESTS = Path(__file__).parents[1]
KEPT = settings(shards=killed_prepare.KEEP_TEXT)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three files, with duplicates, rejects, a bad file, and documents that end parts at odd places."""
    folder = tmp_path_factory.mktemp("corpus") / "texts"
    folder.mkdir()
    one, two, three = texts(14, 1), texts(14, 2), texts(14, 3)
    jsonl(folder / "a.jsonl", [*one[:7], "", one[3], *one[7:]])
    (folder / "b.jsonl").write_bytes(
        b"not json\n" + jsonl(folder / "b.jsonl", [*two, one[0], two[1]]).read_bytes() + b"{"
    )
    (folder / "c.txt").write_bytes(b"")
    jsonl(folder / "d.jsonl", ["", *three, two[5], ""])
    return folder


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The bytes of a run without interruption."""
    out = tmp_path_factory.mktemp("whole") / "out"
    result = prepared(corpus, out, KEPT)
    assert len(list((out / "text").iterdir())) >= 4
    assert result.manifest.text.rejected == {"duplicate": 4, "too_short": 3}
    assert result.manifest.text.num_bad_files == 2
    open_shards(out, verify=True)
    return contents(out)


@pytest.mark.parametrize("workers", [0, 2, 3])
def test_bytes_do_not_depend_on_the_workers(corpus: Path, whole: dict[str, bytes], tmp_path: Path, workers: int):
    prepared(corpus, tmp_path / "out", KEPT.model_copy(update={"system": settings(workers).system}))
    assert contents(tmp_path / "out") == whole


def standing(folder: Path) -> dict[str, tuple[int, int]]:
    """The finished files of an unfinished folder that a rerun must not write again: their inodes and times."""
    found = {}
    for stage in ("text", "shards"):
        number = 0
        while (folder / stage / f"{number:05d}.json").exists():
            for path in (folder / stage).glob(f"*{number:05d}.*"):
                if path.name.endswith((".jsonl.zst", ".npy")) and "seen" not in path.name:
                    found[str(path.relative_to(folder))] = (path.stat().st_ino, path.stat().st_mtime_ns)
            number += 1
    return found


def killed(corpus: Path, folder: Path, points: list[int]) -> list[dict[str, int]]:
    """Runs into `folder/POINT`, each killed just before so many changes to the disk."""
    command = [sys.executable, str(TESTS / "killed_prepare.py"), str(corpus), str(folder), *map(str, points)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=TESTS, check=False)
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


@pytest.mark.parametrize("inner", [6, pytest.param(None, marks=pytest.mark.slow)], ids=["some", "all"])
def test_killed_at_any_instant_it_goes_on_to_the_same_bytes(
    corpus: Path, whole: dict[str, bytes], tmp_path: Path, inner: int | None
):
    (unhurt,) = killed(corpus, tmp_path, [10_000])
    assert not unhurt["killed"]
    assert contents(tmp_path / "10000") == whole
    last = unhurt["changes"]
    assert last > 60
    # The first and the last instants, and some (or all) in between.
    between = list(range(3, last - 2))
    points = [1, 2, *(random.Random(5).sample(between, inner) if inner else between), last - 2, last - 1]
    went_on = 0
    for told in killed(corpus, tmp_path, points):
        assert told["killed"]
        folder = tmp_path / str(told["point"])
        before = standing(folder)
        result = prepared(corpus, folder, KEPT)
        assert contents(folder) == whole, told
        after = {name: ((folder / name).stat().st_ino, (folder / name).stat().st_mtime_ns) for name in before}
        assert after == before, told
        went_on += not result.already
    assert went_on >= 6


def test_a_run_with_workers_that_is_killed_leaves_no_process_and_goes_on(
    corpus: Path, whole: dict[str, bytes], tmp_path: Path
):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path; from tiny_corpus import settings\n"
        "from maskling.data.prepare.prepare import prepare\n"
        "chosen = settings(2, shards={'keep_text': True})\n"
        "for event in prepare([sys.argv[2]], Path(sys.argv[3]), chosen): print(type(event).__name__, flush=True)\n"
    )
    out = tmp_path / "out"
    with subprocess.Popen([sys.executable, "-c", code, TESTS, corpus, out], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        for line in run.stdout:
            if line.strip() == "ShardWritten":
                break
        children = [int(pid) for pid in Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()]
        run.kill()
        # The workers hold no end of our pipe, and end by themselves when theirs closes.
        run.wait()
    assert len(children) == 2
    for child in children:
        wait_until_gone(child)
    assert not (out / MANIFEST).exists()
    prepared(corpus, out, KEPT)
    assert contents(out) == whole


def wait_until_gone(pid: int) -> None:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    import select

    assert select.select([handle], [], [], 60)[0], f"worker {pid} outlived its parent"
    os.close(handle)


def test_a_run_that_is_abandoned_stops_its_workers_and_frees_the_folder(
    corpus: Path, whole: dict[str, bytes], tmp_path: Path
):
    run = prepare([str(corpus)], tmp_path / "out", KEPT.model_copy(update={"system": settings(2).system}))
    assert isinstance(next(run), Reading)
    run.close()
    prepared(corpus, tmp_path / "out", KEPT)
    assert contents(tmp_path / "out") == whole


def test_ctrl_c_stops_cleanly(corpus: Path, whole: dict[str, bytes], tmp_path: Path):
    run = prepare([str(corpus)], tmp_path / "out", KEPT.model_copy(update={"system": settings(2).system}))
    next(run)
    with pytest.raises(KeyboardInterrupt):
        run.throw(KeyboardInterrupt())
    prepared(corpus, tmp_path / "out", KEPT)
    assert contents(tmp_path / "out") == whole


def test_resuming_reports_what_it_resumes_from(corpus: Path, tmp_path: Path):
    run = prepare([str(corpus)], tmp_path / "out", KEPT)
    for event in run:
        if isinstance(event, ShardWritten) and event.parts == 2:
            run.close()
    seen = events(corpus, tmp_path / "out", KEPT)
    assert isinstance(seen[0], Resumed)
    assert seen[0].parts >= 3
    assert seen[0].shards >= 2
    assert not any(isinstance(event, Reading | TokenizerTraining) for event in seen)


def test_a_finished_folder_is_left_alone(corpus: Path, tmp_path: Path):
    out = tmp_path / "out"
    prepared(corpus, out, settings())
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    (said,) = events(corpus, out, settings(3))
    assert isinstance(said, Prepared)
    assert said.already
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_its_own_files_are_not_sources(tmp_path: Path):
    jsonl(tmp_path / "a.jsonl", texts(20))
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8")
    prepared(tmp_path, tmp_path / "data", KEPT)
    assert (tmp_path / "data" / "tokenizer" / "tokenizer.json").exists()
    assert prepared(tmp_path, tmp_path / "data", KEPT).already
    (tmp_path / "elsewhere").mkdir()
    for path in list(tmp_path.glob("*.*")):
        path.rename(tmp_path / "elsewhere" / path.name)
    run = prepare([str(tmp_path / "elsewhere")], tmp_path / "elsewhere" / "data", KEPT)
    for event in run:
        if isinstance(event, ShardWritten):
            run.close()
    again = prepared(tmp_path / "elsewhere", tmp_path / "elsewhere" / "data", KEPT)
    assert again.manifest.made_from is not None
    assert again.manifest.made_from.sources.skipped == {".jpg": 1}
    assert again.manifest.made_from.sources.count == 1


def test_standard_input_is_never_assumed_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def piped(seed: int) -> list[str]:
        raw = jsonl(tmp_path / "piped.jsonl", texts(20, seed)).read_bytes()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))
        return ["-"]

    chosen = settings(corpus={"format": "jsonl"}, shards={"keep_text": True})
    run = prepare(piped(1), tmp_path / "out", chosen)
    for event in run:
        if isinstance(event, ShardWritten):
            run.close()
    list(prepare(piped(2), tmp_path / "out", chosen))
    list(prepare(piped(2), tmp_path / "fresh", chosen))
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")
    with pytest.raises(DataError, match="made from standard input"):
        list(prepare(piped(2), tmp_path / "out", chosen))


# ---- the folder of something else


def begun(corpus: Path, out: Path) -> None:
    run = prepare([str(corpus)], out, settings())
    next(run)
    run.close()


@pytest.mark.parametrize("start", [begun, lambda corpus, out: prepared(corpus, out, settings())], ids=["begun", "done"])
def test_other_settings_sources_or_tokenizers_are_refused_with_both_named(corpus: Path, tmp_path: Path, start, request):
    out = tmp_path / "out"
    source = jsonl(tmp_path / "a.jsonl", texts(20))
    start(source, out)
    before = contents(out)
    words = tmp_path / "vocab.txt"
    words.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nka\n")
    for chosen, said in (
        (settings(shards={"part_bytes": 4096}), "shards.part_bytes was 2048, now it is 4096"),
        (settings(corpus={"dedup": "none"}), "corpus.dedup was 'document', now it is 'none'"),
        (settings(tokenizer={"lowercase": False}), "tokenizer.lowercase was True, now it is False"),
        (settings(tokenizer={"path": str(words)}), "its tokenizer was trained on the corpus, now it is a given one"),
    ):
        with pytest.raises(DataError) as caught:
            prepared(source, out, chosen)
        assert said in str(caught.value)
        assert f"delete {out}" in str(caught.value)
    with pytest.raises(DataError, match=r"its sources were .*a\.jsonl, now they are 4 \(.*a\.jsonl, \.\.\.\)"):
        prepared(corpus, out, settings())
    text = source.read_text()
    source.write_text(text.replace("ka", "lo"))
    with pytest.raises(DataError, match=r"a\.jsonl has changed since"):
        prepared(source, out, settings())
    source.write_text(text + text)
    with pytest.raises(DataError, match=rf"a\.jsonl had {len(text)} bytes, now it has {2 * len(text)}"):
        prepared(source, out, settings())
    assert contents(out) == before
    source.write_text(text)
    prepared(source, out, settings(workers=2))


def test_a_folder_with_other_things_is_not_touched(corpus: Path, tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match=r"already holds other files \(thesis\.tex"):
        prepared(corpus, tmp_path, settings())
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["thesis.tex"]


def test_two_at_once_in_one_folder_are_refused(corpus: Path, tmp_path: Path):
    first = prepare([str(corpus)], tmp_path / "out", settings())
    next(first)
    with pytest.raises(DataError, match="another process is preparing"):
        prepared(corpus, tmp_path / "out", settings())
    first.close()
    prepared(corpus, tmp_path / "out", settings())


# ---- damage and full disks


@pytest.mark.parametrize("stage", [Reading, ShardWritten])
def test_a_full_disk_is_one_line_and_what_is_finished_stays(
    corpus: Path, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: type
):
    out = tmp_path / "out"
    run = prepare([str(corpus)], out, KEPT)
    for event in run:
        if isinstance(event, stage):
            break
    before = standing(out)

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(DataError, match=r"No space left on device; finished work is kept.*run the same command"):
            list(run)
    assert standing(out) == before
    assert not list(out.rglob("*.partial"))
    prepared(corpus, out, KEPT)
    assert contents(out) == whole


def test_a_place_that_cannot_be_written_is_named(corpus: Path, tmp_path: Path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DataError, match="file"):
            prepared(corpus, out, settings())


@pytest.mark.parametrize(
    "damage",
    ["text/00001.jsonl.zst", "text/00000.words.json.zst", "text/00002.seen.npy", "text/00001.json", "text/end.json",
     "shards/train-00001.words.npy", "shards/00000.json"],
)  # fmt: skip
def test_damaged_work_is_done_again(corpus: Path, whole: dict[str, bytes], tmp_path: Path, damage: str):
    out = tmp_path / "out"
    run = prepare([str(corpus)], out, KEPT)
    for event in run:
        if isinstance(event, ShardWritten) and event.parts == 3:
            break
    run.close()
    path = out / damage
    path.write_bytes(path.read_bytes()[:-2])
    prepared(corpus, out, KEPT)
    assert contents(out) == whole


def test_paragraphs_seen_before_the_stop_are_still_known(tmp_path: Path):
    paragraph = "A long enough paragraph that stands in more than one of the documents of this corpus, word for word."
    some = texts(30)
    source = jsonl(tmp_path / "a.jsonl", [f"{text}\n\n{paragraph}" for text in some])
    chosen = settings(corpus={"dedup": "paragraph"}, shards={"keep_text": True})
    prepared(source, tmp_path / "whole", chosen)
    run = prepare([str(source)], tmp_path / "out", chosen)
    for _ in run:
        if (tmp_path / "out" / "text" / "00000.json").exists():
            break
    run.close()
    # Only the first part is left: the rest is read with what it knew.
    for path in (tmp_path / "out" / "text").glob("0000[1-9].*"):
        path.unlink()
    (tmp_path / "out" / "text" / "end.json").unlink(missing_ok=True)
    assert prepared(source, tmp_path / "out", chosen).manifest.text.kept == 30
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_folder_in_which_nothing_was_finished_takes_other_settings(tmp_path: Path):
    source = jsonl(tmp_path / "a.jsonl", texts(20))
    for wrong in ({"text_field": "body"}, {"filters": {"min_characters": 10_000}}):
        with pytest.raises(CorpusError):
            prepared(source, tmp_path / "out", settings(corpus=wrong))
    assert prepared(source, tmp_path / "out", settings()).manifest.text.kept == 20


def test_a_vocabulary_that_was_too_small_does_not_cost_the_reading(tmp_path: Path):
    source = jsonl(tmp_path / "a.jsonl", texts(30))
    with pytest.raises(TokenizerError):
        prepared(source, tmp_path / "out", settings(tokenizer={"kind": "bpe"}))
    with pytest.raises(DataError, match=r"tokenizer\.lowercase was True, now it is False"):
        prepared(source, tmp_path / "out", settings(tokenizer={"kind": "bpe", "lowercase": False}))
    larger = settings(tokenizer={"kind": "bpe", "vocab_size": 400})
    run = prepare([str(source)], tmp_path / "out", larger)
    assert not any(isinstance(event, Reading) for event in (next(run), next(run), next(run), next(run)))
    run.close()
    prepared(source, tmp_path / "out", larger)
    prepared(source, tmp_path / "fresh", larger)
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_signals_do_not_reach_the_workers_first():
    # Ctrl-C in a terminal goes to the whole group: a worker that died of it would look like a fault.
    from maskling.data.prepare.workers import Pool

    with Pool(1) as pool:
        assert pool.submit(signal.getsignal, signal.SIGINT).result() == signal.SIG_IGN
