"""Mix: how many examples of each source stand in the set, and which ones.

A cap bounds a source. Weights are shares of the mix: the largest mix that keeps them is taken, by
leaving rows of the plentiful sources out; no row is ever taken twice. Quotas are whole numbers by
largest remainders, over exact fractions, and within a source the labels keep their shares. Which
rows they are follows from the seed and their own content, so the same on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from tunesmith.data.sample import Bounded
from tunesmith.errors import DataError
from tunesmith.records import Example, Finding, Severity, digest


@dataclass(frozen=True, slots=True)
class Wish:
    """What a recipe asks of one source: a share of the mix, or at most so many examples."""

    weight: float | None = None
    cap: int | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one source: how many examples it had, and how many stand in the mix."""

    available: int
    taken: int
    weight: float | None = None
    cap: int | None = None


@dataclass(frozen=True, slots=True)
class Mixture:
    """The examples of a mix, in the order in which they came, and the account of each source."""

    examples: tuple[Example, ...]
    sources: Mapping[str, Taken]


def mix(
    examples: Sequence[Example], wishes: Mapping[str, Wish], *, seed: int, rows: int | None = None
) -> Mixture:
    """Take of each source what `wishes` ask, and at most `rows` of all where there are weights.

    Raises DataError where a source with a weight has no example, or where some sources have a
    weight and others none: their share would be anybody's guess.
    """
    by_source: dict[str, list[Example]] = {}
    for example in examples:
        by_source.setdefault(example.meta.get("source", ""), []).append(example)
    names = list(dict.fromkeys([*by_source, *(n for n, w in wishes.items() if w.weight)]))
    caps = {name: _capped(len(by_source.get(name, ())), wishes.get(name)) for name in names}
    weights = _weights(names, wishes)
    quotas = _quotas(weights, caps, rows) if weights else caps
    chosen = {
        id(example)
        for name, members in by_source.items()
        for example in draw(members, quotas[name], seed=seed)
    }
    return Mixture(
        tuple(example for example in examples if id(example) in chosen),
        {
            name: Taken(
                len(by_source.get(name, ())),
                quotas[name],
                wishes[name].weight if name in wishes else None,
                wishes[name].cap if name in wishes else None,
            )
            for name in names
        },
    )


def mix_bounded(
    bounded: Bounded, wishes: Mapping[str, Wish], *, seed: int, rows: int | None = None
) -> tuple[Bounded, Mapping[str, Taken]]:
    """Mix what is divided or trained on; rows of test sources stay as they are."""
    free = [e for e in bounded.examples if e.meta.get("role") != "test"]
    mixture = mix(free, wishes, seed=seed, rows=rows)
    taken = {id(example) for example in mixture.examples}
    kept = [
        (example, length)
        for example, length in zip(bounded.examples, bounded.lengths, strict=True)
        if example.meta.get("role") == "test" or id(example) in taken
    ]
    left = Bounded(tuple(e for e, _ in kept), tuple(n for _, n in kept), bounded.overlong)
    return left, mixture.sources


def draw(examples: Sequence[Example], rows: int, *, seed: int) -> tuple[Example, ...]:
    """`rows` of the examples, labels in their own shares; their order is kept."""
    if rows >= len(examples):
        return tuple(examples)
    labels: dict[str, list[Example]] = {}
    for example in examples:
        labels.setdefault(example.label or "", []).append(example)
    quotas = apportion({label: Fraction(len(them)) for label, them in labels.items()}, rows)
    chosen = {
        id(example)
        for label, them in labels.items()
        for example in sorted(them, key=lambda e: digest(str(seed), e.id))[: quotas[label]]
    }
    return tuple(example for example in examples if id(example) in chosen)


def shuffled(examples: Sequence[Example], *, seed: int) -> tuple[Example, ...]:
    """The examples in an order that follows from the seed and their content alone."""
    return tuple(
        sorted(
            examples,
            key=lambda e: (digest(str(seed), "order", e.id), sorted(e.meta.items()), e.place),
        )
    )


def apportion(weights: Mapping[str, Fraction], total: int) -> dict[str, int]:
    """Whole numbers of the sum `total` in the proportion of `weights`, by largest remainders."""
    whole = sum(weights.values())
    exact = {name: weight * total / whole for name, weight in weights.items()}
    quotas = {name: int(share) for name, share in exact.items()}
    order = sorted(exact, key=lambda name: (quotas[name] - exact[name], name))
    for name in order[: total - sum(quotas.values())]:
        quotas[name] += 1
    return quotas


def findings(sources: Mapping[str, Taken]) -> tuple[Finding, ...]:
    """What mixing left out, source by source; nothing where all of it was taken."""
    left = {name: it for name, it in sources.items() if it.taken < it.available}
    if not left:
        return ()
    tight = sum(it.taken for it in sources.values())
    return (
        Finding(
            "mixed",
            Severity.INFO,
            f"examples left out of the mix of {tight:,}, to keep the recipe's weights and caps",
            sum(it.available - it.taken for it in left.values()),
            tuple(f"{name}: {it.taken:,} of {it.available:,}" for name, it in left.items()),
            "More rows of the scarcest source make the whole mix larger.",
        ),
    )


def _capped(available: int, wish: Wish | None) -> int:
    return available if wish is None or wish.cap is None else min(available, wish.cap)


def _weights(names: Sequence[str], wishes: Mapping[str, Wish]) -> dict[str, Fraction]:
    """The weight of every source, as it is written; none where no source has one."""
    said = {name: wishes[name].weight for name in names if name in wishes}
    weights = {name: Fraction(str(w)) for name, w in said.items() if w is not None}
    silent = [name for name in names if name not in weights]
    if weights and silent:
        raise DataError(
            f"data.sources.{silent[0]} has no weight, and {next(iter(weights))} has one.",
            hint="Give every source that is divided or trained on a weight, or none.",
        )
    return weights


def _quotas(
    weights: Mapping[str, Fraction], caps: Mapping[str, int], rows: int | None
) -> dict[str, int]:
    """The largest mix in these shares that no source is too small for."""
    empty = [name for name, count in caps.items() if not count]
    if empty:
        raise DataError(
            f"data.sources.{empty[0]} has a weight and not one usable example.",
            hint="Give it rows, or leave it out of the mix (null).",
        )
    whole = sum(weights.values())
    # A quota is at least its share rounded down, so no larger mix can fit.
    total = min(int((caps[name] + 1) * whole / weight) for name, weight in weights.items())
    total = total if rows is None else min(total, rows)
    quotas = apportion(weights, total)
    while any(quotas[name] > caps[name] for name in quotas):
        total -= 1
        quotas = apportion(weights, total)
    return quotas
