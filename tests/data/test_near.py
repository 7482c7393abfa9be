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


def alike(a: str, b: str) -> bool:
    x, y = shingles(a), shingles(b)
    return len(x & y) >= 0.8 * len(x | y)


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
    expected = [any(alike(text, other) for other in base) for text in changed]
    assert 100 < sum(expected) < 390
    assert near_duplicates(changed, base) == expected


def test_agrees_with_all_pairs_on_real_queries(shared_data: Path) -> None:
    table = pq.read_table(shared_data / "orgaccess" / "easy.parquet", columns=["query"])
    queries = sorted(set(table["query"].to_pylist()))
    random.Random(3).shuffle(queries)
    ours, known = queries[:200], queries[200:2200]
    sets = [shingles(text) for text in known]
    best = []
    for text in ours:
        mine = shingles(text)
        best.append(max(len(mine & s) / len(mine | s) for s in sets))
    found = near_duplicates(ours, known)
    # Frequent shingles such as " the " are left out first: that moves a similarity a little.
    assert sum(found) > 3
    assert all(hit for hit, like in zip(found, best, strict=True) if like >= 0.84)
    assert not any(hit for hit, like in zip(found, best, strict=True) if like < 0.76)


def test_a_repeated_instruction_does_not_make_prompts_alike() -> None:
    instruction = " ".join(VOCABULARY[:60])
    texts = [f"{instruction} {text}" for text in sentences(5, 60)]
    assert all(alike(texts[0], text) for text in texts[1:4] if len(text) < 520)
    assert not any(near_duplicates(texts[:30], texts[30:]))
    assert near_duplicates([texts[0].upper() + "!"], texts) == [True]


@given(st.text(), st.lists(st.text(), max_size=5))
def test_case_and_punctuation_never_matter(text: str, others: list[str]) -> None:
    found = near_duplicates([f"  {text}?!"], [*others, text])
    assert found == [normalised(text) != ""]


@given(st.lists(st.text(alphabet="ab c", max_size=12), max_size=8))
def test_what_is_found_is_alike(texts: list[str]) -> None:
    half = len(texts) // 2
    for text, hit in zip(texts[:half], near_duplicates(texts[:half], texts[half:]), strict=True):
        if hit and len(texts) < 5:
            assert any(alike(text, other) for other in texts[half:])


def test_nothing_is_near_nothing() -> None:
    assert near_duplicates([], ["a"]) == []
    assert near_duplicates(["a", ""], []) == [False, False]
    assert near_duplicates(["?"], ["!"]) == [False]
