"""What two sets share: prompts word for word, prompts nearly so, and answers that stand in prompts.

For public test sets, whose columns differ from ours, any text of theirs counts: a row overlaps
where one of its texts equals, is nearly like, or shares 13 words in a row with a text of the set
(the rule of Brown et al. 2020, arXiv 2005.14165, appendix C).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunesmith.data.near import near_duplicates, normalised, prompt_text
from tunesmith.data.quality.flags import SHOWN, Flag, Hit
from tunesmith.records import Example, Finding, Severity

WORDS = 13  # in a row
ANSWER_WORDS = 8  # of an answer that may be looked for in a prompt


def answers_in_prompts(prompts: Sequence[str], answers: Sequence[str]) -> list[bool]:
    """For each of `prompts`, whether some of `answers` (of 8 words or more) stands in it whole."""
    long = {a for a in map(normalised, answers) if len(a.split(" ")) >= ANSWER_WORDS}
    return [bool(found) for found in _standing(prompts, long)]


def against_tests(examples: Sequence[Example], theirs: Mapping[str, Sequence[str]]) -> list[Flag]:
    """Rows that stand in a public test set; `theirs`: the texts of each set, by its name."""
    hits: dict[int, str] = {}
    prompts = [prompt_text(e) for e in examples]
    for name, texts in theirs.items():
        runs = {run for text in texts for run in _runs(normalised(text), WORDS)}
        equal = {normalised(text) for text in texts} - {""}
        near = near_duplicates(prompts, texts)
        for i, (prompt, example) in enumerate(zip(prompts, examples, strict=True)):
            plain, answer = normalised(prompt), normalised(example.target)
            if plain in equal:
                hits.setdefault(i, f"the prompt stands in {name}")
            elif near[i]:
                hits.setdefault(i, f"the prompt nearly stands in {name}")
            elif any(run in runs for text in (plain, answer) for run in _runs(text, WORDS)):
                hits.setdefault(i, f"{WORDS} words in a row stand in {name}")
    if not hits:
        return []
    advice = "Drop them: a score on that test would measure memory."
    found = tuple(Hit(row, note) for row, note in sorted(hits.items()))
    message = f"rows stand in a public test set ({', '.join(theirs)})"
    return [Flag("test_overlap", Severity.ERROR, message, found, advice)]


def leaked_answers(ours: Sequence[Example], theirs: Sequence[Example]) -> list[Finding]:
    """Rows whose prompt holds an answer of the other set, or whose answer stands in a prompt there.

    A row whose own prompt holds its own answer is told elsewhere; here an answer must come from,
    or go to, the other set.
    """
    taken = answers_in_prompts([prompt_text(e) for e in ours], [e.target for e in theirs])
    given = {a for e in ours if len((a := normalised(e.target)).split(" ")) >= ANSWER_WORDS}
    stood = set().union(*_standing([prompt_text(e) for e in theirs], given))
    rows = [
        example
        for example, hit in zip(ours, taken, strict=True)
        if hit or normalised(example.target) in stood
    ]
    if not rows:
        return []
    return [
        Finding(
            "leaked_answers",
            Severity.WARNING,
            f"rows share an answer of {ANSWER_WORDS} words or more with a prompt across the sets",
            len(rows),
            tuple(e.place for e in rows[:SHOWN]),
            "One side can be copied from the other: keep such rows on one side.",
        )
    ]


def between(examples: Sequence[Example], keys: Sequence[str]) -> list[Finding]:
    """Prompts that stand in several of the sources that are checked together, by pair of them."""
    sources: dict[str, set[str]] = {}
    for example, key in zip(examples, keys, strict=True):
        sources.setdefault(key, set()).add(example.meta.get("source", ""))
    pairs: Counter[tuple[str, str]] = Counter()
    for names in sources.values():
        ordered = sorted(names)
        pairs.update((a, b) for i, a in enumerate(ordered) for b in ordered[i + 1 :])
    if not pairs:
        return []
    return [
        Finding(
            "shared_prompts",
            Severity.INFO,
            "distinct prompts stand in several of these sources",
            sum(len(names) > 1 for names in sources.values()),
            tuple(f"{a} and {b}: {n:,}" for (a, b), n in pairs.most_common(SHOWN)),
            "The split keeps them on one side; a source of role test is kept apart from the rest.",
        )
    ]


def _standing(prompts: Sequence[str], answers: set[str]) -> list[set[str]]:
    """For each prompt the normalised answers that stand in it whole, from word to word."""
    known: dict[str, list[str]] = {}
    for answer in answers:
        known.setdefault(" ".join(answer.split(" ")[:ANSWER_WORDS]), []).append(answer)
    if not known:
        return [set() for _ in prompts]
    found = []
    for prompt in map(normalised, prompts):
        begun = (known.get(part, ()) for part in _runs(prompt, ANSWER_WORDS))
        found.append({a for several in begun for a in several if f" {a} " in f" {prompt} "})
    return found


def texts_of(row: Mapping[str, Any]) -> Iterator[str]:
    """Every text of a row, lists and objects opened."""
    for value in row.values():
        yield from _strings(value)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _strings(inner)


def _runs(text: str, count: int) -> Iterator[str]:
    words = text.split(" ")
    for start in range(len(words) - count + 1):
        yield " ".join(words[start : start + count])
