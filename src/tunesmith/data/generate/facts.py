"""A small fact base about experimentation: questions whose answers rules decide.

Reading p values and intervals, critical values and sample sizes that a table states, which test
fits which design, kinds of error, the parts of an experiment. Each question holds what its answer
follows from (but for the names of tests and errors, which training teaches), so that a base of two
million parameters, good at copying and at looking things up, has something to learn, and so that
each answer can be checked.

A row has `question`, `answer`, `kind` (closed: the answer is one of few or a figure that stands in
the question; open: a sentence) and `topic`. Names, things and measured numbers of the test part
never stand in training; the conventional levels 0.01, 0.05 and 0.1 stand in both.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import ceil
from typing import Literal

from scipy.special import ndtri, stdtrit

from tunesmith.models.nano.words import NOUNS, made_up

LEVELS = (Decimal("0.01"), Decimal("0.05"), Decimal("0.1"))
POWER = 0.8
_TEST_SHARE = 4  # one name, thing or number in so many belongs to the test part


@dataclass(frozen=True, slots=True)
class Fact:
    """A question with the answer that the rules give; `closed`: one of few, or a stated figure."""

    topic: str
    question: str
    answer: str
    closed: bool = True


@dataclass(frozen=True, slots=True)
class World:
    """What one part of the data may speak of."""

    part: Literal["train", "test"]

    def mine(self, text: str) -> bool:
        """Whether a name, thing or number belongs to this part."""
        return (self.part == "test") == (zlib.crc32(text.encode()) % _TEST_SHARE == 0)

    def name(self, r: random.Random) -> str:
        """A made-up name."""
        return self._drawn(lambda: made_up(r).capitalize())

    def thing(self, r: random.Random) -> str:
        """A thing that is tried out."""
        return self._drawn(lambda: r.choice(NOUNS))

    def number(self, r: random.Random, low: int, high: int, places: int = 0) -> Decimal:
        """A number from `low` to `high`, both counted in units of the last decimal place."""
        return Decimal(self._drawn(lambda: str(Decimal(r.randint(low, high)).scaleb(-places))))

    def _drawn(self, draw: Callable[[], str]) -> str:
        while True:
            text = draw()
            if self.mine(text):
                return text


def fact_rows(
    rows: int, seed: int, part: Literal["train", "test"]
) -> Iterator[dict[str, str | None]]:
    """`rows` different questions, the topics in turn."""
    world = World(part)
    r = random.Random(f"facts {part} {seed}")
    seen: set[str] = set()
    while len(seen) < rows:
        fact = TOPICS[len(seen) % len(TOPICS)](r, world)
        if fact.question in seen:
            continue
        seen.add(fact.question)
        yield {
            "question": fact.question,
            "answer": fact.answer,
            "kind": "closed" if fact.closed else "open",
            "topic": fact.topic,
        }


def _yes(truth: bool) -> str:
    return "yes" if truth else "no"


def p_value(r: random.Random, world: World) -> Decimal:
    """A p value, half of them under the usual levels."""
    return world.number(r, 1, 99 if r.random() < 0.75 else 999, 3)


def significance(r: random.Random, world: World) -> Fact:
    """A p value against a level: below it, or not."""
    p, level, name, thing = p_value(r, world), r.choice(LEVELS), world.name(r), world.thing(r)
    question = r.choice(
        (
            "The trial {n} compared the new {t} with the old one: p = {p}. The level is {a}. Is "
            "the difference significant?",
            "At {n} the test of the {t} gave p = {p}. Is this significant at the level {a}?",
            "Level {a}. Trial {n}, {t}: p = {p}. Is the null hypothesis rejected?",
        )
    ).format(n=name, t=thing, p=p, a=level)
    return Fact("p value", f"{question} Answer yes or no.", _yes(p < level))


def significance_told(r: random.Random, world: World) -> Fact:
    """The same as a sentence."""
    p, level, name = p_value(r, world), r.choice(LEVELS), world.name(r)
    question = f"Trial {name}: p = {p}, level {level}. Report the result in a sentence."
    if p < level:
        answer = f"With p = {p}, below {level}, the null hypothesis is rejected for {name}."
    else:
        answer = f"With p = {p}, not below {level}, no effect is shown for {name}."
    return Fact("p value", question, answer, closed=False)


def _interval(r: random.Random, world: World) -> tuple[Decimal, Decimal]:
    """The ends of an interval; about half of them hold zero."""
    while True:
        a, b = (world.number(r, 1, 99, 1) for _ in range(2))
        low, high = min(a, b), max(a, b)
        if low < high:
            return r.choice(((-a, b), (-b, a), (low, high), (-high, -low)))


def interval(r: random.Random, world: World) -> Fact:
    """A confidence interval of a difference: does it hold zero?"""
    low, high = _interval(r, world)
    question = r.choice(
        (
            "The 95% interval of the difference at {n} is from {l} to {h}. Does it hold zero?",
            "{n}: the new {t} changed the mean by {l} to {h} (95% interval). Is zero inside?",
            "Is no difference at all among the values from {l} to {h}, the 95% interval of {n}?",
        )
    ).format(n=world.name(r), t=world.thing(r), l=low, h=high)
    return Fact("interval", f"{question} Answer yes or no.", _yes(low <= 0 <= high))


def interval_told(r: random.Random, world: World) -> Fact:
    """What an interval says, as a sentence."""
    low, high = _interval(r, world)
    name = world.name(r)
    question = f"Trial {name}: 95% interval of the difference from {low} to {high}. What follows?"
    if low <= 0 <= high:
        answer = f"The interval from {low} to {high} holds zero: no effect is shown for {name}."
    else:
        way = "more" if low > 0 else "less"
        answer = f"The interval from {low} to {high} leaves zero out: {name} gives {way}."
    return Fact("interval", question, answer, closed=False)


def _listed(r: random.Random, world: World, low: int, high: int, places: int) -> list[Decimal]:
    found: set[Decimal] = set()
    while len(found) < 4:
        found.add(world.number(r, low, high, places))
    return sorted(found)[: r.randint(3, 4)]


def critical_value(r: random.Random, world: World) -> Fact:
    """A critical value of Student's t in a table: two-sided, 5 %."""
    freedoms = _listed(r, world, 2, 60, 0)
    values = {f: f"{float(stdtrit(float(f), 0.975)):.3f}" for f in freedoms}
    asked = r.choice(freedoms)
    table = "; ".join(f"{f}: {v}" for f, v in values.items())
    question = r.choice(
        (
            "Critical values of t by degrees of freedom: {t}. What is the critical value for {f}?",
            "Degrees of freedom and critical t: {t}. {n} has {f} degrees of freedom. What is its "
            "critical value?",
        )
    ).format(t=table, f=asked, n=world.name(r))
    return Fact("critical value", question, values[asked])


def decision(r: random.Random, world: World) -> Fact:
    """A statistic against its critical value."""
    found, critical = (world.number(r, 100, 399, 2) for _ in range(2))
    question = r.choice(
        (
            "At {n} t is {t} and the critical value {c}. Is the null hypothesis rejected?",
            "Critical value {c}, observed t = {t} for the {x}. Do we reject the null hypothesis?",
        )
    ).format(n=world.name(r), x=world.thing(r), t=found, c=critical)
    return Fact("critical value", f"{question} Answer yes or no.", _yes(found > critical))


def group_size(effect: float, *, power: float = POWER, level: float = 0.05) -> int:
    """Units in each of two groups, two-sided test of means, normal approximation.

    n = 2 (z(1 - level / 2) + z(power))^2 / d^2; Cohen (1988), section 2.4, gives one more for
    small n, from the t distribution.
    """
    z = float(ndtri(1 - level / 2) + ndtri(power))
    return ceil(2 * z * z / (effect * effect))


def _sizes(r: random.Random, world: World) -> tuple[str, Decimal, int]:
    effects = _listed(r, world, 10, 120, 2)
    sizes = {d: group_size(float(d)) for d in effects}
    asked = r.choice(effects)
    return "; ".join(f"{d}: {n}" for d, n in sizes.items()), asked, sizes[asked]


def sample_size(r: random.Random, world: World) -> Fact:
    """A sample size in a table."""
    table, asked, size = _sizes(r, world)
    question = r.choice(
        (
            "Units in each group by effect size: {t}. How many does {n} need for {d}?",
            "Effect size and group size: {t}. {n} expects an effect of {d}. How many units are "
            "needed in each group?",
        )
    ).format(t=table, n=world.name(r), d=asked)
    return Fact("sample size", question, str(size))


def sample_size_told(r: random.Random, world: World) -> Fact:
    """The same as a sentence."""
    table, asked, size = _sizes(r, world)
    name = world.name(r)
    question = f"Units in each group by effect size: {table}. Plan {name} for an effect of {asked}."
    answer = f"To see an effect of {asked}, {name} needs {size} units in each group."
    return Fact("sample size", question, answer, closed=False)


# (outcome, groups, paired) -> test, as introductory texts have it; Conover (1999) for ranks.
TESTS: dict[tuple[str, str, bool], str] = {
    ("mean", "two", False): "t test",
    ("mean", "two", True): "paired t test",
    ("mean", "more", False): "analysis of variance",
    ("mean", "more", True): "repeated measures analysis of variance",
    ("yes or no", "two", False): "chi-squared test",
    ("yes or no", "two", True): "McNemar test",
    ("yes or no", "more", False): "chi-squared test",
    ("yes or no", "more", True): "Cochran Q test",
    ("rank", "two", False): "Mann-Whitney test",
    ("rank", "two", True): "Wilcoxon signed rank test",
    ("rank", "more", False): "Kruskal-Wallis test",
    ("rank", "more", True): "Friedman test",
}
_OUTCOMES = {
    "mean": ("a mean", "an average weight", "a mean time"),
    "yes or no": ("yes or no", "passed or failed", "sold or not"),
    "rank": ("a rank", "an order of preference", "a rating in ranks"),
}


def _design(r: random.Random, world: World) -> tuple[tuple[str, str, bool], str]:
    kind, groups, paired = r.choice(list(TESTS))
    number = "two" if groups == "two" else r.choice(("three", "four", "five"))
    thing = world.thing(r)
    units = r.choice(
        (f"the same {thing} every time", f"each {thing} in all groups")
        if paired
        else (f"another {thing} in each group", f"each {thing} in one group")
    )
    outcome = r.choice(_OUTCOMES[kind])
    text = f"Outcome: {outcome}. Groups: {number}. Units: {units}."
    return (kind, groups, paired), text


def which_test(r: random.Random, world: World) -> Fact:
    """The test that fits a design."""
    design, text = _design(r, world)
    asked = r.choice(("Which test fits?", "Which test is right here?", "Name the test."))
    return Fact("which test", f"Experiment {world.name(r)}. {text} {asked}", TESTS[design])


def which_test_told(r: random.Random, world: World) -> Fact:
    """The test with its reason."""
    design, text = _design(r, world)
    kind, groups, paired = design
    name = world.name(r)
    units = "the same units" if paired else "different units"
    answer = (
        f"The {TESTS[design]} fits {name}: the outcome is {_OUTCOMES[kind][0]}, with "
        f"{'two' if groups == 'two' else 'more than two'} groups of {units}."
    )
    question = f"Experiment {name}. {text} Which test fits, and why?"
    return Fact("which test", question, answer, closed=False)


def error_kind(r: random.Random, world: World) -> Fact:
    """Type I, type II, or no error."""
    effect, found = r.random() < 0.5, r.random() < 0.5
    truth = r.choice(
        ("really works", "has an effect") if effect else ("does nothing", "has no effect")
    )
    said = r.choice(
        ("was significant", "rejected the null hypothesis")
        if found
        else ("was not significant", "did not reject the null hypothesis")
    )
    answer = "no error" if effect == found else "type I error" if found else "type II error"
    question = f"In truth the {world.thing(r)} of {world.name(r)} {truth}. The test {said}."
    return Fact("error", f"{question} Which kind of error is it?", answer)


def roles(r: random.Random, world: World) -> Fact:
    """The parts of an experiment: unit, treatment, control, outcome."""
    unit, outcome = world.thing(r), world.thing(r)
    treatment, control = world.name(r).lower(), world.name(r).lower()
    text = r.choice(
        (
            "Each {u} got {t} or {c} by chance, and its {o} was measured. {c} was the control.",
            "The {o} of each {u} was measured. By chance a {u} got the control {c} or the new {t}.",
        )
    ).format(u=unit, t=treatment, c=control, o=outcome)
    question, answer = r.choice(
        (
            ("What is the unit of randomisation?", unit),
            ("What is the treatment?", treatment),
            ("What is the control?", control),
            ("What is the outcome?", outcome),
        )
    )
    return Fact("design", f"{text} {question}", answer)


TOPICS: Sequence[Callable[[random.Random, World], Fact]] = (
    significance,
    interval,
    critical_value,
    which_test,
    error_kind,
    roles,
    sample_size,
    decision,
    significance_told,
    interval_told,
    sample_size_told,
    which_test_told,
)
