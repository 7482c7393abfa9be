"""Examples side by side: those a tuned model fixed, those it broke, those nobody gets right.

Chosen by rule and never by taste: the largest change of the score first, then the shortest prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tunesmith.records import Answer, Example, Outcome
from tunesmith.report import figures
from tunesmith.report.facts import BASELINE, Facts

Draw = Callable[[str], str | None]
HALF = 0.5  # a score below it counts as wrong when examples are sorted


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer as shown: `drawing` is inline SVG, already made safe."""

    variant: str
    text: str
    state: str  # "right", "partly", "wrong", "unparsed", "refused", "failed"
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
    won, lost = ("Fixed", "Broken") if score in facts.shares else ("Improved", "Worsened")
    kinds = (
        (won, f"{variant} does better than the untuned model", _won(pairs)),
        (lost, f"{variant} does worse than the untuned model", _lost(pairs)),
        ("Wrong before and after", "Neither gets it right", _both_wrong(pairs)),
    )
    shown = [BASELINE, *facts.trained]
    groups = tuple(
        Group(
            title,
            note,
            len(found),
            tuple(_case(facts, pair, shown, score, draw) for pair in found[:each]),
        )
        for title, note, found in kinds
    )
    return Cases(variant, score, groups)


def _focus(facts: Facts) -> tuple[str | None, str | None]:
    """The tuned variant that did best on the primary metric, and the score examples have."""
    names = [name for name in facts.trained if facts.answers.get(name)]
    if not names or not facts.answers.get(BASELINE):
        return None, None
    metric = facts.primary or ""
    values = {name: facts.estimate(name, metric) for name in names}
    best = max(names, key=lambda name: e.value if (e := values[name]) is not None else -1.0)
    first = next((a.scores for a in facts.answers[best] if a.scores), {})
    # A corpus metric (macro F1) has no value for one example: the task's first score stands in.
    return best, metric if metric in first else next(iter(first), None)


def _scores(answers: Sequence[Answer], name: str) -> dict[str, float]:
    """Score by example id; what cannot be read is wrong, what never arrived is left out."""
    return {
        answer.example_id: answer.scores.get(name, 0.0)
        for answer in answers
        if answer.outcome is not Outcome.FAILED
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
    found = [pair for pair in pairs if max(pair.before, pair.after) < HALF]
    return sorted(found, key=lambda p: (max(p.before, p.after), _length(p.example), p.example.id))


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
    if answer.outcome is not Outcome.SCORED:
        state = answer.outcome.value
    elif value >= 1.0 - 1e-9:
        state = "right"
    else:
        state = "partly" if value >= HALF else "wrong"
    return Reply(
        variant=variant,
        text=answer.response,
        state=state,
        score="" if share else figures.number(value),
        drawing=_draw(draw, answer.response),
    )


def _draw(draw: Draw | None, text: str) -> str | None:
    from tunesmith.report.drawing import sanitise

    drawn = draw(text) if draw is not None else None
    return sanitise(drawn) if drawn else None
