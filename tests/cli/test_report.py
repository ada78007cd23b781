"""The report page holds all metrics of a run, and no script or request to elsewhere."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from commands import Command
from maskling.errors import CheckpointError
from maskling.report import report
from maskling.report.report import Chart, charts_of, page_of
from maskling.report.runs import read_run

STEP = {"lr": 0.001, "mask_rate": 0.15, "gradient_norm": 1.5, "tokens_per_second": 1000.0, "fill": 1.0, "steps": 40}


def step(number: int, loss: float, **more: Any) -> dict[str, Any]:
    return {"kind": "step", "step": number, "loss": loss, "mlm": loss, "pair": None, **STEP, **more}


def evaluation(number: int, loss: float, **more: Any) -> dict[str, Any]:
    found = {"mlm_loss": loss, "top1": 0.25, "top5": 0.5, "predictions": 100, "pair_loss": None, "pair_accuracy": None}
    found |= {"pairs": 0, "perplexity": math.exp(loss), "unigram_entropy": 6.5, "best": True}
    return {"kind": "evaluation", "step": number, **found, **more}


@pytest.fixture
def runs(made: Path, tmp_path: Path) -> Path:
    """A folder with two runs that differ in a setting and in what they wrote."""
    for name, setting in (("one", "seed = 0"), ("two", "seed = 5")):
        folder = tmp_path / name
        folder.mkdir()
        config = (made / "runs" / "mine" / "config.toml").read_text(encoding="utf-8")
        assert "seed = 0" in config
        (folder / "config.toml").write_text(config.replace("seed = 0", setting, 1), encoding="utf-8")
        shutil.copy(made / "runs" / "mine" / "env.json", folder)
    write(tmp_path / "one", [step(1, 9.0), step(10, 8.0), evaluation(10, 7.5), step(20, 7.0), evaluation(20, 6.25)])
    write(tmp_path / "two", [step(5, 8.5), evaluation(5, 8.25, pair_accuracy=0.75)])
    return tmp_path


def write(folder: Path, entries: list[dict[str, Any]], more: str = "") -> None:
    (folder / "metrics.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries) + more)


def points(chart: Chart) -> dict[str, list[tuple[float, float]]]:
    return {curve.name: list(zip(curve.x, curve.y, strict=True)) for curve in chart.curves}


def test_every_metric_is_in_its_chart(runs: Path) -> None:
    found = {chart.title: chart for chart in charts_of([read_run(runs / "one")])}
    assert points(found["loss, nats per prediction"]) == {
        "training": [(1, 9.0), (10, 8.0), (20, 7.0)],
        "held-out": [(10, 7.5), (20, 6.25)],
        "unigram": [(0, 6.5), (20, 6.5)],
    }
    assert points(found["held-out top-1"]) == {"held-out top-1": [(10, 0.25), (20, 0.25)]}
    assert found["held-out top-1"].percent
    assert found["gradient norm"].log
    assert set(found) == {
        *("loss, nats per prediction", "held-out top-1", "held-out top-5"),
        *("learning rate", "gradient norm", "tokens per second"),
    }


def test_several_runs_share_the_charts_and_show_where_they_differ(runs: Path) -> None:
    both = [read_run(runs / "one"), read_run(runs / "two")]
    found = {chart.title: chart for chart in charts_of(both)}
    assert set(points(found["loss, nats per prediction"])) == {
        *("one training", "two training", "one held-out", "two held-out", "unigram")
    }
    assert points(found["held-out pair accuracy"]) == {"two": [(5, 0.75)]}
    page = page_of(both)
    differing = page[page.index("Settings that differ") : page.index("All settings of one")]
    assert re.findall(r"<t[hd]>([^<]*)</t[hd]>", differing) == ["", "one", "two", "seed", "0", "5"]


def test_runs_on_different_text_have_separate_unigram_lines(runs: Path) -> None:
    write(runs / "two", [step(5, 8.5), evaluation(5, 8.25, unigram_entropy=7.0)])
    chart = charts_of([read_run(runs / "one"), read_run(runs / "two")])[0]
    assert [name for name in points(chart) if "unigram" in name] == ["one unigram", "two unigram"]


def test_a_repeated_step_counts_once_and_non_finite_values_are_skipped(runs: Path) -> None:
    entries = [step(1, 9.0), step(10, 8.0), step(10, 7.9, lr=None), step(15, math.nan), step(20, 7.0, lr=True)]
    write(runs / "one", entries)
    found = {chart.title: chart for chart in charts_of([read_run(runs / "one")])}
    assert points(found["loss, nats per prediction"]) == {"training": [(1, 9.0), (10, 7.9), (20, 7.0)]}
    assert [x for x, _ in points(found["learning rate"])["learning rate"]] == [1, 10, 15]


def test_long_runs_are_thinned_to_means(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "MAX_POINTS", 3)
    write(runs / "one", [step(number, float(number)) for number in range(1, 8)])
    chart = charts_of([read_run(runs / "one")])[0]
    assert points(chart)["training"] == [(2, 2), (5, 5), (7, 7)]


def test_the_page_is_self_contained(runs: Path) -> None:
    page = page_of([read_run(runs / "one")])
    assert not re.search(r"""(?:src|href)=["'](?!data:)""", page)
    assert "import " not in page[page.index('id="data"') :].split("</script>")[0]
    assert "default-src 'none'" in page
    data = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])  # type: ignore[index]
    assert data["charts"][0]["curves"][0]["y"] == [9.0, 8.0, 7.0]
    assert len(page) < 150_000


def test_text_of_a_run_is_escaped_in_the_page(runs: Path) -> None:
    evil = "</script><script>alert(1)</script>"
    write(runs / "one", [step(1, 9.0), {**evaluation(1, 2.0), evil: 0.5}])
    shutil.copytree(runs / "one", runs / "<b>bold")
    config = runs / "<b>bold" / "config.toml"
    config.write_text(re.sub(r'path = "[^"]*"', f'path = "{evil}"', config.read_text()))
    page = page_of([read_run(runs / "one"), read_run(runs / "<b>bold")])
    assert evil not in page
    assert "<b>bold" not in page
    assert page.count("</script>") == 3


def test_damaged_lines_are_counted_and_reported(maskling: Command, runs: Path) -> None:
    write(runs / "one", [step(1, 9.0)], '{"kind": "step", "st\n[]\n')
    said = maskling("report", runs / "one")
    assert said.code == 0
    assert "one: 2 lines of metrics.jsonl could not be read" in said.err
    assert "2 lines of metrics.jsonl could not be read" in (runs / "one" / "report.html").read_text()


def test_a_real_run_and_its_page_beside_it(maskling: Command, here: Path) -> None:
    said = maskling("report", "runs/mine")
    assert said.out == "runs/mine/report.html written\n"
    page = (here / "runs" / "mine" / "report.html").read_text(encoding="utf-8")
    assert "held-out pair accuracy" in page
    assert "All settings of mine" in page
    entries = [json.loads(line) for line in Path("runs/mine/metrics.jsonl").read_text().splitlines()]
    last = [entry["mlm_loss"] for entry in entries if entry["kind"] == "evaluation"][-1]
    data = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])  # type: ignore[index]
    assert [curve["y"][-1] for curve in data["charts"][0]["curves"] if curve["name"] == "held-out"] == [last]


def test_mistakes(maskling: Command, runs: Path) -> None:
    assert "give a run folder" in maskling("report").complaint
    assert "--out FILE" in maskling("report", runs / "one", runs / "two").complaint
    assert "is not a run" in maskling("report", runs).complaint
    write(runs / "one", [])
    assert "no metrics yet" in maskling("report", runs / "one").complaint
    (runs / "folder").mkdir()
    assert "is a folder" in maskling("report", runs / "two", "--out", runs / "folder").complaint
    with pytest.raises(CheckpointError, match="is not a run"):
        read_run(runs / "nowhere")


SAMPLES = [["the ", ["cat", "dog", 0.25], " sleeps"]]


def test_filled_sentences_and_status_are_in_the_page(runs: Path) -> None:
    samples = {"kind": "samples", "step": 10, "samples": SAMPLES}
    write(runs / "one", [step(10, 8.0), evaluation(10, 7.5), samples, {**samples, "samples": [[7, ["a"]], "x"]}])
    status = {
        "parameters": 1234567,
        "sessions": [{"state": "finished", "began": 1e9, "ended": 1e9 + 125, "memory": 2e9}],
    }
    (runs / "one" / "status.json").write_text(json.dumps(status))
    page = page_of([read_run(runs / "one")])
    assert "<dt>parameters</dt><dd>1,234,567</dd>" in page
    assert "<dt>time</dt><dd>2 min 05 s</dd>" in page
    assert "<dt>peak memory</dt><dd>2.00 GB</dd>" in page
    write(runs / "one", [step(10, 8.0), evaluation(10, 7.5), samples])
    page = page_of([read_run(runs / "one")])
    assert "<td>the <b>cat</b> sleeps</td>" in page
    assert '<td>the <ins class="wrong" title="25 %">dog</ins> sleeps</td>' in page


@pytest.mark.parametrize(
    ("session", "state"),
    [
        ({"state": "running", "process": 999_999_999}, "died"),
        ({"state": "stopped"}, "stopped"),
        ({"state": "failed", "problem": "no space"}, "failed"),
        ({"state": 3}, "stopped"),
    ],
)
def test_the_state_of_a_run_is_known_from_outside(runs: Path, session: dict[str, Any], state: str) -> None:
    import os
    import platform

    (runs / "one" / "status.json").write_text(json.dumps({"sessions": [{"host": platform.node(), **session}]}))
    os.utime(runs / "one" / "status.json", (1e9, 1e9))
    os.utime(runs / "one" / "metrics.jsonl", (1e9, 1e9))
    assert read_run(runs / "one").state == state


def test_a_run_of_an_older_version_ends_with_its_last_step(runs: Path) -> None:
    write(runs / "one", [step(40, 8.0)])
    assert read_run(runs / "one").state == "finished"


def test_a_correlation_is_no_percentage_anywhere(runs: Path) -> None:
    write(runs / "one", [step(10, 8.0), evaluation(10, 7.5, mcc=0.0751, accuracy=0.5)])
    run = read_run(runs / "one")
    assert {chart.title: chart.percent for chart in charts_of([run])}["held-out mcc"] is False
    assert "<tr><th>mcc</th><td>0.0751</td></tr>" in page_of([run])
    assert "<tr><th>accuracy</th><td>50.0 %</td></tr>" in page_of([run])


def test_the_page_notes_that_training_and_evaluation_hide_different_shares(runs: Path) -> None:
    run = read_run(runs / "one")
    rates = (run.settings["masking.rate"], run.settings["evaluate.rate"])
    assert bool(charts_of([run])[0].note) == (rates[0] != rates[1])


def test_the_page_reloads_itself_only_while_it_is_told_to(runs: Path) -> None:
    run = read_run(runs / "one")
    assert '"reload": null' in page_of([run])
    assert '"reload": 2.0' in page_of([run], 2.0)


def test_watching_a_finished_and_a_dead_run(maskling: Command, here: Path, runs: Path) -> None:
    said = maskling("watch", "runs/mine", "--html")
    assert said.code == 0
    assert "the run finished" in said.out
    assert '"reload": null' in (here / "runs" / "mine" / "report.html").read_text(encoding="utf-8")
    (runs / "one" / "status.json").write_text('{"sessions": [{"state": "failed", "problem": "no space"}]}')
    said = maskling("watch", runs / "one")
    assert (said.code, "failed at step 20 of 40: no space" in said.out) == (2, True)


def test_only_new_whole_lines_are_followed(tmp_path: Path) -> None:
    from maskling.report.follow import LogFollower

    path = tmp_path / "metrics.jsonl"
    follower = LogFollower(path)
    assert follower.read() == []
    lines = [json.dumps(step(number, 1.0)) + "\n" for number in (1, 2, 3)]
    path.write_text(lines[0] + lines[1][:20])
    assert [entry["step"] for entry in follower.read()] == [1]
    with path.open("a") as file:
        file.write(lines[1][20:])
    assert [entry["step"] for entry in follower.read()] == [2]
    aside = tmp_path / "aside"  # as a run that resumes after step 2 writes its log anew
    aside.write_text("".join(lines))
    aside.replace(path)
    assert [entry["step"] for entry in follower.read()] == [3]
