"""Linear models of words for labelled tasks, by scikit-learn: the baseline that an encoder has to beat."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:
    from maskling.data.labelled.records import RecordKind

STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


def linear_score(task: Any, folder: Path, chinese: bool = False) -> float:
    """Return the test score with the regularisation strength that is best on dev. chinese: no spaces between words."""
    train, test = read(task.kind, folder / task.train), read(task.kind, folder / task.test)
    if task.dev:
        dev = read(task.kind, folder / task.dev)
    else:
        cut = len(train) * 9 // 10
        train, dev = train[:cut], train[cut:]
    score: Callable[..., tuple[float, float]] = {
        "classify": classes,
        "pair": classes,
        "regress": numbers,
        "tag": tags,
        "answer": answers,
    }[task.kind]
    tried = [
        score(train, dev, test, chinese, strength) for strength in (STRENGTHS if task.kind != "answer" else (1.0,))
    ]
    return max(tried)[1]


def read(kind: str, path: Path) -> list[Any]:
    from maskling.data.labelled.reader import read_records

    # Pairs are read as texts, and so are classes.
    return read_records(str(path), cast("RecordKind", "classify" if kind == "pair" else kind)).records


def classes(
    train: Sequence[Any], dev: Sequence[Any], test: Sequence[Any], chinese: bool, strength: float
) -> tuple[float, float]:
    from sklearn.linear_model import LogisticRegression

    features = of_texts(train, chinese)
    model = LogisticRegression(C=strength, max_iter=2000)
    model.fit(features(train), [record.label for record in train])
    dev_score, test_score = (
        float(np.mean(model.predict(features(part)) == [record.label for record in part])) for part in (dev, test)
    )
    return dev_score, test_score


def numbers(
    train: Sequence[Any], dev: Sequence[Any], test: Sequence[Any], chinese: bool, strength: float
) -> tuple[float, float]:
    from sklearn.linear_model import Ridge

    from maskling.metrics.ranking import spearman

    features = of_texts(train, chinese)
    model = Ridge(alpha=1 / strength).fit(features(train), [record.label for record in train])
    dev_score, test_score = (
        spearman(np.array([record.label for record in part], float), model.predict(features(part)))
        for part in (dev, test)
    )
    return float(dev_score or 0), float(test_score or 0)


def units(chinese: bool) -> dict[str, Any]:
    """Return the vectorizer's n-gram settings: one or two words, in Chinese one to three characters."""
    return {"analyzer": "char", "ngram_range": (1, 3)} if chinese else {"ngram_range": (1, 2)}


def of_texts(train: Sequence[Any], chinese: bool) -> Callable[[Sequence[Any]], Any]:
    """Return a function that computes TF-IDF features; for pairs overlap, difference and cosine similarity."""
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(min_df=2, sublinear_tf=True, **units(chinese))
    vectors.fit([text for record in train for text in (record.text, record.text_pair) if text is not None])

    def features(records: Sequence[Any]) -> Any:
        one = vectors.transform([record.text for record in records])
        if records[0].text_pair is None:
            return one
        other = vectors.transform([record.text_pair for record in records])
        alike = csr_matrix(one.multiply(other).sum(1))
        lengths = [[abs(len(record.text) - len(record.text_pair)) / 100] for record in records]
        return hstack([abs(one - other), one.multiply(other), alike, csr_matrix(lengths)]).tocsr()

    return features


def tags(
    train: Sequence[Any], dev: Sequence[Any], test: Sequence[Any], chinese: bool, strength: float
) -> tuple[float, float]:
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import SGDClassifier

    from maskling.metrics.entities import entity_scores

    vectors = DictVectorizer()
    model = SGDClassifier("log_loss", alpha=1e-5 / strength, random_state=0, max_iter=30, tol=1e-4)
    seen = narrow(vectors.fit_transform(surroundings(train, chinese)))
    model.fit(seen, [tag for record in train for tag in record.tags])

    def score(records: Sequence[Any]) -> float:
        flat = iter(model.predict(narrow(vectors.transform(surroundings(records, chinese)))).tolist())
        guess = [[next(flat) for _ in record.tags] for record in records]
        truth = [list(record.tags) for record in records]
        if not any(tag[:2] in ("B-", "I-") for row in truth for tag in row):
            right = [one == other for a, b in zip(truth, guess, strict=True) for one, other in zip(a, b, strict=True)]
            return sum(right) / len(right)
        return float(entity_scores(truth, guess).overall.f1)

    return score(dev), score(test)


def narrow(matrix: Any) -> Any:
    """Return the matrix with 32-bit indices, the only ones that scikit-learn's solver takes."""
    matrix.indices, matrix.indptr = matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32)
    return matrix


def surroundings(records: Iterable[Any], chinese: bool) -> list[dict[str, Any]]:
    """Return features of each word: itself, its ends, shape and neighbours; in Chinese also character bigrams."""
    found = []
    for record in records:
        words = ["<s>", "<s>", *record.words, "</s>", "</s>"]
        for place in range(2, len(words) - 2):
            word = words[place]
            features: dict[str, Any] = {
                "word": word,
                "lower": word.lower(),
                "shape": "".join("X" if c.isupper() else "d" if c.isdigit() else "x" for c in word)[:6],
                "first": place == 2,
            }
            features |= {f"end{n}": word[-n:].lower() for n in (1, 2, 3)} | {
                f"begin{n}": word[:n].lower() for n in (2, 3)
            }
            features |= {f"at{by}": words[place + by].lower() for by in (-2, -1, 1, 2)}
            features |= {f"title{by}": words[place + by].istitle() for by in (-1, 1)}
            if chinese:
                features |= {f"pair{by}": words[place + by] + words[place + by + 1] for by in (-2, -1, 0, 1)}
                features |= {"around": words[place - 1] + words[place + 1]}
            found.append(features)
    return found


def answers(
    train: Sequence[Any], dev: Sequence[Any], test: Sequence[Any], chinese: bool, _strength: float
) -> tuple[float, float]:
    """Answer with the sentence most similar to the question by TF-IDF, cut to 8 words or 12 characters."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    from maskling.corpus.sentences import split_sentences
    from maskling.metrics.squad import score_answers

    vectors = TfidfVectorizer(sublinear_tf=True, **units(chinese)).fit([record.context for record in train])

    def score(records: Sequence[Any]) -> float:
        guesses = []
        for record in records:
            sentences = split_sentences(record.context)
            alike = vectors.transform(sentences) @ vectors.transform([record.question]).T
            best = sentences[int(np.argmax(alike.toarray()))]
            guesses.append(best[:12] if chinese else " ".join(best.split()[:8]))
        golds = [[answer.text for answer in record.answers] for record in records]
        return float(score_answers(golds, guesses).f1)

    return score(dev), score(test)
