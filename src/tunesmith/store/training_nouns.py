"""What comparing trainings found: made by `compare`, kept by the store, shown by the report."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from tunesmith.records import Comparison, Interval, StudyRun


@dataclass(frozen=True, slots=True)
class Quantity:
    """Something measured of every training.

    `better` is "" where neither a small nor a large one is; `wish` is what one asks for who looks
    at it ("": nobody asks for it alone); `varies`: each seed draws it, so that it needs a test;
    what no seed draws needs one only where it did differ over seeds.
    """

    name: str
    unit: str
    better: Literal["lower", "higher", ""]
    definition: str
    wish: str = ""
    varies: bool = True

    def written(self, value: float, sign: str = "") -> str:
        """A value with its unit, as in a sentence; `sign` "+" for a difference."""
        if not math.isfinite(value):
            return "not reached" if value > 0 else "unknown"
        unit = "s" if self.unit == "s" else ""
        if self.unit == "bytes":
            power = min(3, int(math.log10(max(abs(value), 1.0)) // 3))
            value, unit = value / 1000**power, ("B", "kB", "MB", "GB")[power]
        figure = f"{value:{sign},.0f}" if abs(value) >= 1000 else f"{value:{sign}.4g}"
        return f"{figure} {unit}".rstrip()


@dataclass(frozen=True, slots=True)
class Figure:
    """A Quantity of one method on one task, over seeds.

    `values` are in the order of `seeds`, infinite where a loss was not reached. `value` is their
    mean, or their median where one is infinite; then, and for one seed, `sd` and `ci` (of the mean,
    by Student's t) are NaN.
    """

    task: str
    method: str
    name: str
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    value: float
    sd: float
    ci: Interval


@dataclass(frozen=True, slots=True)
class Band:
    """A loss curve of one method on one task over seeds, on a common grid.

    `x` in answer tokens or seconds of training, losses in nats per answer token; `low` and `high`
    bound the mean (Student's t; NaN for one seed), `least` and `most` are the extreme seeds.
    """

    task: str
    method: str
    axis: Literal["tokens", "seconds"]
    kind: Literal["training", "validation"]
    n: int
    x: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    least: tuple[float, ...]
    most: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SeedTest:
    """A paired test over seeds; in `found` n counts seeds, and the slice is the task.

    `p_permutation`: of the exact sign-flip test, not corrected; `effect_ci`: of Cohen's d_z, NaN
    where the differences have no spread.
    """

    found: Comparison
    p_permutation: float
    effect_ci: Interval
    words: str


@dataclass(frozen=True, slots=True)
class FrontPoint:
    """A method between quality and cost. `share`: of seed-bootstrap replicates in which no other
    method dominates it; None below two seeds in common."""

    method: str
    quality: float
    cost: float
    dominated_by: tuple[str, ...]
    share: float | None


@dataclass(frozen=True, slots=True)
class Front:
    """A Pareto front: two Quantities by name, and every method's place."""

    task: str
    quality: str
    cost: str
    points: tuple[FrontPoint, ...]


@dataclass(frozen=True, slots=True)
class Advice:
    """A row of *when to use which*: for this wish, the methods not shown to be worse than the best.

    The best figure's method stands first. `n`: seeds; `unknown`: what the row does not know.
    """

    task: str
    wish: str
    quantity: str
    methods: tuple[str, ...]
    evidence: str
    n: int
    unknown: str


@dataclass(frozen=True, slots=True)
class TrainingComparison:
    """All of it. `cells` are the runs that count, `failed` those that came to nothing; `targets`
    says for each task which loss convergence was measured to, and why that one."""

    name: str
    confidence: float
    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    quantities: tuple[Quantity, ...]
    targets: tuple[tuple[str, float, str], ...]
    bands: tuple[Band, ...]
    figures: tuple[Figure, ...]
    tests: tuple[SeedTest, ...]
    fronts: tuple[Front, ...]
    advice: tuple[Advice, ...]
    cells: tuple[StudyRun, ...]
    failed: tuple[StudyRun, ...]
    notes: tuple[str, ...]

    def figure(self, task: str, method: str, name: str) -> Figure | None:
        """One figure, where there is one."""
        wanted = (task, method, name)
        return next((f for f in self.figures if (f.task, f.method, f.name) == wanted), None)
