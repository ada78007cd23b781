"""What is open while a page is scanned: templates, links, tables and tags, as a stack of bounded depth."""

from __future__ import annotations

from typing import Final

from maskling.corpus.wikitext.marks import GAP

DEEPEST: Final = 60
TEMPLATE, PARAMETER, LINK, EXTERNAL, TABLE, VARIANT, RAISED, TAG = range(8)
TEMPLATES: Final = frozenset((TEMPLATE, PARAMETER))
TABLES: Final = frozenset((TABLE,))
LINKS: Final = frozenset((LINK,))
EXTERNALS: Final = frozenset((EXTERNAL,))
VARIANTS: Final = frozenset((VARIANT,))
WEAK: Final = frozenset((EXTERNAL, RAISED))
SPLIT: Final = frozenset((TEMPLATE, PARAMETER, LINK, VARIANT))
# What a closing token does not look through.
STOPS: Final = {
    LINK: frozenset((TEMPLATE, PARAMETER, TABLE, VARIANT, TAG)),
    EXTERNAL: frozenset((TEMPLATE, PARAMETER, TABLE, VARIANT, TAG, LINK)),
    TABLE: frozenset((TEMPLATE, PARAMETER)),
    VARIANT: frozenset((TEMPLATE, PARAMETER, TABLE)),
    TAG: frozenset((TEMPLATE, PARAMETER)),
    RAISED: frozenset((TEMPLATE, PARAMETER, TABLE, LINK)),
}


class Frame:
    """Something open: the arguments that are complete, and the parts of the current one.

    begin: where it began; name: of a tag; is_file: whether a link is known to be that of a file.
    """

    __slots__ = ("arguments", "begin", "is_file", "kind", "name", "parts")

    def __init__(self, kind: int, begin: int, name: str = "") -> None:
        self.kind, self.begin, self.name = kind, begin, name
        self.arguments: list[str] = []
        self.parts: list[str] = []
        self.is_file = False

    def content(self) -> list[str]:
        """Return all arguments."""
        return [*self.arguments, "".join(self.parts)]


class OpenFrames:
    """A stack of frames. parts: where text goes, of the innermost frame, or `top` if nothing is open."""

    def __init__(self) -> None:
        self.stack: list[Frame] = []
        self.top: list[str] = []
        self.parts = self.top

    def push(self, kind: int, begin: int, name: str = "") -> bool:
        """Open a frame, unless too many are open: then its markup is dropped, and what is inside is text."""
        if len(self.stack) >= DEEPEST:
            return False
        frame = Frame(kind, begin, name)
        self.stack.append(frame)
        self.parts = frame.parts
        return True

    def pop(self) -> Frame:
        """Take the innermost frame off."""
        frame = self.stack.pop()
        self.parts = self.stack[-1].parts if self.stack else self.top
        return frame

    def unwind_to(self, depth: int) -> None:
        """Give up the frames above a depth, and return what is in them as text: each once, however deep it is."""
        frames = self.stack[depth:]
        del self.stack[depth:]
        self.parts = self.stack[-1].parts if self.stack else self.top
        self.parts += [GAP + _given_up(frame) for frame in frames]

    def find(self, kinds: frozenset[int], stops: frozenset[int], name: str = "") -> int | None:
        """Return the index of the innermost frame of a kind that nothing in `stops` hides."""
        for index in range(len(self.stack) - 1, -1, -1):
            frame = self.stack[index]
            if frame.kind in kinds and (not name or frame.name == name):
                return index
            if frame.kind in stops:
                return None
        return None


def _given_up(frame: Frame) -> str:
    """Return what was in a frame that is not closed as text, without the lines of arguments and cells."""
    content = frame.content()
    if frame.kind == LINK:
        return content[-1] if frame.is_file or len(content) > 1 else content[0]
    if frame.kind in (EXTERNAL, RAISED, TAG):
        return "".join(content)
    lines = "|".join(content).split("\n")
    kept = [line for line in lines[1:] if not line.lstrip().startswith(("|", "!"))]
    if frame.kind != TABLE and "|" not in lines[0]:
        kept.insert(0, lines[0])
    elif kept:
        kept.insert(0, "")
    return "\n".join(kept)
