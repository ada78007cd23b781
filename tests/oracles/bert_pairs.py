"""The pairs of google-research/bert, slowly, from the description of its builder: lists of tokens, one at a time."""

from __future__ import annotations

from random import Random

Pair = tuple[list[int], list[int], bool]


def pairs(documents: list[list[list[int]]], length: int, passes: int, short: float, seed: int) -> list[Pair]:
    """A, B and whether B is random, of every example in the order it is made. documents: sentences of tokens."""
    rng = Random(seed)
    documents = [[line for line in document if line] for document in documents]
    documents = [document for document in documents if document]
    rng.shuffle(documents)
    return [
        pair
        for _ in range(passes)
        for number in range(len(documents))
        for pair in pairs_of_document(documents, number, length, short, rng)
    ]


def pairs_of_document(
    documents: list[list[list[int]]], number: int, length: int, short: float, rng: Random
) -> list[Pair]:
    made = []
    document = documents[number]
    most = length - 3
    target = rng.randint(2, most) if rng.random() < short else most
    chunk: list[list[int]] = []
    i = 0
    while i < len(document):
        chunk.append(document[i])
        if i == len(document) - 1 or sum(map(len, chunk)) >= target:
            a_end = 1 if len(chunk) == 1 else rng.randint(1, len(chunk) - 1)
            a = [token for line in chunk[:a_end] for token in line]
            if len(chunk) == 1 or rng.random() < 0.5:
                random_next = True
                wanted = target - len(a)
                for _ in range(10):
                    other = rng.randint(0, len(documents) - 1)
                    if other != number:
                        break
                b = []
                for line in documents[other][rng.randint(0, len(documents[other]) - 1) :]:
                    b += line
                    if len(b) >= wanted:
                        break
                i -= len(chunk) - a_end
            else:
                random_next = False
                b = [token for line in chunk[a_end:] for token in line]
            while len(a) + len(b) > most:
                longer = a if len(a) > len(b) else b
                longer.pop(0 if rng.random() < 0.5 else -1)
            made.append((a, b, random_next))
            chunk = []
        i += 1
    return made
