"""Examples side by side: those a tuned model fixed, those it broke, those nobody gets right.

Chosen by rule and never by taste: the largest change of the score first, then the shortest prompt;
and after each, first those that are least like the ones shown already (by slice and label, then by
the words of the prompt), so that four cases are not one case four times.

A score of right and wrong sorts examples into fixed, broken and wrong both times. Any other score
says only that it rose, fell or stayed: whether an answer is right is told beside it, by exact match
where the task has it, else by full marks.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tunesmith.records import Answer, Example, Outcome
from tunesmith.report import figures
from tunesmith.report.facts import BASELINE, Facts

Draw = Callable[[str], str | None]
EXACT = "exact"
FULL_MARKS = 1.0 - 1e-9
ALIKE = 0.5  # share of words in common, from which on two prompts count as one kind


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer as shown: `drawing` is inline SVG, already made safe."""

    variant: str
    text: str
    state: str  # "right", "wrong", "unparsed", "refused", "failed"; a CSS class
    word: str  # the state as it is shown
    score: str
    drawing: str | None


@dataclass(frozen=True, slots=True)
class Case:
    """One example with what everybody said to it."""

    id: str
    place: str
    tags: tuple[str, ...]
    system: str
    turns: tuple[tuple[str, str], ...]
    target: str
    label: str | None
    drawing: str | None
    replies: tuple[Reply, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Examples of one kind: `count` in the whole test set, of which `cases` are shown."""

    title: str
    note: str
    count: int
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Cases:
    """The examples of a report, told about one tuned variant and one score."""

    variant: str
    score: str
    groups: tuple[Group, ...]
    right: str  # how many answers are exactly right, where the score does not say it; else ""


@dataclass(frozen=True, slots=True)
class _Pair:
    example: Example
    before: float
    after: float
    has_twin: bool

    @property
    def gain(self) -> float:
        return self.after - self.before


def cases(facts: Facts, draw: Draw | None, *, each: int) -> Cases | None:
    """What the best tuned variant fixed, broke and left wrong; None without answers to both.

    At most `each` examples of each kind are shown.
    """
    variant, score = _focus(facts)
    if variant is None or score is None:
        return None
    before = _scores(facts.answers.get(BASELINE, ()), score)
    after = _scores(facts.answers[variant], score)
    pairs = [
        _Pair(t.example, before[t.example.id], after[t.example.id], t.has_twin)
        for t in facts.examples
        if t.example.id in before and t.example.id in after
    ]
    if not pairs:
        return None
    share = score in facts.shares
    shown = [BASELINE, *facts.trained]
    groups = tuple(
        Group(
            title,
            note,
            len(found),
            tuple(_case(facts, pair, shown, score, draw) for pair in _spread(facts, found, each)),
        )
        for title, note, found in _kinds(pairs, variant, score, share=share)
    )
    return Cases(variant, score, groups, "" if share else _right(facts, shown, score))


def _kinds(
    pairs: Sequence[_Pair], variant: str, score: str, *, share: bool
) -> tuple[tuple[str, str, list[_Pair]], ...]:
    """Title, note and examples of each kind."""
    won, lost = _won(pairs), _lost(pairs)
    if share:
        return (
            ("Fixed", f"{variant} does better than the untuned model", won),
            ("Broken", f"{variant} does worse than the untuned model", lost),
            ("Wrong before and after", "Neither gets it right", _both_wrong(pairs)),
        )
    told = f"{score} of {variant}'s answer is"
    return (
        ("Score rose", f"{told} higher than that of the untuned model's", won),
        ("Score fell", f"{told} lower than that of the untuned model's", lost),
        ("Score stayed", f"{told} the same as that of the untuned model's", _stayed(pairs)),
    )


def _right(facts: Facts, variants: Sequence[str], score: str) -> str:
    """How many answers of each are exactly right."""
    parts = []
    for variant in variants:
        given = [a for a in facts.answers.get(variant, ()) if a.outcome is not Outcome.FAILED]
        if given:
            hits = sum(_is_right(answer, score) for answer in given)
            parts.append(f"{hits:,} of {len(given):,} by {variant}")
    return ", ".join(parts)


def _is_right(answer: Answer, score: str) -> bool:
    """Exact match where the task has it, else full marks."""
    return answer.scores.get(EXACT, answer.scores.get(score, 0.0)) >= FULL_MARKS


def _spread(facts: Facts, found: Sequence[_Pair], each: int) -> list[_Pair]:
    """At most `each` of those found: at each turn one of the kind least shown, in their order."""
    wishes = facts.experiment.resolved.get("evaluation") or {}
    keys = tuple(wishes.get("slice_by") or ())
    left = [(pair, _kind(pair.example, keys), _said(pair.example)) for pair in found]
    parts: Counter[tuple[str, ...]] = Counter()
    picked: list[_Pair] = []
    words: list[frozenset[str]] = []
    while left and len(picked) < each:
        place = min(
            range(len(left)),
            key=lambda i: (parts[left[i][1]], sum(_alike(left[i][2], w) for w in words), i),
        )
        pair, kind, said = left.pop(place)
        picked.append(pair)
        parts[kind] += 1
        words.append(said)
    return picked


def _kind(example: Example, keys: Sequence[str]) -> tuple[str, ...]:
    return (example.label or "", *(example.meta.get(key, "") for key in keys))


def _said(example: Example) -> frozenset[str]:
    """The words of the last turn, which is what is asked."""
    return frozenset(re.findall(r"\w+", example.messages[-1].content.lower()))


def _alike(one: frozenset[str], two: frozenset[str]) -> bool:
    return len(one & two) >= ALIKE * max(1, len(one | two))


def _focus(facts: Facts) -> tuple[str | None, str | None]:
    """The tuned variant that did best on the primary metric, and the score examples have."""
    names = [name for name in facts.trained if facts.answers.get(name)]
    if not names or not facts.answers.get(BASELINE):
        return None, None
    metric = facts.primary or ""
    values = {name: facts.estimate(name, metric) for name in names}
    best = max(names, key=lambda name: e.value if (e := values[name]) is not None else -1.0)
    given = dict.fromkeys(name for answer in facts.answers[best] for name in answer.scores)
    # A corpus metric (macro F1) has no value for one example: the task's first score stands in.
    return best, metric if metric in given else next(iter(given), None)


def _scores(answers: Sequence[Answer], name: str) -> dict[str, float]:
    """Score by example id; what cannot be read is wrong, what never arrived is left out, and so is
    an example that has no such score."""
    return {
        answer.example_id: answer.scores.get(name, 0.0)
        for answer in answers
        if answer.outcome is not Outcome.FAILED
        and (name in answer.scores or answer.outcome is not Outcome.SCORED)
    }


def _length(example: Example) -> int:
    return sum(len(message.content) for message in example.messages)


def _won(pairs: Sequence[_Pair]) -> list[_Pair]:
    found = [pair for pair in pairs if pair.gain > 0]
    return sorted(found, key=lambda p: (-p.gain, _length(p.example), p.example.id))


def _lost(pairs: Sequence[_Pair]) -> list[_Pair]:
    found = [pair for pair in pairs if pair.gain < 0]
    return sorted(found, key=lambda p: (p.gain, _length(p.example), p.example.id))


def _both_wrong(pairs: Sequence[_Pair]) -> list[_Pair]:
    found = [pair for pair in pairs if max(pair.before, pair.after) < FULL_MARKS]
    return sorted(found, key=lambda p: (_length(p.example), p.example.id))


def _stayed(pairs: Sequence[_Pair]) -> list[_Pair]:
    found = [pair for pair in pairs if pair.gain == 0]
    return sorted(found, key=lambda p: (p.after, _length(p.example), p.example.id))


def _case(
    facts: Facts, pair: _Pair, variants: Sequence[str], score: str, draw: Draw | None
) -> Case:
    example = pair.example
    replies = []
    for variant in variants:
        answer = next(
            (a for a in facts.answers.get(variant, ()) if a.example_id == example.id), None
        )
        if answer is not None:
            replies.append(_reply(variant, answer, score, score in facts.shares, draw))
    tags = [f"{key}: {value}" for key, value in example.meta.items()]
    if pair.has_twin:
        tags.append("has a twin in training")
    return Case(
        id=example.id[:8],
        place=example.place,
        tags=tuple(tags),
        system="\n\n".join(m.content for m in example.messages if m.role == "system"),
        turns=tuple((m.role, m.content) for m in example.messages if m.role != "system"),
        target=example.target,
        label=example.label,
        drawing=_draw(draw, example.target),
        replies=tuple(replies),
    )


def _reply(variant: str, answer: Answer, score: str, share: bool, draw: Draw | None) -> Reply:
    value = answer.scores.get(score, 0.0)
    right = _is_right(answer, score) if not share else value >= FULL_MARKS
    if answer.outcome is not Outcome.SCORED and not right:
        state = word = answer.outcome.value
    elif right:
        state, word = "right", "right" if share else "exactly right"
    else:
        state, word = "wrong", "wrong" if share else "not exactly right"
    return Reply(
        variant=variant,
        text=answer.response,
        state=state,
        word=word,
        score="" if share else f"{score} {figures.number(value)}",
        drawing=_draw(draw, answer.response),
    )


def _draw(draw: Draw | None, text: str) -> str | None:
    from tunesmith.report.drawing import sanitise

    drawn = draw(text) if draw is not None else None
    return sanitise(drawn) if drawn else None
