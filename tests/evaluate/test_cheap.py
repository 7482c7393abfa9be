"""Cheap baselines, against Counter and scikit-learn asked directly."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors

from tunesmith.evaluate.answer import evaluate
from tunesmith.evaluate.cheap import cheap_baselines, most_frequent, prompt_text
from tunesmith.records import Example, Message, Outcome
from tunesmith.tasks.base import Task, get_task

WORDS = {"red": "fire brick rose", "green": "leaf grass moss", "blue": "sea sky ink"}


def rows(count: int, seed: int) -> list[Example]:
    """Questions whose words hint at the colour: nine times in ten rightly."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        label = draw.choices(tuple(WORDS), weights=(5, 3, 2))[0]
        hint = label if draw.random() < 0.9 else draw.choice(tuple(WORDS))
        words = draw.choices(WORDS[hint].split(), k=3) + draw.choices("a b c d e".split(), k=4)
        draw.shuffle(words)
        messages = (Message("system", "Which colour?"), Message("user", " ".join(words)))
        found.append(Example(messages, f"{label}\nbecause", label))
    return found


@pytest.fixture(scope="module")
def train() -> list[Example]:
    return rows(400, seed=1)


@pytest.fixture(scope="module")
def test() -> list[Example]:
    return list({example.id: example for example in rows(150, seed=2)}.values())


def labels(task: Task, name: str, train: list[Example], test: list[Example]) -> list[str | None]:
    answers = evaluate(test, cheap_baselines(task, train, seed=3)[name], task)
    assert all(answer.outcome is Outcome.SCORED for answer in answers)
    return [answer.label for answer in answers]


def test_majority(colour: Task, train: list[Example], test: list[Example]) -> None:
    top = Counter(e.label for e in train).most_common(1)[0][0]
    assert labels(colour, "majority", train, test) == [top] * len(test)


def test_lookup(colour: Task, train: list[Example], test: list[Example]) -> None:
    known = test[:20]
    contradicted = [Example(e.messages, "", "blue") for e in known for _ in range(2)]
    found = labels(colour, "lookup", [*train, *contradicted, *known], test)
    assert found[:20] == ["blue"] * 20  # two rows against one
    seen = {prompt_text(e) for e in train}
    fresh = [x for e, x in zip(test[20:], found[20:], strict=True) if prompt_text(e) not in seen]
    top = Counter(e.label for e in [*train, *contradicted, *known]).most_common(1)[0][0]
    assert fresh
    assert set(fresh) == {top}


def test_lookup_knows_all_of_its_own_training(colour: Task, train: list[Example]) -> None:
    own = list({e.prompt_key: e for e in train}.values())
    assert labels(colour, "lookup", own, own) == [e.label for e in own]


def test_tfidf_is_scikit_learn(colour: Task, train: list[Example], test: list[Example]) -> None:
    texts = ["\n\n".join(m.content for m in e.messages) for e in [*train, *test]]
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    seen = vectorizer.fit_transform(texts[: len(train)])
    model = LogisticRegression(C=10.0, max_iter=1000).fit(seen, [str(e.label) for e in train])
    expected = model.predict(vectorizer.transform(texts[len(train) :])).tolist()
    found = labels(colour, "tfidf", train, test)
    assert found == expected
    right = np.mean([x == e.label for x, e in zip(found, test, strict=True)])
    assert right > 0.8  # it learns


def test_the_same_on_every_run(colour: Task, train: list[Example], test: list[Example]) -> None:
    runs = [labels(colour, "tfidf", train, test) for _ in range(2)]
    assert runs[0] == runs[1]


def test_nearest_is_the_nearest_neighbour() -> None:
    task = get_task("dot_graph")
    graphs = [
        Example(e.messages, f"digraph {{ a{i} -> b }}") for i, e in enumerate(rows(120, seed=4))
    ]
    asked = rows(40, seed=5)
    answers = evaluate(asked, cheap_baselines(task, graphs, seed=0)["nearest"], task)
    vectorizer = TfidfVectorizer(token_pattern=r"\w+|[^\w\s]", sublinear_tf=True)
    near = NearestNeighbors(n_neighbors=1, metric="cosine", algorithm="brute")
    near.fit(vectorizer.fit_transform([prompt_text(e) for e in graphs]))
    distances, places = near.kneighbors(
        vectorizer.transform([prompt_text(e) for e in {e.id: e for e in asked}.values()])
    )
    gold = {e.target: i for i, e in enumerate(graphs)}
    table = vectorizer.transform([prompt_text(e) for e in graphs]).toarray()
    for answer, distance, place in zip(answers, distances[:, 0], places[:, 0], strict=True):
        # Of several equally near, either may be named.
        chosen = gold[answer.response]
        assert chosen == place or np.allclose(table[chosen], table[place], atol=1e-6) or distance
    own = evaluate(graphs, cheap_baselines(task, graphs, seed=0)["nearest"], task)
    by_id = {e.id: e for e in graphs}
    assert all(a.scores["valid"] == 1.0 for a in own)
    assert np.mean([a.response == by_id[a.example_id].target for a in own]) > 0.9


def test_copy_gives_the_question_back() -> None:
    task = get_task("dot_graph")
    graph = "digraph { a -> b }"
    example = Example((Message("system", "s"), Message("user", graph)), graph)
    (answer,) = evaluate([example], cheap_baselines(task, [], seed=0)["copy"], task)
    assert answer.response == graph
    assert answer.scores["exact"] == 1.0


def test_which_baselines_a_task_gets(colour: Task, train: list[Example]) -> None:
    graph = get_task("dot_graph")
    assert list(cheap_baselines(colour, train, seed=0)) == ["majority", "lookup", "tfidf"]
    assert list(cheap_baselines(graph, train, seed=0)) == ["nearest", "copy"]
    assert list(cheap_baselines(colour, [], seed=0)) == []
    assert list(cheap_baselines(graph, [], seed=0)) == ["copy"]
    reds = [e for e in train if e.label == "red"]
    assert list(cheap_baselines(colour, reds, seed=0)) == ["majority", "lookup"]
    unlabelled = [Example(e.messages, e.target) for e in train]
    assert list(cheap_baselines(colour, unlabelled, seed=0)) == []


def test_each_says_in_a_line_what_it_is(colour: Task, train: list[Example]) -> None:
    for task in (colour, get_task("dot_graph")):
        for responder in cheap_baselines(task, train, seed=0).values():
            line = (type(responder).__doc__ or "").splitlines()[0]
            assert line.endswith(".")
            assert len(line) < 100


def test_ties_go_to_the_label_that_stands_first() -> None:
    assert most_frequent(["b", "a", "a", "b", "c"], ("c", "b", "a")) == "b"
