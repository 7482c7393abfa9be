"""The best validation so far, and whether it is worth while to wait for a better one.

Names and meanings are those of transformers' TrainingArguments and EarlyStoppingCallback.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from tunesmith.config import TrainingSettings
from tunesmith.errors import ConfigError
from tunesmith.records import TrainingStep
from tunesmith.train.job import TrainingJob


@dataclass(frozen=True, slots=True)
class Best:
    """The best value of the metric, the step that gave it, and validations since then."""

    value: float
    step: int
    waited: int = 0


def watches(settings: TrainingSettings) -> bool:
    """Whether anybody asks for the best validation."""
    return settings.load_best_model_at_end or settings.early_stopping_patience is not None


def metric_name(settings: TrainingSettings) -> str:
    """The metric that decides, without the prefix that transformers allows."""
    return (settings.metric_for_best_model or "loss").removeprefix("eval_")


def greater_is_better(settings: TrainingSettings) -> bool:
    """As in transformers: a loss is better when it is less, anything else when it is more."""
    said = settings.greater_is_better
    return not metric_name(settings).endswith("loss") if said is None else said


def check_best(job: TrainingJob) -> None:
    """Refuse, by name, to look for the best validation where there will be none."""
    if not watches(job.settings):
        return
    metric = metric_name(job.settings)
    hint = "leave out early_stopping_patience and load_best_model_at_end, or "
    if not job.validation:
        raise ConfigError(
            f"{job.name}: there are no validation examples to find the best step by",
            hint=f"{hint}raise data.validation",
        )
    if job.settings.eval_strategy == "no":
        raise ConfigError(
            f"{job.name}: eval_strategy is no: there is one validation, at the end, and none to "
            "compare it with",
            hint=f"{hint}set training.eval_strategy to epoch or steps",
        )
    if metric != "loss" and job.score is None:
        raise ConfigError(
            f"{job.name}: metric_for_best_model is {metric}, and no prompts are answered",
            hint=f"{hint}set training.eval_prompts, or metric_for_best_model: loss",
        )


def measured(step: TrainingStep, metric: str) -> float | None:
    """The metric of a step; None where it was not validated. ConfigError for an unknown metric."""
    if step.validation_loss is None:
        return None
    known = {"loss": step.validation_loss} | dict(step.validation_scores or {})
    if metric not in known:
        raise ConfigError(
            f"training.metric_for_best_model is {metric}, which the validation does not give",
            hint=f"it gives {', '.join(known)}",
        )
    return known[metric]


def judge(best: Best | None, value: float, step: int, *, greater: bool) -> Best:
    """The best after one more validation; a value that is no number (NaN) is never better."""
    if best is None or math.isnan(best.value):
        return Best(value, step)
    if value > best.value if greater else value < best.value:
        return Best(value, step)
    return replace(best, waited=best.waited + 1)


def given_up(best: Best | None, settings: TrainingSettings) -> bool:
    """Whether `early_stopping_patience` validations in a row were no better."""
    patience = settings.early_stopping_patience
    return patience is not None and best is not None and best.waited >= patience
