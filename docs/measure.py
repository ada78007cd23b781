"""Measure the structure of the source tree: file sizes, import circles, import closures, and files a task enters.

    python docs/measure.py              # this checkout
    python docs/measure.py --src PATH   # another checkout's src/

Numbers are counted from the syntax trees and, for the last rows, from a traced run; nothing is estimated.
"""

from __future__ import annotations

import argparse
import ast
import collections
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

# What a person who knows PyTorch and transformers searches a training codebase for.
TERMS = (
    "rank", "broadcast", "barrier", "all-reduce", "gradient accumulation", "gradient clipping", "mixed precision",
    "autocast", "activation checkpointing", "FSDP", "checkpoint", "resume", "early stopping", "dataloader", "collate",
    "prefetch", "padding", "packing", "attention mask", "in-batch negatives", "anchor", "positive", "metrics",
    "logits", "special tokens", "subword", "learning rate schedule", "warm-up", "held-out", "micro-batch",
)  # fmt: skip


def modules(src: Path) -> dict[str, Path]:
    """Return the path of each module of the package, by dotted name."""
    return {
        ".".join(path.relative_to(src).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted(src.rglob("*.py"))
    }


def imports(src: Path) -> dict[str, set[str]]:
    """Return the modules of the package that each module imports, wherever in the file: deferred and type-only too."""
    paths = modules(src)
    graph: dict[str, set[str]] = {name: set() for name in paths}
    for name, path in paths.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                inner = [f"{node.module}.{alias.name}" for alias in node.names]
                found = [one if one in paths else node.module for one in inner]
            else:
                continue
            graph[name].update(one for one in found if one in paths and one != name)
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the strongly connected components of more than one module (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            component = []
            while True:
                component.append(stack.pop())
                if component[-1] == name:
                    break
            if len(component) > 1:
                found.append(sorted(component))

    for name in sorted(graph):
        if name not in index:
            visit(name)
    return found


def public_names(src: Path) -> dict[str, set[str]]:
    """Return the modules that define each public function, class, constant or alias at their top level."""
    where: dict[str, set[str]] = collections.defaultdict(set)
    for module, path in modules(src).items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names: list[str] = []
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names = [node.name]
            elif isinstance(node, ast.Assign):
                names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names = [node.target.id]
            for name in names:
                if not name.startswith("_"):
                    where[name].add(module)
    return where


def term_files(src: Path) -> dict[str, int]:
    """Return in how many files each term of the field occurs, spelled with spaces, hyphens or underscores."""
    texts = [re.sub(r"\s+", " ", path.read_text(encoding="utf-8")) for path in modules(src).values()]
    counts = {}
    for term in TERMS:
        pattern = re.compile(re.sub(r"[ -]", r"[ _-]?", re.escape(term).replace(r"\ ", " ").replace(r"\-", "-")), re.I)
        counts[term] = sum(bool(pattern.search(text)) for text in texts)
    return counts


# Written to a folder and run with the package of one checkout: a tiny corpus, a tiny model, and what they enter.
TRACER = """
import sys, threading, pathlib
root = str(pathlib.Path(sys.path[0]) / "maskling")
entered, on = set(), [True]

def watch(matches):
    def profile(frame, event, arg):
        if event == "call" and on[0]:
            name = frame.f_code.co_filename
            # CO_OPTIMIZED: the body of a function, not that of a module or a class.
            if frame.f_code.co_flags & 1 and name.startswith(root) and name not in entered and matches(frame):
                entered.add(name)
    threading.setprofile(profile)
    sys.setprofile(profile)

def finish():
    sys.setprofile(None)
    print(len(entered), file=out)

out = sys.stdout
sys.stdout = sys.stderr
"""
PREPARE_AND_TRAIN = """
from maskling.cli.main import run
import json
lines = [json.dumps({"text": f"The fox number {n} jumps over the dog. It sleeps near tree {n}, and runs {n} miles."})
         for n in range(400)]
pathlib.Path("text.jsonl").write_text("\\n".join(lines))
assert run(["prepare", "text.jsonl", "--out", "data", "--tokenizer.vocab-size", "300"]) == 0
SIZES = ["--model.hidden-size", "32", "--model.num-layers", "2", "--model.num-heads", "2",
         "--model.intermediate-size", "64", "--train.steps", "4", "--train.batch-size", "4"]
TRAIN = ["train", "--preset", "bert-tiny", "--data", "data", "--out", "run", *SIZES]
"""
RUN_FOLDER = """
folder = str(pathlib.Path("run").absolute())

def holds(value, depth=1):
    if isinstance(value, (str, pathlib.Path)):
        text = str(value)
        return text == "run" or text.startswith(("run/", folder))
    if depth and hasattr(value, "__dict__"):
        return any(holds(one, depth - 1) for one in vars(value).values())
    return False

watch(lambda frame: any(holds(frame.f_locals.get(name)) for name in frame.f_code.co_varnames[:frame.f_code.co_argcount
                        + frame.f_code.co_kwonlyargcount]))
assert run(TRAIN) == 0
finish()
"""
LABELLED_LINE = """
import json, torch
assert run(TRAIN) == 0
rows = [json.dumps({"text": f"the fox {n} jumps", "label": "ab"[n % 2]}) for n in range(40)]
pathlib.Path("train.jsonl").write_text("\\n".join(rows))
on[0] = False
backward = torch.Tensor.backward

def first(*args, **kwargs):
    on[0] = False
    torch.Tensor.backward = backward
    return backward(*args, **kwargs)

torch.Tensor.backward = first

PACKAGES = tuple(f"{root}/{name}/" for name in ("data", "finetune", "objectives", "infer"))

def on_the_way(frame):
    if frame.f_code.co_filename.startswith(f"{root}/train/"):
        while frame is not None and frame.f_code.co_name != "take_step":
            frame = frame.f_back
        return frame is not None
    return frame.f_code.co_filename.startswith(PACKAGES)

def start(frame, event, arg):
    if event == "call" and frame.f_code.co_flags & 1 and "data/labelled" in frame.f_code.co_filename:
        on[0] = True
        watch(on_the_way)
        entered.add(frame.f_code.co_filename)

sys.setprofile(start)
assert run(["finetune", "run", "--task", "classify", "--train", "train.jsonl", "--out", "tuned", "--train.steps", "2",
            "--json"]) == 0
finish()
"""
FILL = """
assert run(TRAIN) == 0
import subprocess
code = ("import sys; sys.path.insert(0, sys.argv[1]); import maskling; maskling.load('run').fill('the fox [MASK].'); "
        "print(sum(name.split('.')[0] == 'maskling' for name in sys.modules))")
found = subprocess.run([sys.executable, "-c", code, sys.path[0]], capture_output=True, text=True, check=True)
print(found.stdout, file=out)
"""


def traced(src: Path, code: str) -> int:
    """Return the number that a traced program prints, run with the package in `src`."""
    with tempfile.TemporaryDirectory() as folder:
        program = f"import sys\nsys.path.insert(0, {str(src.resolve())!r})\n{TRACER}{PREPARE_AND_TRAIN}{code}"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=folder)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return int(done.stdout)


def rows(src: Path) -> Iterator[tuple[str, object]]:
    """Yield each measurement as (name, value)."""
    paths = modules(src)
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in paths.items()}
    bodies = [count for name, count in lines.items() if paths[name].name != "__init__.py"]
    folders = collections.Counter(path.parent for path in paths.values())
    in_circles = circles(imports(src))
    homonyms = {name: where for name, where in public_names(src).items() if len(where) > 1}
    terms = term_files(src)
    yield "source files", len(paths)
    yield "lines", sum(lines.values())
    yield "median lines (without __init__)", statistics.median(bodies)
    yield "files under 50 lines (without __init__)", sum(count < 50 for count in bodies)
    yield "largest file", max(bodies)
    yield "files in the largest folder", max(folders.values())
    yield "modules in import circles (deferred and type-only counted)", sum(map(len, in_circles))
    yield "public names with two or more meanings", f"{len(homonyms)}: {', '.join(sorted(homonyms))}"
    yield "terms found nowhere", ", ".join(term for term, count in terms.items() if not count) or 0
    yield "terms in three files or fewer", ", ".join(f"{term} {n}" for term, n in terms.items() if 0 < n <= 3) or 0
    yield "modules loaded to fill one mask", traced(src, FILL)
    yield "files that the run folder enters, train to end", traced(src, RUN_FOLDER)
    yield "files from a labelled line to its gradient", traced(src, LABELLED_LINE)


def main() -> None:
    """Print the measurements of one checkout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--src", type=Path, default=Path(__file__).parents[1] / "src")
    for name, value in rows(parser.parse_args().src):
        print(f"{name:60}  {value}")


if __name__ == "__main__":
    main()
