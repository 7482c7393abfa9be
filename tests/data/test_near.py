"""Near-duplicates against the definition itself: sets of shingles, every pair compared."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.near import near_duplicates, normalised

VOCABULARY = ["".join(random.Random(i).choices("abcdefghij", k=5)) for i in range(400)]


def shingles(text: str) -> set[str]:
    plain = normalised(text).ljust(5)
    return {plain[i : i + 5] for i in range(len(plain) - 4)}


def likeness(x: set[str], y: set[str]) -> float:
    if min(len(x), len(y)) < 0.7 * max(len(x), len(y)):
        return 0.0  # below 0.7 by their sizes alone
    shared = len(x & y)
    return shared / (len(x) + len(y) - shared)


def alike(a: str, b: str) -> bool:
    return likeness(shingles(a), shingles(b)) >= 0.8


def sentences(seed: int, count: int) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(VOCABULARY, k=draw.randint(8, 40))) for _ in range(count)]


def test_agrees_with_all_pairs_on_planted_variants() -> None:
    base = sentences(1, 400)
    draw = random.Random(2)
    changed = []
    for text in base:
        words = text.split()
        for _ in range(draw.randint(0, 5)):
            words[draw.randrange(len(words))] = draw.choice(VOCABULARY)
        changed.append(" ".join(words))
    sets = [shingles(text) for text in base]
    expected = [any(likeness(mine, s) >= 0.8 for s in sets) for mine in map(shingles, changed)]
    assert 100 < sum(expected) < 390
    assert near_duplicates(changed, base) == expected


def test_agrees_with_all_pairs_on_real_queries(shared_data: Path) -> None:
    table = pq.read_table(shared_data / "orgaccess" / "easy.parquet", columns=["query"])
    queries = sorted(set(table["query"].to_pylist()))
    random.Random(3).shuffle(queries)
    ours, known = queries[:200], queries[200:2200]
    sets = [shingles(text) for text in known]
    best = [max(likeness(mine, s) for s in sets) for mine in map(shingles, ours)]
    found = near_duplicates(ours, known)
    # Frequent shingles such as " the " are left out first: that moves a similarity a little.
    assert sum(found) > 3
    assert all(hit for hit, like in zip(found, best, strict=True) if like >= 0.84)
    assert not any(hit for hit, like in zip(found, best, strict=True) if like < 0.76)


def test_a_repeated_instruction_does_not_make_prompts_alike() -> None:
    draw = random.Random(4)
    instruction = " ".join("".join(draw.choices("klmnopqrst", k=6)) for _ in range(300))
    texts = [f"{instruction} {text}" for text in sentences(5, 60)]
    assert all(alike(texts[0], text) for text in texts[1:])
    assert not any(near_duplicates(texts[:30], texts[30:]))
    assert near_duplicates([texts[0].upper() + "!"], texts) == [True]


@given(st.text(), st.lists(st.text(), max_size=5))
def test_case_and_punctuation_never_matter(text: str, others: list[str]) -> None:
    found = near_duplicates([f"  {text}?!"], [*others, text])
    assert found == [normalised(text) != ""]


@given(
    st.lists(st.text(alphabet="ab c", max_size=12), max_size=2),
    st.lists(st.text(alphabet="ab c", max_size=12), max_size=2),
)
def test_few_texts_are_judged_by_the_definition_alone(ours: list[str], known: list[str]) -> None:
    """Among fewer than five texts nothing is boilerplate: the plain Jaccard similarity decides."""
    for text, hit in zip(ours, near_duplicates(ours, known), strict=True):
        others = [other for other in known if normalised(other)] if normalised(text) else []
        best = max((likeness(shingles(text), shingles(other)) for other in others), default=0.0)
        assert hit == (best >= 0.8)


@given(st.lists(st.sampled_from(VOCABULARY[:12]), min_size=3, max_size=12), st.randoms())
def test_order_and_repetition_of_the_texts_do_not_matter(
    words: list[str], draw: random.Random
) -> None:
    texts = [" ".join(draw.sample(words, k=len(words))) for _ in range(8)]
    ours, known = texts[:4], texts[4:]
    found = dict(zip(ours, near_duplicates(ours, known), strict=True))
    again = near_duplicates(ours[::-1] * 2, known[::-1] * 3)
    assert again == [found[text] for text in ours[::-1] * 2]


def test_nothing_is_near_nothing() -> None:
    assert near_duplicates([], ["a"]) == []
    assert near_duplicates(["a", ""], []) == [False, False]
    assert near_duplicates(["?"], ["!"]) == [False]
