"""What stands behind the figures: the data, the plan, and how to do it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunesmith.records import Finding, Plan, Severity
from tunesmith.report import figures
from tunesmith.report.facts import Facts
from tunesmith.store.nouns import Dataset

SHOWN_REJECTS = 5


@dataclass(frozen=True, slots=True)
class Bar:
    """A count with its share of the whole in percent."""

    name: str
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class Data:
    """One data set, told."""

    name: str
    counts: tuple[tuple[str, str], ...]
    splits: tuple[Bar, ...]
    labels: tuple[Bar, ...]
    repaired: tuple[tuple[str, int], ...]
    findings: tuple[Finding, ...]
    rejects: tuple[tuple[str, int, tuple[str, ...]], ...]  # reason, count, places
    fingerprint: str


def data(facts: Facts) -> list[Data]:
    """The data sets of a run: counts, labels, findings (the worst first), rejects by reason."""
    return [_data(dataset) for dataset in facts.datasets]


def _data(dataset: Dataset) -> Data:
    quality = dataset.quality
    counts: list[tuple[str, str]] = []
    findings: tuple[Finding, ...] = ()
    if quality is not None:
        whole = figures.integer
        counts = [
            ("rows read", whole(quality.rows)),
            ("usable", whole(quality.usable)),
            ("set aside", whole(quality.rejected)),
            ("repeated prompts", whole(quality.duplicate_prompts)),
            ("contradicting prompts", whole(quality.contradicting_prompts)),
            ("leaked, word for word", whole(quality.leaked_exact)),
            ("leaked, nearly", whole(quality.leaked_near)),
        ]
        counts += [
            (f"tokens, {'median' if name == 'p50' else name}", f"{value:,.0f}")
            for name, value in quality.tokens.items()
        ]
        ranks = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}
        findings = tuple(sorted(quality.findings, key=lambda f: (ranks[f.severity], -f.count)))
    return Data(
        name=dataset.name,
        counts=tuple(counts),
        splits=_bars(dataset.splits),
        labels=_bars(quality.labels if quality else {}),
        repaired=tuple((quality.repaired_labels if quality else {}).items()),
        findings=findings,
        rejects=tuple(
            (
                reason,
                count,
                tuple(r.place for r in dataset.rejects if r.reason == reason)[:SHOWN_REJECTS],
            )
            for reason, count in dataset.reject_reasons.items()
        ),
        fingerprint=dataset.fingerprint,
    )


def _bars(counts: Mapping[str, int]) -> tuple[Bar, ...]:
    total = sum(counts.values())
    return tuple(
        Bar(name, count, round(100 * count / total, 2) if total else 0.0)
        for name, count in counts.items()
    )


@dataclass(frozen=True, slots=True)
class Setting:
    """One hyperparameter as chosen; `methods` is empty where all methods share it."""

    name: str
    value: str
    methods: tuple[str, ...]
    reason: str
    source: str


def settings(plans: Mapping[str, Plan]) -> list[Setting]:
    """Every hyperparameter with its reason, in the order of the plan; those that differ apart."""
    found: dict[tuple[str, str, str, str], list[str]] = {}
    for method, plan in plans.items():
        for choice in plan.choices:
            key = (choice.name, value(choice.value), choice.reason, choice.source)
            found.setdefault(key, []).append(method)
    names = list(dict.fromkeys(name for name, *_ in found))
    rows = sorted(found.items(), key=lambda item: names.index(item[0][0]))
    return [
        Setting(name, text, () if len(methods) == len(plans) else tuple(methods), reason, source)
        for (name, text, reason, source), methods in rows
    ]


def value(thing: Any) -> str:
    """A value of a recipe as one would write it down."""
    if thing is None:
        return "none"
    if isinstance(thing, bool):
        return "yes" if thing else "no"
    if isinstance(thing, float):
        return f"{thing:g}"
    if isinstance(thing, (list, tuple)):
        return ", ".join(map(value, thing)) or "none"
    return thing if isinstance(thing, str) else json.dumps(thing, default=str)


def needs(plans: Mapping[str, Plan]) -> list[tuple[str, str]]:
    """What each method was planned to need, as one line."""
    lines = []
    for method, plan in plans.items():
        parts = [f"{figures.integer(plan.steps)} steps", figures.size(plan.memory_bytes)]
        if plan.seconds is not None:
            parts.append(figures.duration(plan.seconds))
        if plan.cost_usd is not None:
            parts.append(f"${plan.cost_usd:.2f}")
        parts.append("fits" if plan.fits else "does not fit this machine")
        lines.append((method, " · ".join(parts)))
    return lines


def machine(facts: Facts) -> list[tuple[str, str]]:
    """Where and from what the run was made, as name and value."""
    experiment = facts.experiment
    provenance = experiment.provenance
    rows = [
        ("run", experiment.id),
        ("started", f"{experiment.started:%Y-%m-%d %H:%M} UTC"),
    ]
    if experiment.seconds is not None:
        rows.append(("took", figures.duration(experiment.seconds)))
    if provenance.git_revision:
        state = {True: " (with uncommitted changes)", False: "", None: ""}[provenance.git_dirty]
        rows.append(("git revision", provenance.git_revision[:12] + state))
    if provenance.seed is not None:
        rows.append(("seed", str(provenance.seed)))
    for name, item in provenance.hardware.items():
        said = figures.size(item) if "memory" in name and isinstance(item, int) else value(item)
        if said:
            rows.append((name.replace("_", " "), said))
    return rows


def hashes(facts: Facts) -> list[tuple[str, str, str]]:
    """What the run stands on: (stage or data set, hash, made now or found)."""
    rows = [(f"data: {dataset.name}", dataset.fingerprint, "") for dataset in facts.datasets]
    rows += [(a.stage, a.key, "found" if a.reused else "made") for a in facts.artefacts]
    return rows
