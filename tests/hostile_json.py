"""JSON and bytes from a stranger: a good file with some places changed."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

# What a place may say instead: of every type, of every size, and what code is known to trip over.
NUMBERS = [0, -1, 1, 7, 2**31, 2**32, 2**63, 2**64, 10**30, 0.5, -0.0, 1e308, float("inf"), float("nan")]
WORDS = [
    "",
    "a",
    "##",
    "[UNK]",
    "[MASK]",
    "\x00",
    "\ud800",
    "é",
    "../../etc/passwd",
    "(((",
    "(a+)+$",
    "None",
    "é" * 300,
]
VALUES: list[Any] = [None, True, False, [], {}, [[]], [None], {"a": 1}, {"type": "WordPiece"}, *NUMBERS, *WORDS]

values = st.sampled_from(VALUES) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def changed(draw: st.DrawFn, tree: dict[str, Any], most: int = 3) -> dict[str, Any]:
    """`tree` with one to `most` places given another value, taken out, put in, or exchanged for another place."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, most))):
        places = list(_places(tree))
        inside, key = draw(st.sampled_from(places))
        what = draw(st.sampled_from(["value", "value", "value", "out", "in", "other"]))
        if what == "value":
            inside[key] = copy.deepcopy(draw(values))
        elif what == "other":
            other, there = draw(st.sampled_from(places))
            inside[key] = copy.deepcopy(other[there])
        elif what == "out":
            del inside[key]
        elif isinstance(inside, dict):
            inside[draw(st.text(max_size=5))] = copy.deepcopy(draw(values))
        else:
            inside.insert(key, copy.deepcopy(draw(values)))
        if not tree:
            break
    return tree


@st.composite
def spoiled(draw: st.DrawFn, content: bytes, most: int = 5) -> bytes:
    """`content` with some bytes changed, and perhaps an end cut off or a part said twice."""
    found = bytearray(content)
    for place, value in draw(st.lists(st.tuples(st.integers(0, len(found) - 1), st.integers(0, 255)), max_size=most)):
        found[place] = value
    if draw(st.booleans()):
        del found[draw(st.integers(0, len(found))) :]
    elif draw(st.booleans()):
        first = draw(st.integers(0, len(found)))
        found[first:first] = found[first : first + draw(st.integers(0, 50))]
    return bytes(found)


def said(tree: Any) -> bytes:
    """As a file says it; what is no JSON (NaN) is written as Python does, and read by Python."""
    return json.dumps(tree).encode("utf-8", "surrogatepass")


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a tree."""
    keys = tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    found = [(tree, key) for key in keys]
    for key in keys:
        found += _places(tree[key])
    return found
