from __future__ import annotations

import pytest

from maskling.corpus.readers.restructured_text import prose


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("One line about it.", ["One line about it."]),
        (
            "Wrapped text goes\n    on here.\n\n    And a second paragraph.",
            ["Wrapped text goes on here.", "And a second paragraph."],
        ),
        ("Use it like this:\n\n>>> f(1)\n2\n\nThen it is done.", ["Use it like this:", "Then it is done."]),
        ("An example of it::\n\n    x = f(1)\n    y = x\n\nText goes on.", ["An example of it:", "Text goes on."]),
        (
            ".. note::\n    Mind the gap between them.\n\n.. versionadded:: 3.2\n    Something was added then.",
            ["Mind the gap between them."],
        ),
        (
            "See :func:`~os.path.join`, ``open()`` and `the guide <http://x.y>`_ for *all* the rest.",
            ["See join, open() and the guide for all the rest."],
        ),
        ("str.upper()\n\n   Return a copy in capitals.", ["str.upper(): Return a copy in capitals."]),
        (
            "Sum it up.\n\nParameters\n----------\na : array_like\n    The first of them.\nb : int\n    The second.",
            ["Sum it up.", "a (array_like): The first of them.", "b (int): The second."],
        ),
        (
            "Args:\n    one (Tensor): the first thing.\n    two: the second thing\n        that goes on.",
            ["one (Tensor): the first thing.", "two: the second thing that goes on."],
        ),
        (
            ":param name: what it is called\n:type name: str\n:returns: nothing of note",
            ["name: what it is called", "Returns nothing of note"],
        ),
        ("- one item of it\n- another item of it", ["one item of it", "another item of it"]),
        ('with_stmt ::= "with" item suite\n\n+----+---+\n| a  | b |\n+----+---+\n\nif x == 3: y[1] = z', []),
        ("from x import y\n\nimport os, sys and so on\n\nx, y = some call of that", []),
        ("Copyright by nobody in particular at all.", []),
        ("The scale :math:`\\frac{a}{b}` and size :math:`n` are known.", ["The scale a b and size n are known."]),
        ("", []),
    ],
)
def test_sentences_stay_and_machinery_goes(docstring: str, expected: list[str]) -> None:
    assert prose(docstring) == expected


def test_quotes_around_code_go_where_they_are_code() -> None:
    assert prose('The "with" statement calls "__exit__()" at the end.', quoted_code=True) == [
        "The with statement calls __exit__() at the end."
    ]
    assert prose('The "with" statement is this one.') == ['The "with" statement is this one.']
