"""The next learning rate to try: an even spread first, then where a Gaussian process expects most.

With a handful of trials, points drawn at random leave gaps of a factor of ten. So the first half of
the trials stand in the middles of equal parts of the logarithmic range, the same for every method,
and Optuna's Gaussian-process sampler (log expected improvement) chooses the rest from what was
found. A training that failed is told to it as clearly worse than all others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunesmith.config.study import RateRange

RATE = "learning_rate"


def next_rate(
    found: Sequence[tuple[float, float | None]], within: RateRange, *, trials: int, seed: int
) -> float:
    """The rate of trial number len(found), of `trials`; a function of its arguments alone.

    `found` are the rates tried with their validation losses (nats per answer token), None for a
    training that failed.
    """
    width = within.high / within.low
    spread = (trials + 1) // 2
    if len(found) < spread:
        return float(within.low * width ** ((len(found) + 0.5) / spread))
    losses = [loss for _, loss in found if loss is not None and math.isfinite(loss) and loss > 0]
    if not losses:  # too high, all of them
        return float(within.low * width ** (0.5 / spread / (len(found) + 2 - spread)))
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space: dict[str, optuna.distributions.BaseDistribution] = {
        RATE: optuna.distributions.FloatDistribution(within.low, within.high, log=True)
    }
    sampler = optuna.samplers.GPSampler(seed=seed + len(found), n_startup_trials=0)
    study = optuna.create_study(sampler=sampler)
    worst = 2 * max(losses) - min(losses) + 1e-3
    for rate, loss in found:
        told = loss if loss is not None and math.isfinite(loss) and loss > 0 else worst
        study.add_trial(
            optuna.trial.create_trial(
                params={RATE: min(max(rate, within.low), within.high)},
                distributions=space,
                value=math.log(told),
            )
        )
    return float(study.ask(space).params[RATE])
