"""Limits per request: what its answer and its work would cost, estimated from its texts before the model runs."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Final

from maskling.errors import SettingsError

# Tokens that the model reads for a request, estimated: a minute for a small model, several for a large one.
MAX_WORK: Final = 1 << 22
# Characters of one text, and of all texts whose answer describes every token or word.
MAX_TEXT_CHARACTERS: Final = 500_000
MAX_LISTED_CHARACTERS: Final = 100_000
# Characters of the filled texts that are returned with the candidates, and words to choose among.
MAX_FILL_CHARACTERS: Final = 8_000_000
MAX_TARGETS: Final = 1000
MAX_TARGET_CHARACTERS: Final = 200
# Keys, quotation marks and numbers of one candidate.
_CANDIDATE_CHARACTERS: Final = 100
# Candidate combinations when masks are filled jointly, and their minimum per mask: the beam.
_MAX_JOINT: Final = 256
_BEAM: Final = 16
# Characters of answers to questions, and scores of labels.
MAX_ANSWER_CHARACTERS: Final = 8_000_000
MAX_ANSWERS: Final = 50_000
MAX_LABEL_SCORES: Final = 250_000
# Numbers in the vectors of an answer.
MAX_VECTOR_NUMBERS: Final = 1 << 22

# Bytes that a number of a vector, and a token, word, label or candidate, takes with its JSON.
VECTOR_BYTES: Final = 20
OBJECT_BYTES: Final = 700


def most_tokens(text: str) -> int:
    """Return about the most tokens that a text can have, special tokens included."""
    return len(text) // (2 if text.isascii() else 1) + 2


def check_lengths(texts: Sequence[str]) -> None:
    """Raise SettingsError for a text that would take too long to tokenize."""
    longest = max(map(len, texts), default=0)
    if longest > MAX_TEXT_CHARACTERS:
        raise SettingsError(f"a text has {longest:,} characters; give at most {MAX_TEXT_CHARACTERS:,}")


def check_listed(texts: Sequence[str]) -> int:
    """Return the number of characters. Raises SettingsError if there are too many to describe each token."""
    total = sum(map(len, texts))
    if total > MAX_LISTED_CHARACTERS:
        raise SettingsError(
            f"the texts have {total:,} characters, and the response describes each of their tokens; "
            f"give at most {MAX_LISTED_CHARACTERS:,} at a time"
        )
    return total


def check_fill(texts: Sequence[str], masks: Sequence[int], top_k: int, joint: bool) -> int:
    """Return the characters of the response. Raises SettingsError if it would be too large or takes too long.

    masks: number of masks of each text.
    """
    most = max(masks, default=0)
    if joint and most > 1 and most * max(top_k, _BEAM) > _MAX_JOINT:
        raise SettingsError(
            f"{most:,} masks are too many to be filled jointly with {top_k} candidates; give fewer, or leave joint out"
        )
    characters = sum(
        (1 if joint else count) * top_k * (len(text) + _CANDIDATE_CHARACTERS)
        for text, count in zip(texts, masks, strict=True)
    )
    if characters > MAX_FILL_CHARACTERS:
        raise SettingsError(
            f"the response would be too large: {top_k} candidates for each of {sum(masks):,} masks, each with its "
            f"whole text, are {characters:,} characters; give fewer or shorter texts, or lower top_k"
        )
    return characters


def check_targets(targets: Sequence[str]) -> int:
    """Return how many pieces the targets may have. Raises SettingsError if there are too many, or one is too long."""
    if len(targets) > MAX_TARGETS:
        raise SettingsError(
            f"targets holds {len(targets):,} words, and each is tried in a sequence of its own; "
            f"give at most {MAX_TARGETS:,}"
        )
    longest = max(map(len, targets), default=0)
    if longest > MAX_TARGET_CHARACTERS:
        raise SettingsError(f"a target has {longest:,} characters; give words of at most {MAX_TARGET_CHARACTERS}")
    return sum(map(most_tokens, targets))


def joint_rows(masks: int, top_k: int) -> int:
    """Return how many sequences the model reads to fill the masks of a text jointly."""
    return masks * max(top_k, _BEAM)


def check_answers(contexts: Sequence[str], n_best: int) -> int:
    """Return the number of spans. Raises SettingsError if there are too many, or too long contexts for so many."""
    answers, characters = len(contexts) * n_best, sum(map(len, contexts)) * n_best
    if answers > MAX_ANSWERS or characters > MAX_ANSWER_CHARACTERS:
        raise SettingsError(
            f"the response would be too large: {n_best} answers to each of {len(contexts):,} questions, in contexts "
            f"of {sum(map(len, contexts)):,} characters; give fewer questions, or lower top_k"
        )
    return answers


def check_labels(inputs: int, labels: int) -> int:
    """Return the number of scores in the response. Raises SettingsError if there are too many."""
    if inputs * labels > MAX_LABEL_SCORES:
        raise SettingsError(
            f"the response would be too large: the scores of {labels:,} labels for each of {inputs:,} inputs; "
            f"give at most {max(1, MAX_LABEL_SCORES // labels):,} inputs at a time"
        )
    return inputs * labels


def check_vectors(vectors: int, size: int) -> int:
    """Return the numbers in the response. Raises SettingsError if there are too many."""
    if vectors * size > MAX_VECTOR_NUMBERS:
        raise SettingsError(
            f"the response would be too large: {vectors:,} vectors of {size:,} numbers; "
            f"give texts for at most {MAX_VECTOR_NUMBERS // size:,} vectors at a time"
        )
    return vectors * size


def check_work(costs: Sequence[int]) -> None:
    """Raise SettingsError if the model would have to read too many tokens. costs: of each item of a request."""
    total = sum(costs)
    if total > MAX_WORK:
        raise SettingsError(
            f"the model would read about {total:,} tokens for this request, every masked copy counted, and at most "
            f"{MAX_WORK:,} are allowed; give fewer or shorter texts at a time"
        )


class Memory:
    """Memory for the answers in progress: a request waits until there is room for its own.

    num_bytes: for all requests together; one larger than that waits until it is alone.
    """

    def __init__(self, num_bytes: int = 400 << 20) -> None:
        self._free = self._total = num_bytes
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def acquire(self, num_bytes: int) -> int:
        """Wait for memory, in the order of calls; return how much was taken."""
        num_bytes = min(num_bytes, self._total)
        if self._waiting or num_bytes > self._free:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((num_bytes, turn))
            try:
                await turn
            except asyncio.CancelledError:
                self.release(num_bytes if turn.done() and not turn.cancelled() else 0)
                raise
            return num_bytes
        self._free -= num_bytes
        return num_bytes

    def release(self, num_bytes: int) -> None:
        """Return memory, and let waiting requests have it."""
        self._free += num_bytes
        while self._waiting and (self._waiting[0][1].done() or self._waiting[0][0] <= self._free):
            wanted, turn = self._waiting.popleft()
            if not turn.done():
                self._free -= wanted
                turn.set_result(None)


class RequestMemory:
    """Memory that one request holds until its response is sent."""

    # A small answer takes no more than the request itself did.
    _FREE: Final = 1 << 16

    def __init__(self, memory: Memory) -> None:
        self._memory, self._held = memory, 0

    async def hold(self, num_bytes: int) -> None:
        """Wait until there are `num_bytes` for the answer."""
        if num_bytes > self._FREE and not self._held:
            self._held = await self._memory.acquire(num_bytes)

    def release(self) -> None:
        """Return what is held."""
        if self._held:
            self._memory.release(self._held)
            self._held = 0


# Of the request that the current task answers.
REQUEST_MEMORY: ContextVar[RequestMemory | None] = ContextVar("request_memory", default=None)


async def hold_memory(num_bytes: int) -> None:
    """Wait until there is memory for the answer to the current request."""
    if (memory := REQUEST_MEMORY.get()) is not None:
        await memory.hold(num_bytes)
