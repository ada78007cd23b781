"""What `maskling inspect` shows of each artefact: lines for a person, and the same facts as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class View:
    """lines: for a person; facts: the same as plain data, for JSON."""

    lines: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def add(self, other: View) -> None:
        """Put another view below this one."""
        self.lines += ["", *other.lines]
        self.facts |= other.facts
