"""HTML drawings of results and curves for notebooks: bars, marked text, maps and line charts.

Every colour is the text's own or transparent over the page, so that a drawing is readable on light and dark pages
without knowing which it is on. Styles are inline and nothing is a script. All text is escaped.
"""

from __future__ import annotations

import base64
import html
import math
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Points: TypeAlias = Sequence[tuple[float, float]]
Span: TypeAlias = tuple[int, int, str]
"""Start and end in characters, and the name of its kind."""

# Of medium lightness, so that their transparent tints differ from white and from black.
_COLOURS = ((74, 128, 240), (222, 140, 40), (58, 168, 88), (212, 80, 148), (140, 100, 224), (36, 160, 172))
_LEVELS = 16
_SOFT = "opacity:.75;font-size:.9em"
# A map with more rows than this labels only some of them; the picture of one head has at most so many pixels a side.
_MAX_LABELS, _MAX_THUMBNAIL = 40, 32
_MAX_POINTS = 200
# An attention weight this large has the full colour, as on the page of `maskling serve`.
_FULL_WEIGHT = 2 / 3


@dataclass(frozen=True)
class Drawing:
    """A drawing that a notebook shows. html: its source."""

    html: str = field(repr=False)

    def _repr_html_(self) -> str:
        return self.html


def box(*parts: str, note: str = "") -> str:
    """Return a block of drawings with a note below, which is escaped."""
    below = f'<div style="{_SOFT}">{_safe(note)}</div>' if note else ""
    return f'<div style="max-width:46em;line-height:1.5">{"".join(parts)}{below}</div>'


def text_line(text: str, heading: bool = False) -> str:
    """Return a text as a paragraph that keeps its line breaks and direction."""
    style = f"{_SOFT};margin:.4em 0 .1em" if heading else "margin:.2em 0;white-space:pre-wrap;overflow-wrap:anywhere"
    return f'<div dir="auto" style="{style}">{_safe(text)}</div>'


def bars(rows: Iterable[tuple[str, float, str]]) -> str:
    """Draw one bar per row: name, share between 0 and 1, and the number to show."""
    lines = []
    for name, share, number in rows:
        width = 100 * min(1.0, max(0.0, share)) if math.isfinite(share) else 0.0
        tint = _tint(0, 0.3)
        lines.append(
            f'<div style="display:flex;justify-content:space-between;gap:1em;padding:.1em .5em;margin:2px 0;'
            f'border-radius:4px;background:linear-gradient(90deg,{tint} {width:.1f}%,transparent {width:.1f}%)">'
            f'<span dir="auto" style="white-space:pre-wrap;overflow-wrap:anywhere">{_safe(name)}</span> '
            f'<span style="font-family:monospace">{_safe(number)}</span></div>'
        )
    return "".join(lines)


def marked(text: str, spans: Sequence[Span]) -> str:
    """Draw a text with coloured spans and the name of its kind behind each; of overlapping spans the first is drawn."""
    colours = _colours_of({kind for _, _, kind in spans})
    pieces, done = [], 0
    for start, end, kind in sorted(spans):
        if start < done or end <= start:
            continue
        pieces += [_safe(text[done:start]), _mark(text[start:end], kind, _tint(colours[kind], 0.3))]
        done = end
    pieces.append(_safe(text[done:]))
    style = "white-space:pre-wrap;overflow-wrap:anywhere;line-height:2"
    return f'<div dir="auto" style="{style}">{"".join(pieces)}</div>'


def _colours_of(kinds: Iterable[str]) -> dict[str, int]:
    """Return the colour of each kind: the same in every drawing, unless two of one drawing would share it."""
    found: dict[str, int] = {}
    for kind in sorted(kinds):
        wanted = zlib.crc32(kind.encode())
        order = [(wanted + index) % len(_COLOURS) for index in range(len(_COLOURS))]
        found[kind] = next((colour for colour in order if colour not in found.values()), order[0])
    return found


def shaded_words(words: Iterable[tuple[str, float, str]]) -> str:
    """Draw words in a row: text, strength of its colour between 0 and 1, and a note behind it."""
    pieces = [_mark(text, note, _tint(1, 0.6 * min(1.0, max(0.0, strength)))) for text, strength, note in words]
    return f'<div dir="auto" style="overflow-wrap:anywhere;line-height:2">{" ".join(pieces)}</div>'


def attention_map(tokens: Sequence[str], weights: NDArray[np.float32]) -> str:
    """Draw a map of attention with its tokens. weights: (n, n), from the token of the row to that of the column."""
    side = max(3.0, min(18.0, 560 / len(tokens)))
    labels = [token.lstrip("Ġ▁") or token for token in tokens]
    return _labelled_picture(weights / _FULL_WEIGHT, labels, labels, side, side)


def attention_overview(weights: NDArray[np.float32]) -> str:
    """Draw small maps of all heads, a row per layer. weights: (layers, heads, n, n)."""
    layers, heads, size, _ = weights.shape
    # Of a long text a pixel is the largest weight of its block: means would fade the lines that heads draw.
    block = math.ceil(size / _MAX_THUMBNAIL)
    side = math.ceil(size / block)
    filled = np.zeros((layers, heads, side * block, side * block), dtype=np.float32)
    filled[..., :size, :size] = weights
    small = filled.reshape(layers, heads, side, block, side, block).max(axis=(3, 5)) / _FULL_WEIGHT
    # A faint frame tells neighbouring heads apart.
    framed = np.full((layers, heads, side + 2, side + 2), 1.01 / _LEVELS, dtype=np.float32)
    framed[..., -1], framed[..., -1, :] = 0, 0
    framed[..., :side, :side] = np.maximum(small, 1.01 / _LEVELS)
    picture = framed.transpose(0, 2, 1, 3).reshape(layers * (side + 2), heads * (side + 2))
    width = max(18.0, min(60.0, 600 / heads))
    rows, columns = [f"layer {index}" for index in range(layers)], [f"head {index}" for index in range(heads)]
    return _labelled_picture(picture, rows, columns, width, width)


def line_chart(title: str, lines: Mapping[str, Points], levels: Mapping[str, float] | None = None) -> str:
    """Draw curves over steps, with horizontal dashed lines at `levels`; values that are not finite are left out."""
    shown = {name: _thinned(points) for name, points in lines.items()}
    known = [(name, value) for name, value in (levels or {}).items() if math.isfinite(value)]
    values = [y for points in shown.values() for _, y in points]
    if not values:
        return ""
    width, height, left, top, bottom, right = 420, 220, 46, 12, 24, 20
    ys = [*values, *(value for _, value in known)]
    ticks = _ticks(min(ys), max(ys))
    low, high = min(ticks[0], *ys), max(ticks[-1], *ys)
    last = max(1.0, *(x for points in shown.values() for x, _ in points))

    def across(x: float) -> float:
        return left + (width - left - right) * x / last

    def down(y: float) -> float:
        return top + (height - top - bottom) * (high - y) / (high - low)

    parts = []
    for tick in ticks:
        y = down(tick)
        parts.append(
            f'<line x1="{left}" x2="{width - 8}" y1="{y:.1f}" y2="{y:.1f}" stroke="currentColor" opacity=".15"/>'
        )
        parts.append(_svg_text(left - 6, y + 4, f"{tick:g}", "end"))
    for tick in _ticks(0, last):
        if tick <= last:
            parts.append(_svg_text(across(tick), height - 8, f"{tick:,.0f}", "middle"))
    keys = []
    for index, (name, points) in enumerate(shown.items()):
        if not points:
            continue
        colour = "rgb({},{},{})".format(*_COLOURS[index % len(_COLOURS)])
        path = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        if len(points) <= 30:
            parts += [f'<circle cx="{across(x):.1f}" cy="{down(y):.1f}" r="2.5" fill="{colour}"/>' for x, y in points]
        keys.append(f'<span style="color:{colour}">●</span> {_safe(name)} {points[-1][1]:.4g}')
    for name, value in known:
        line = f'd="M{left} {down(value):.1f}H{width - right}" stroke-dasharray="5 4"'
        parts.append(f'<path {line} stroke="currentColor" opacity=".6"/>')
        keys.append(f"┄ {_safe(name)} {value:.4g}")
    head = f'<div style="{_SOFT}"><b>{_safe(title)}</b> by step&emsp;{"&emsp;".join(keys)}</div>'
    return f'<div style="flex:1 1 20em;max-width:30em">{head}{_svg(width, height, title, parts)}</div>'


def progress_bar(share: float | None, text: str) -> str:
    """Draw a progress bar with its text; without a share, only the text."""
    bar = ""
    if share is not None:
        width = 100 * min(1.0, max(0.0, share))
        bar = (
            f'<div style="height:6px;border-radius:3px;background:{_tint(0, 0.2)}">'
            f'<div style="height:6px;border-radius:3px;width:{width:.1f}%;background:{_tint(0, 1)}"></div></div>'
        )
    return f'{bar}<div style="{_SOFT};font-family:monospace;white-space:pre-wrap">{_safe(text)}</div>'


def report_lines(lines: Iterable[str]) -> str:
    """Return lines of output, aligned as in a terminal."""
    style = "margin:.4em 0;line-height:1.4;background:none;color:inherit;white-space:pre;overflow-x:auto"
    return f'<pre style="{style}">{_safe(chr(10).join(lines))}</pre>'


def side_by_side(*parts: str) -> str:
    """Return drawings beside each other where the page is wide enough; nothing without drawings."""
    return f'<div style="display:flex;flex-wrap:wrap;gap:1em">{"".join(parts)}</div>' if parts else ""


def _safe(text: str) -> str:
    return html.escape(text)


def _tint(kind: int, strength: float) -> str:
    red, green, blue = _COLOURS[kind % len(_COLOURS)]
    return f"rgba({red},{green},{blue},{strength:.2f})"


def _mark(text: str, note: str, colour: str) -> str:
    below = f'<small style="opacity:.8;margin-left:.3em">{_safe(note)}</small>' if note else ""
    style = f"color:inherit;background:{colour};border-radius:4px;padding:.1em .25em"
    return f'<mark style="{style}">{_safe(text)}{below}</mark>'


def _svg(width: float, height: float, label: str, parts: Iterable[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img" aria-label="{_safe(label)}" '
        f'style="max-width:100%;height:auto" xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )


def _svg_text(x: float, y: float, text: str, anchor: str, turned: bool = False) -> str:
    turn = f' transform="rotate(-60 {x:.1f} {y:.1f})"' if turned else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="11" fill="currentColor"{turn}>'
        f"{_safe(text)}</text>"
    )


def _labelled_picture(
    strengths: NDArray[np.float32], rows: Sequence[str], columns: Sequence[str], width: float, height: float
) -> str:
    """Draw a picture with labels at its left and above. width, height: pixels of the page per column and row."""
    if not rows or not columns:
        return ""
    left = 10 + 7 * min(14, max(map(len, rows)))
    slanted = max(map(len, columns)) * 7 > width
    top = 8 + (6 * min(14, max(map(len, columns))) if slanted else 12)
    wide, high = width * len(columns), height * len(rows)
    source = base64.b64encode(png(strengths)).decode()
    parts = [
        f'<image x="{left}" y="{top}" width="{wide:.1f}" height="{high:.1f}" preserveAspectRatio="none" '
        f'style="image-rendering:pixelated" href="data:image/png;base64,{source}"/>'
    ]
    for index in range(0, len(rows), math.ceil(len(rows) / _MAX_LABELS)):
        parts.append(_svg_text(left - 4, top + height * (index + 0.5) + 4, _clipped(rows[index]), "end"))
    for index in range(0, len(columns), math.ceil(len(columns) / _MAX_LABELS)):
        x = left + width * (index + 0.5)
        label = _clipped(columns[index])
        parts.append(
            _svg_text(x + 3, top - 4, label, "start", True) if slanted else _svg_text(x, top - 4, label, "middle")
        )
    return _svg(left + wide + 40 * slanted + 2, top + high + 2, "attention", parts)


def _clipped(label: str) -> str:
    return label if len(label) <= 14 else f"{label[:13]}…"


def png(strengths: NDArray[np.float32]) -> bytes:
    """Return a PNG of one colour whose opacity are the strengths, in sixteen levels. strengths: (height, width)."""
    height, width = strengths.shape
    finite = np.nan_to_num(strengths, nan=0.0, posinf=1.0, neginf=0.0)
    levels = np.minimum(_LEVELS - 1, (np.clip(finite, 0, 1) * _LEVELS).astype(np.uint8))
    even = np.pad(levels, ((0, 0), (0, width % 2)))
    packed = (even[:, ::2] << 4) | even[:, 1::2]
    lines = np.pad(packed, ((0, 0), (1, 0)))  # each line starts with its filter, 0: none
    opacity = bytes(round(255 * level / (_LEVELS - 1)) for level in range(_LEVELS))
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 4, 3, 0, 0, 0)),
        (b"PLTE", bytes(_COLOURS[0]) * _LEVELS),
        (b"tRNS", opacity),
        (b"IDAT", zlib.compress(lines.astype(np.uint8).tobytes(), 9)),
        (b"IEND", b""),
    ]
    body = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def _thinned(points: Points) -> Points:
    """Return the finite points, or means over neighbours if there are too many to draw."""
    finite = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    if len(finite) <= _MAX_POINTS:
        return finite
    edges = [round(index * len(finite) / _MAX_POINTS) for index in range(_MAX_POINTS + 1)]
    parts = [finite[a:b] for a, b in pairwise(edges)]
    return [(part[-1][0], sum(y for _, y in part) / len(part)) for part in parts]


def _ticks(low: float, high: float) -> list[float]:
    """Return three to seven round values from at or below `low` to at or above `high`; of one value, from zero."""
    if high <= low:
        low, high = min(0.0, low), max(0.0, high) or float(low == 0)
    span = high - low
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= 5)
    first = math.floor(low / step)
    count = math.ceil(high / step) - first
    return [round((first + index) * step, 12) for index in range(count + 1)]
