"""docs/explain/reliability.md only promises what is tested."""

from __future__ import annotations

import re

from chaos_runs import TESTS

PAGE = TESTS.parent / "docs" / "explain" / "reliability.md"


def test_every_row_names_tests_that_there_are():
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    promises = [row for row in rows if not row.startswith(("|---", "| fault"))]
    assert len(promises) > 30
    for row in promises:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", row)
        assert named, row
        for file, name in named:
            text = (TESTS / file).read_text(encoding="utf-8")
            assert f"\ndef {name}(" in text, f"{file}::{name}"
            if "*long*" not in row:
                before = text.partition(f"\ndef {name}(")[0]
                decorators = "" if before.endswith("\n") else before.rpartition("\n\n\n")[2]
                assert "@pytest.mark.slow" not in decorators, f"{name} is a long one"
