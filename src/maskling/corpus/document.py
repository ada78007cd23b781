"""The input and output of a reader: a `Source` to open, and the `Document`s in it."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from typing import BinaryIO
from urllib.parse import unquote

COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
# Suffixes that name an archive and its compression at once.
_SHORT_NAMES = {".tgz": ".gz", ".tbz": ".bz2", ".tbz2": ".bz2", ".txz": ".xz", ".tzst": ".zst"}
# In the URLs of these protocols '?' is a character of the name.
_WITHOUT_QUERY = ("file", "local", "memory", "zip", "tar", "libarchive")
# fsspec's protocols whose path is that of a member of the archive that follows '::'.
ARCHIVE_PROTOCOLS = ("zip", "tar", "libarchive")


@dataclass(frozen=True, slots=True)
class Source:
    """One file, URL or stream. location: a path, an fsspec URL, '-', 'python-docs:' or 'hf:NAME'; size: in bytes.

    opened: its bytes, where they can be read only once: the member of an archive, or a pipe.
    """

    location: str
    size: int | None = None
    opened: BinaryIO | None = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        """The last part of the location, without the query of a URL; documents are named after it.

        A member of an archive has its path in it: 'docs.zip/in/one.txt'.
        """
        if "://" not in self.location:
            return posixpath.basename(self.location.replace("\\", "/").rstrip("/")) or self.location
        *links, last = self.location.split("::")
        members = [path for protocol, _, path in (link.partition("://") for link in links) if path and protocol]
        return "/".join([_last_part(last), *reversed(members)])

    @property
    def compression(self) -> str | None:
        """The suffix of a compressed file ('.gz', '.bz2', '.xz', '.zst'), or None."""
        suffix = posixpath.splitext(self.name.lower())[1]
        return suffix if suffix in COMPRESSIONS else _SHORT_NAMES.get(suffix)

    @property
    def suffix(self) -> str:
        """The suffix of the format, '.jsonl' for 'books.jsonl.gz', '.tar' for 'books.tgz'; empty if there is none."""
        name = self.name.lower()
        if posixpath.splitext(name)[1] in _SHORT_NAMES:
            return ".tar"
        return posixpath.splitext(name.removesuffix(self.compression or ""))[1]


def _last_part(url: str) -> str:
    protocol, separated, path = url.partition("://")
    if not separated:
        return posixpath.basename(url.replace("\\", "/").rstrip("/")) or url
    if protocol not in _WITHOUT_QUERY:
        path = unquote(re.split(r"[?#]", path, maxsplit=1)[0])
    return posixpath.basename(path.rstrip("/")) or url


@dataclass(frozen=True, slots=True)
class Document:
    """A text of the user, as read.

    id: unique within its source ("books.jsonl.gz:17"); source: the location it was read from.
    line_sentences: each line of `text` is one sentence already, and must not be split or joined.
    language: for splitting sentences, where the source says it.
    """

    text: str
    id: str
    source: str
    line_sentences: bool = False
    language: str | None = None
