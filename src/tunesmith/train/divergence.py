"""When a training has gone wrong: a figure that is no number, or a loss far over what it was.

The median is of the last 20 steps: one hard batch moves it little, and a training that merely
stands still not at all. A high ratio alone is no proof: in 32 sound trainings of the shipped
recipes (5,193 steps) single losses were up to 3.8 times that median, late, where it is near zero.
None was more than 0.04 nats over the highest loss of its first five steps. So a loss that has
diverged is over a multiple of the median and, by a nat, over all that was seen before anything was
learnt. A slow rise stays below; early stopping is for that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

WINDOW = 20  # steps
FIRST = 5  # steps
MARGIN = 1.0  # nats per answer token


@dataclass(frozen=True, slots=True)
class Losses:
    """What must be remembered of the losses so far, in nats per answer token."""

    last: tuple[float, ...] = ()  # of the last WINDOW steps
    first: tuple[float, ...] = ()  # of the first FIRST steps

    def after(self, loss: float) -> Losses:
        """With one more step."""
        first = self.first if len(self.first) == FIRST else (*self.first, loss)
        return Losses((*self.last, loss)[-WINDOW:], first)

    def limit(self, factor: float) -> float:
        """The loss above which the next step has diverged; infinite in the first steps, and where
        `factor` is 0."""
        if not factor or len(self.first) < FIRST:
            return math.inf
        return max(factor * median(self.last), max(self.first) + MARGIN)


def trouble(loss: float, losses: Losses, factor: float) -> str:
    """What is wrong with a loss; empty where nothing is."""
    if not math.isfinite(loss):
        return f"the loss is {loss}"
    if loss > losses.limit(factor):
        usual = median(losses.last)
        times = f"{loss / usual:.3g} times" if usual > 0 else "far over"
        return f"the loss is {loss:.3g}, {times} the median of the steps before it"
    return ""
