from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from maskling.corpus.document import Document, Source
from maskling.corpus.opening import FileReport
from maskling.corpus.pipeline import CleanDocument, process_document
from maskling.corpus.readers.python_docs import comments, docstrings, loose_docstrings, read_python_docs
from maskling.corpus.settings import CorpusSettings


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return list(read_python_docs(Source("python-docs:"), CorpusSettings(), FileReport("")))


def test_it_is_some_megabytes_of_prose_that_pass_the_filters(documents: list[Document]) -> None:
    text = "\n\n".join(document.text for document in documents)
    assert len(text) > 2_000_000
    assert len({document.id for document in documents}) == len(documents)
    assert sum(c.isalpha() or c.isspace() for c in text) > 0.9 * len(text)
    assert ">>>" not in text
    assert sum(isinstance(process_document(d, CorpusSettings()), CleanDocument) for d in documents) > 0.98 * len(
        documents
    )


def test_it_speaks_of_python(documents: list[Document]) -> None:
    names = {document.id for document in documents}
    assert {"topic:compound", "builtins", "heapq", "pathlib.Path"} <= names
    topic = next(document.text for document in documents if document.id == "topic:compound")
    assert (
        "The with statement is used to wrap the execution of a block with methods defined by a context manager" in topic
    )
    words = Counter(" ".join(document.text for document in documents).lower().split())
    assert min(words[word] for word in ("function", "list", "string", "module", "exception", "returns")) > 100


def test_no_paragraph_stands_twice(documents: list[Document]) -> None:
    paragraphs = Counter(p for document in documents for p in document.text.split("\n\n"))
    assert sum(paragraphs.values()) < 1.02 * len(paragraphs)


def test_reading_prints_nothing_warns_of_nothing_and_imports_nothing_large() -> None:
    code = (
        "import sys\n"
        "from maskling.corpus.document import Source\n"
        "from maskling.corpus.readers.python_docs import read_python_docs\n"
        "from maskling.corpus.opening import FileReport\n"
        "from maskling.corpus.settings import CorpusSettings\n"
        "for document in read_python_docs(Source('python-docs:'), CorpusSettings(), FileReport('')): pass\n"
        "assert not {'torch', 'tkinter', 'antigravity', 'this'} & set(sys.modules), 'imported'\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


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
