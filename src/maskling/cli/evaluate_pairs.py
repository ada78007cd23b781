"""The part of `maskling evaluate` that judges minimal pairs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from maskling.cli.layout import duration, table
from maskling.console import Console, counted

if TYPE_CHECKING:
    from maskling.evaluate.pairs import PairResults
    from maskling.infer.load import Model
    from maskling.infer.masked_copies import Method


def show_pairs(loaded: Model, files: Sequence[str], method: Method, console: Console) -> None:
    """Judge the pairs of files and show what came out."""
    from maskling.evaluate.pair_files import read_pairs
    from maskling.evaluate.pairs import PairScoring

    pairs = read_pairs(files)
    console.note(f"{counted(len(pairs), 'pair')}, scored by pseudo-log-likelihood ({method})")
    scoring, began = PairScoring(loaded, pairs, method=method), time.monotonic()
    for share in scoring.run():
        if share < 1:
            left = duration((time.monotonic() - began) * (1 - share) / share)
            console.progress(f"scoring   {left} left", share, 1.0)
    results = scoring.results()
    for line in pair_lines(results):
        console.result(line)
    console.data({"method": method, **results.as_dict()})


def pair_lines(results: PairResults) -> list[str]:
    """A table of the paradigms, one of the fields, and the average."""
    rows = [
        [one.name, one.field, f"{one.pairs:,}", f"{one.ties:,}", f"{100 * one.accuracy:.1f}%"]
        for one in results.paradigms
    ]
    rows.insert(0, ["paradigm", "field", "pairs", "ties", "accuracy"])
    if not results.fields:
        rows = [[name, *numbers] for name, _, *numbers in rows]
    lines = table(rows, heads=True)
    if results.fields:
        rows = [
            [one.name, f"{one.paradigms}", f"{one.pairs:,}", f"{one.ties:,}", f"{100 * one.accuracy:.1f}%"]
            for one in results.fields
        ]
        lines += ["", *table([["field", "paradigms", "pairs", "ties", "accuracy"], *rows], heads=True)]
    return [
        *lines,
        "",
        f"{100 * results.macro_average:.2f}% on average over {counted(len(results.paradigms), 'paradigm')}, "
        f"{counted(results.pairs, 'pair')}; {counted(results.ties, 'tie')} counted as half right",
    ]
