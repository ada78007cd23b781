"""Draw the losses of a run as an SVG, for a page of the documentation.

python docs/draw_loss.py RUN/metrics.jsonl "no idea=5.16" "frequencies=3.27" "best possible=0.60" > loss.svg

Each further argument is a horizontal line, NAME=LOSS. Colours suit light and dark pages.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 360, 48, 160, 16, 40
STYLE = "font: 13px system-ui, sans-serif; fill: #808690"


def draw(records: list[dict[str, float]], lines: dict[str, float]) -> str:
    """Return the picture: held-out loss over steps as a curve, and the named losses as lines."""
    points = [(record["step"], record["mlm_loss"]) for record in records if "mlm_loss" in record]
    first = next(record for record in records if "loss" in record)
    points = [(0, first["loss"]), *points]
    last = points[-1][0]
    top = max(*(loss for _, loss in points), *lines.values()) * 1.05

    def x(step: float) -> float:
        return round(LEFT + step / last * (WIDTH - LEFT - RIGHT), 1)

    def y(loss: float) -> float:
        return round(TOP + (1 - loss / top) * (HEIGHT - TOP - BOTTOM), 1)

    end = WIDTH - RIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" style="{STYLE}" role="img">',
        f"<title>Held-out loss over {last:,.0f} steps, from {points[0][1]:.2f} to {points[-1][1]:.2f} nats</title>",
    ]
    for loss in range(int(top) + 1):
        parts.append(f'<text x="{LEFT - 10}" y="{y(loss) + 4}" text-anchor="end">{loss}</text>')
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<text x="{x(last * share)}" y="{HEIGHT - 18}" text-anchor="middle">{last * share:,.0f}</text>')
    parts.append(f'<text x="{end + 6}" y="{HEIGHT - 18}" dx="22">steps</text>')
    parts.append(f'<path d="M{LEFT} {TOP}V{y(0)}H{end}" fill="none" stroke="#808690"/>')
    for name, loss in lines.items():
        parts.append(f'<path d="M{LEFT} {y(loss)}H{end}" stroke="#c2571a" stroke-dasharray="5 4"/>')
        parts.append(f'<text x="{end + 6}" y="{y(loss) + 4}">{name} {loss:.2f}</text>')
    curve = "L".join(f"{x(step)} {y(loss)}" for step, loss in points)
    parts.append(f'<path d="M{curve}" fill="none" stroke="#3d7de0" stroke-width="2.5" stroke-linejoin="round"/>')
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    read = [json.loads(line) for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()]
    named = (argument.rpartition("=") for argument in sys.argv[2:])
    sys.stdout.write(draw(read, {name: float(loss) for name, _, loss in named}))
