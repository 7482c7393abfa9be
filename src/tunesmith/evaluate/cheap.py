"""Baselines that cost next to nothing and that a fine-tune must beat to be worth its price.

They see the training examples and answer like any Variant. On OrgAccess (easy) TF-IDF with logistic
regression alone equals the published fine-tuned 8B model: a verdict that leaves such a figure out
misleads. The first line of each class's docstring is what a report says about it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tunesmith.models.reply import Reply, Responder
from tunesmith.records import Example
from tunesmith.tasks.base import Task

CHUNK = 256  # prompts answered at a time


def cheap_baselines(task: Task, train: Sequence[Example], *, seed: int) -> dict[str, Responder]:
    """The baselines that make sense for `task`, by name; `train` may be empty.

    With a closed set of labels: `majority`, `lookup`, `tfidf` (where training holds two labels or
    more). Otherwise `nearest` and `copy`. What needs training examples is left out where there are
    none. Fitting happens here or at the first question, never twice.
    """
    if not task.labels:
        nearest: dict[str, Responder] = {"nearest": Nearest(train)} if train else {}
        return nearest | {"copy": Copy()}
    labelled = [example for example in train if example.label in task.labels]
    if not labelled:
        return {}
    majority = Majority(labelled, task.labels)
    found: dict[str, Responder] = {
        "majority": majority,
        "lookup": Lookup(labelled, task.labels),
    }
    if len({example.label for example in labelled}) > 1:
        found["tfidf"] = Tfidf(labelled, seed=seed)
    return found


def prompt_text(example: Example) -> str:
    """The prompt as plain text, without a model's template: what these baselines read."""
    return "\n\n".join(message.content for message in example.messages)


class Majority:
    """The most frequent label of the training part, whatever is asked."""

    def __init__(self, train: Sequence[Example], labels: Sequence[str]) -> None:
        self.label = most_frequent([str(e.label) for e in train], labels)

    def replies(self, examples: Sequence[Example]) -> Iterator[Sequence[Reply]]:
        """The same answer every time."""
        return _one_by_one(examples, lambda _: self.label)


class Lookup:
    """The label that the same prompt has in the training part; the most frequent label elsewhere.

    It shows what leakage alone is worth. Where training contradicts itself, the majority decides.
    """

    def __init__(self, train: Sequence[Example], labels: Sequence[str]) -> None:
        seen: dict[str, list[str]] = {}
        for example in train:
            seen.setdefault(example.prompt_key, []).append(str(example.label))
        self._known = {key: most_frequent(said, labels) for key, said in seen.items()}
        self._fallback = most_frequent([str(e.label) for e in train], labels)

    def replies(self, examples: Sequence[Example]) -> Iterator[Sequence[Reply]]:
        """The remembered label of each prompt."""
        return _one_by_one(examples, lambda e: self._known.get(e.prompt_key, self._fallback))


class Tfidf:
    """TF-IDF of the prompt's words and word pairs, with logistic regression over the labels.

    Fitted at the first question. lbfgs and no shuffling: the same on every run.
    """

    def __init__(self, train: Sequence[Example], *, seed: int) -> None:
        self._train = train
        self._seed = seed
        self._model: Any = None

    def replies(self, examples: Sequence[Example]) -> Iterator[Sequence[Reply]]:
        """The likeliest label of each prompt."""
        if self._model is None:
            self._model = self._fit()
        model = self._model
        return _in_chunks(
            examples, lambda some: [str(label) for label in model.predict(_texts(some))]
        )

    def _fit(self) -> Any:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        model = make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True),
            LogisticRegression(C=10.0, max_iter=1000, random_state=self._seed),
        )
        return model.fit(_texts(self._train), [str(e.label) for e in self._train])


class Nearest:
    """The answer of the training example with the most similar prompt (TF-IDF, cosine).

    A prompt that stands in training gets its answer there: this is the lookup of a task without
    labels. Among equals the first in training decides.
    """

    def __init__(self, train: Sequence[Example]) -> None:
        self._answers = [example.target for example in train]
        self._train = train
        self._index: tuple[Any, Any] | None = None

    def replies(self, examples: Sequence[Example]) -> Iterator[Sequence[Reply]]:
        """The gold answer of each prompt's nearest neighbour."""
        if self._index is None:
            self._index = self._fit()
        vectorizer, rows = self._index

        def nearest(some: Sequence[Example]) -> list[str]:
            # Both sides have unit length: the product is the cosine. (some, train), dense.
            likeness = (vectorizer.transform(_texts(some)) @ rows.T).toarray()
            return [self._answers[i] for i in likeness.argmax(axis=1)]

        return _in_chunks(examples, nearest)

    def _fit(self) -> tuple[Any, Any]:
        from sklearn.feature_extraction.text import TfidfVectorizer

        # Signs are words too: in code and graphs they carry the meaning.
        vectorizer = TfidfVectorizer(token_pattern=r"\w+|[^\w\s]", sublinear_tf=True)
        return vectorizer, vectorizer.fit_transform(_texts(self._train))


class Copy:
    """The question itself, given back as the answer."""

    def replies(self, examples: Sequence[Example]) -> Iterator[Sequence[Reply]]:
        """The last message of each prompt."""
        return _one_by_one(examples, lambda e: e.messages[-1].content if e.messages else "")


def most_frequent(said: Sequence[str], order: Sequence[str]) -> str:
    """The most frequent label; among equals the one that stands first in `order`."""
    counts = Counter(said)
    return max(order, key=lambda label: (counts[label], -order.index(label)))


def _texts(examples: Sequence[Example]) -> list[str]:
    return [prompt_text(example) for example in examples]


def _one_by_one(
    examples: Sequence[Example], answer: Callable[[Example], str]
) -> Iterator[Sequence[Reply]]:
    return _in_chunks(examples, lambda some: [answer(example) for example in some])


def _in_chunks(
    examples: Sequence[Example], answer: Callable[[Sequence[Example]], Sequence[str]]
) -> Iterator[Sequence[Reply]]:
    import time

    for start in range(0, len(examples), CHUNK):
        some = examples[start : start + CHUNK]
        begun = time.perf_counter()
        said = answer(some)
        share = (time.perf_counter() - begun) / len(some)
        yield [Reply(start + i, text, share) for i, text in enumerate(said)]
