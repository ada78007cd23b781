from __future__ import annotations

from maskling.corpus.readers.python_docs import comments, docstrings, loose_docstrings

SOURCE = '''"""About the module."""
raise SystemExit("this must never run")

# A comment that explains
# what goes on here, at
# some length.

# Too short.
class Outer:
    """An outer class."""

    class Inner:
        """An inner class."""

    def method(self):
        """A method."""
        def local():
            """Hidden inside."""

async def function():
    "A function with a wrong \\d escape."
'''


def test_docstrings_are_found_without_running_anything() -> None:
    assert [tuple(item) for item in docstrings(SOURCE)] == [
        ("", "", "About the module."),
        ("Outer", "Outer", "An outer class."),
        ("Outer.Inner", "Outer", "An inner class."),
        ("Outer.method", "Outer", "A method."),
        ("function", "", "A function with a wrong \\d escape."),
    ]
    assert list(docstrings("not python at all")) == []


def test_docstrings_handed_over_as_strings() -> None:
    long = "This string documents something in enough words to be taken for a docstring, as it is one."
    source = (
        f'add(f, r"""{long}""")\nadd(g, "short")\n'
        f'add("n", ("name", "{long[::-1]}"))\nadd(h, """{long}{{x}}""".format(x=1))'
    )
    assert [item.text for item in loose_docstrings(source)] == [long, long[::-1], long + "{x}"]


def test_comments_of_some_length() -> None:
    assert [item.text for item in comments(SOURCE)] == ["A comment that explains\nwhat goes on here, at\nsome length."]
