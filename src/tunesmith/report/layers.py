"""What a method saw in the layers it trains: maps of layer by step, curves, reprojections."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from tunesmith.records import LayerReport, TrainingStep
from tunesmith.report import figures
from tunesmith.report.evidence import Cell, Grid
from tunesmith.report.facts import Facts
from tunesmith.report.plots import Drawing, Line, Scale, heat_map, line_chart, thinned

MOST_ROWS = 40  # reprojections in the table
DECADES = 8  # of a spectrum; weaker directions are below the drawing
# Title, unit, the figure of a LayerReport, how it is coloured.
MAPS: tuple[tuple[str, str, str, Scale], ...] = (
    ("Effective rank", "directions", "effective_rank", "linear"),
    (
        "Natural over plain gradient",
        "norms, log scale; orange: shorter",
        "natural_to_plain",
        "ratio",
    ),
    ("Condition of the inputs", "of their second moments, log scale", "condition_input", "log"),
    (
        "Condition of the gradients",
        "of their second moments, log scale",
        "condition_gradient",
        "log",
    ),
)


@dataclass(frozen=True, slots=True)
class Inside:
    """What the page says of the layers of one variant."""

    variant: str
    lead: str
    drawings: tuple[Drawing, ...]
    reprojections: Grid | None


def inside(facts: Facts) -> list[Inside]:
    """Each variant whose method looked into its layers."""
    return [
        _inside(variant, seen, facts.training.get(variant, ()))
        for variant, seen in facts.layers.items()
    ]


def _inside(variant: str, seen: Sequence[LayerReport], steps: Sequence[TrainingStep]) -> Inside:
    looks = [report for report in seen if report.energy_kept is None]
    maps = [
        heat_map(title, unit, {(r.layer, r.step): getattr(r, name) for r in looks}, scale)
        for title, unit, name, scale in MAPS
    ]
    shares = tuple((float(step), 100 * share) for step, share in time_shares(looks, steps))
    title, unit = f"Time that {variant} spent on this", "percent, since the last look"
    curve = line_chart(title, unit, [Line("", shares)], axis="step")
    return Inside(
        variant,
        _lead(looks, steps),
        tuple(drawing for drawing in (*maps, curve, _spectra(looks)) if drawing is not None),
        _reprojections([report for report in seen if report.energy_kept is not None]),
    )


def _lead(looks: Sequence[LayerReport], steps: Sequence[TrainingStep]) -> str:
    if not looks:
        return ""
    ranks = sorted({look.rank for look in looks})
    text = (
        f"Seen at {figures.integer(len({look.step for look in looks}))} of "
        f"{figures.integer(len(steps))} steps in {len({look.layer for look in looks})} layers "
        f"of rank {_span(ranks)}."
    )
    own = sum({look.step: look.seconds for look in looks}.values())
    whole = sum(step.seconds for step in steps if step.step <= looks[-1].step)
    if whole > 0 and math.isfinite(own):
        text += (
            f" The method's own work took {figures.score(own / whole, True)} of the steps' time."
        )
    return text


def _span(ranks: Sequence[int]) -> str:
    return str(ranks[0]) if ranks[0] == ranks[-1] else f"{ranks[0]} to {ranks[-1]}"


def time_shares(
    looks: Sequence[LayerReport], steps: Sequence[TrainingStep]
) -> list[tuple[int, float]]:
    """The method's own part of the steps' time, at each look since the one before it."""
    found, before = [], 0
    for at, seconds in sorted({look.step: look.seconds for look in looks}.items()):
        whole = sum(step.seconds for step in steps if before < step.step <= at)
        if whole > 0:
            found.append((at, seconds / whole))
        before = at
    return found


def _spectra(looks: Sequence[LayerReport]) -> Drawing | None:
    """Of the last look: the layers with the highest, the middle and the lowest effective rank."""
    last = {look.layer: look for look in looks if look.effective_rank > 0}
    ordered = sorted(last.values(), key=lambda look: look.effective_rank, reverse=True)
    chosen = thinned(ordered, 3)
    least = max((x for look in chosen for x in look.spectrum), default=0.0) / 10**DECADES
    lines = [
        Line(
            f"{look.layer} (effective rank {figures.number(look.effective_rank, 1)})",
            tuple((i, x) for i, x in enumerate(look.spectrum, start=1) if x > least),
        )
        for look in chosen
    ]
    unit = "squared nats, log scale"
    return line_chart("Spectra at the last look", unit, lines, axis="direction", log=True)


def _reprojections(kept: Sequence[LayerReport]) -> Grid | None:
    by_step: dict[int, list[LayerReport]] = {}
    for report in kept:
        by_step.setdefault(report.step, []).append(report)
    shown = thinned(list(by_step.items()), MOST_ROWS)
    rows = []
    for step, reports in shown:
        shares = {report.layer: report.energy_kept or 0.0 for report in reports}
        least = min(shares, key=lambda layer: shares[layer])
        cells = (
            Cell(figures.integer(len(reports))),
            Cell(_span(sorted(report.rank for report in reports))),
            Cell(figures.score(fmean(shares.values()), True)),
            Cell(figures.score(shares[least], True), least),
        )
        rows.append((f"step {figures.integer(step)}", "", cells))
    part = f" ({len(shown)} of {len(by_step)} are shown)" if len(shown) < len(by_step) else ""
    heads = ("layers", "directions kept", "energy kept, mean", "least")
    caption = f"What each reprojection kept of the layers' effect{part}"
    return Grid(caption, heads, tuple(rows)) if rows else None
