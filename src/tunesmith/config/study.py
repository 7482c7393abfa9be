"""A study file: methods x tasks x seeds, all on equal terms but for what a method is.

It is read with the complaints of a recipe. What it says of `training`, `evaluation` and `methods`
is put over each task's own recipe, where it is checked like that recipe's own words.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from tunesmith.config.base import Settings
from tunesmith.config.explain import Origin, explain
from tunesmith.config.read import Resolved, find_file, load_recipe, shipped_studies
from tunesmith.config.text import read_yaml
from tunesmith.errors import ConfigError

# What has to be the same for every method of a study: examples, order, tokens and their number,
# the loss, and when it is looked at or a training given up.
BUDGET = frozenset(
    "max_steps num_train_epochs per_device_train_batch_size gradient_accumulation_steps max_length "
    "mode label_smoothing_factor eval_strategy eval_steps load_best_model_at_end "
    "metric_for_best_model greater_is_better early_stopping_patience loss_spike_factor".split()
)


class StudyTask(Settings):
    """One task: a recipe, and what is different here."""

    recipe: str = Field(description="A YAML file, beside the study's own too, or a shipped recipe.")
    set: dict[str, Any] = Field(
        default_factory=dict, description="Values put over the recipe, by dotted key, as --set."
    )


class RateRange(Settings):
    """Between which learning rates is searched, on a logarithmic scale."""

    low: float = Field(gt=0, description="Lowest learning rate.")
    high: float = Field(gt=0, description="Highest learning rate.")
    reason: str = Field("", description="Why a method's range is its own.")

    @model_validator(mode="after")
    def _some_width(self) -> RateRange:
        if self.high <= self.low:
            raise ValueError(f"high ({self.high:g}) must be above low ({self.low:g})")
        return self


class SearchSettings(Settings):
    """The search for each method's learning rate, by the loss on the validation part."""

    trials: int = Field(5, gt=0, description="Trainings of the search, the same for every method.")
    seed: int = Field(0, ge=0, description="Seed of the sampler and of these trainings.")
    learning_rate: RateRange = Field(description="Range for every method without its own.")
    ranges: dict[str, RateRange] = Field(
        default_factory=dict, description="Ranges of single methods, each with its reason."
    )


class Study(Settings):
    """What is compared, on what, and how often."""

    name: str = Field(min_length=1, max_length=64, description="Name of the study.")
    description: str = Field("", description="One sentence for readers.")
    tasks: dict[str, StudyTask] = Field(min_length=1, description="Tasks, by name.")
    training: dict[str, Any] = Field(
        default_factory=dict, description="Training keys of every task and method."
    )
    evaluation: dict[str, Any] = Field(
        default_factory=dict, description="Evaluation keys of every task and method."
    )
    methods: dict[str, dict[str, Any] | None] = Field(
        min_length=1, description="Methods by name, as a recipe has them."
    )
    search: SearchSettings
    seeds: tuple[int, ...] = Field(
        (1, 2, 3, 4, 5), min_length=1, description="Seeds of the runs that count."
    )
    split: Literal["per_seed", "fixed"] = Field(
        "per_seed",
        description="Whether each seed draws and divides the data anew, for all methods alike, or "
        "all stand on the data of the search's seed.",
    )

    @model_validator(mode="after")
    def _sound(self) -> Study:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: one stands twice; the same run would count twice")
        if self.search.seed in self.seeds:
            raise ValueError(
                f"search.seed: {self.search.seed} is one of seeds; the search has a seed of its own"
            )
        for name, own in self.search.ranges.items():
            if name not in self.methods:
                raise ValueError(f"search.ranges.{name} is no method of this study")
            if not own.reason.strip():
                raise ValueError(f"search.ranges.{name} wants a reason: why is its range its own?")
        for name, method in self.methods.items():
            self._check_equal(name, (method or {}).get("training"))
        return self

    def _check_equal(self, name: str, own: Any) -> None:
        if not isinstance(own, Mapping):
            return
        if "learning_rate" in own or "learning_rate" in dict(own.get("grit") or {}):
            raise ValueError(
                f"methods.{name}: the search sets its learning rate; its range is search.ranges"
            )
        if unequal := sorted(BUDGET & own.keys()):
            raise ValueError(
                f"methods.{name}: {', '.join(unequal)} must be the same for every method: training"
            )

    def rates_of(self, method: str) -> RateRange:
        """Between which learning rates a method is searched."""
        return self.search.ranges.get(method, self.search.learning_rate)


@dataclass(frozen=True, slots=True)
class ResolvedStudy:
    """A study as its file has it, with the line of every dotted key."""

    study: Study
    path: Path
    text: str
    lines: Mapping[str, int]

    def origin(self, key: str) -> Origin:
        """Where a value of the file stands."""
        return Origin("recipe", self.lines.get(key), self.path.name)

    def recipe(
        self, task: str, *, seed: int, variants: Mapping[str, tuple[str, float]]
    ) -> Resolved:
        """The recipe of one task: variants by name, each a method with a learning rate.

        Raises ConfigError as `load_recipe` does, naming the study's file where it says it.
        """
        settings = self.study.tasks[task]
        beside = self.path.parent / settings.recipe
        source = beside if beside.is_file() else settings.recipe
        try:
            own = load_recipe(source).recipe.methods
        except ConfigError as error:
            where = self.lines.get(f"tasks.{task}.recipe", 0)
            raise ConfigError(
                f"{self.path.name}, line {where}: tasks.{task}: {error.message}", hint=error.hint
            ) from error
        left_out: list[tuple[str, Any, Origin]] = [
            (f"methods.{name}", None, Origin("profile", note="study")) for name in own
        ]
        over = [*left_out, *self._over(task), *self._variants(variants), *_fixed(seed)]
        found = load_recipe(source, over=over)
        named = found.recipe.model_copy(update={"name": f"{self.study.name} {task} seed {seed}"})
        return replace(found, recipe=named)

    def _over(self, task: str) -> Iterator[tuple[str, Any, Origin]]:
        for key, value in self.study.tasks[task].set.items():
            yield key, value, self.origin(f"tasks.{task}.set.{key}")
        for part in ("training", "evaluation"):
            for key, value in getattr(self.study, part).items():
                yield f"{part}.{key}", value, self.origin(f"{part}.{key}")

    def _variants(
        self, variants: Mapping[str, tuple[str, float]]
    ) -> Iterator[tuple[str, Any, Origin]]:
        for name, (method, rate) in variants.items():
            said = {"method": method} | dict(self.study.methods[method] or {})
            own = dict(said.pop("training", None) or {})
            for key, value in said.items():
                yield f"methods.{name}.{key}", value, self.origin(f"methods.{method}.{key}")
            for key, value in own.items():
                where = self.origin(f"methods.{method}.training.{key}")
                yield f"methods.{name}.training.{key}", value, where
            if not math.isnan(rate):
                yield f"methods.{name}.training.learning_rate", rate, Origin("set", note="search")
                if said["method"] == "grit":  # a rate of its own would stand before the search's
                    key = f"methods.{name}.training.grit.learning_rate"
                    yield key, None, Origin("set", note="search")


def _fixed(seed: int) -> Iterator[tuple[str, Any, Origin]]:
    """What a study cannot do without, or has no use for."""
    origin = Origin("set", note="study")
    yield "seed", seed, origin
    yield "evaluation.perplexity", True, origin
    yield "evaluation.cheap_baselines", False, origin
    yield "training.report_to", (), origin


def load_study(source: str | Path) -> ResolvedStudy:
    """Read a study's file, or a shipped study by its name.

    Raises ConfigError naming file, line and key; each task's recipe is read, too, with every
    method, so that what is wrong shows before anything is trained.
    """
    path = find_file(source, "study", shipped_studies())
    text, values, lines = read_yaml(path)
    origins = {key: Origin("recipe", line) for key, line in lines.items()}
    try:
        study = Study.model_validate(values)
    except ValidationError as error:
        raise explain(path.name, origins, error, whole=Study) from error
    resolved = ResolvedStudy(study, path, text, lines)
    for task in study.tasks:
        variants = {name: (name, study.rates_of(name).low) for name in study.methods}
        resolved.recipe(task, seed=study.search.seed, variants=variants)
    return resolved
