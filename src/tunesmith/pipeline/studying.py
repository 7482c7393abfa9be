"""A study: every method searched for its learning rate alike, then trained and tested over seeds.

    data of every task and seed ──▶ search (validation loss) ──▶ seeds (test part) ──▶ judge

Each training is a cell (pipeline/cells.py), given to an engine (pipeline/engines.py) and written to
the store as soon as it ends. A cell is known by what decides it: the recipe as resolved for it, and
its data. The same command goes on where an earlier one was stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tunesmith.errors import ConfigError, DataError
from tunesmith.pipeline.answering import check_decoding, model_answers
from tunesmith.pipeline.cells import Cell, context_of, run_cell, study_data
from tunesmith.pipeline.context import BASELINE, Context, Listener, Prepared, Silent
from tunesmith.pipeline.datasets import desk_of
from tunesmith.pipeline.engines import Engine, Local
from tunesmith.pipeline.judging import judge
from tunesmith.pipeline.planning import check_methods
from tunesmith.pipeline.preparing import record_data
from tunesmith.pipeline.searching import next_rate
from tunesmith.pipeline.training import Bases
from tunesmith.records import StudyRun
from tunesmith.store.home import store_of

if TYPE_CHECKING:
    from tunesmith.config import Resolved
    from tunesmith.config.study import ResolvedStudy
    from tunesmith.store.store import Store
    from tunesmith.store.studies import StoredRun

Again = Literal["", "failed", "all"]
Pair = tuple[str, str]  # task and method


@dataclass(frozen=True, slots=True)
class Studied:
    """A study as it stands: its counting runs and those of the searches, what was asked for alone.

    `primary`: the score that each task's verdicts are about. `made` cells were computed now, the
    others found. `notes`: what a reader of the results must know.
    """

    name: str
    runs: tuple[StudyRun, ...]
    trials: tuple[StudyRun, ...]
    primary: Mapping[str, str]
    made: int
    seconds: float
    notes: tuple[str, ...]


def run_study(
    resolved: ResolvedStudy,
    *,
    home: Path,
    only: Sequence[str] = (),
    tasks: Sequence[str] = (),
    engine: Engine | None = None,
    listener: Listener | None = None,
    again: Again = "",
) -> Studied:
    """Do what is still to be done of a study, and give all of it back.

    `only` and `tasks` name methods and tasks (none: all); `again` does the failed cells, or all,
    once more. A cell that fails is recorded with its reason, and the study goes on. Raises
    ConfigError for a name that the study does not have, DataError where the search would see rows
    of a test part, Interrupted or KeyboardInterrupt where it was stopped.
    """
    from tunesmith.store.store import Store

    study = resolved.study
    chosen = _named("task", tasks, tuple(study.tasks)), _named("method", only, tuple(study.methods))
    began = time.monotonic()
    with Store.open(store_of(home)) as store:
        conduct = _Conduct(
            resolved, home, *chosen, store, engine or Local(), listener or Silent(), again
        )
        store.record_study(
            study.name,
            description=study.description,
            text=resolved.text,
            resolved=study.model_dump(mode="json"),
        )
        conduct.prepare()
        chosen_rates = conduct.search()
        runs = conduct.count(chosen_rates)
        return Studied(
            name=study.name,
            runs=tuple(runs),
            trials=tuple(run for found in conduct.trials.values() for run in found),
            primary=conduct.primary,
            made=conduct.made,
            seconds=time.monotonic() - began,
            notes=tuple(conduct.notes()),
        )


def _named(kind: str, asked: Sequence[str], known: tuple[str, ...]) -> tuple[str, ...]:
    for name in asked:
        if name not in known:
            raise ConfigError(
                f"the study has no {kind} {name!r}", hint=f"its {kind}s: {', '.join(known)}"
            )
    return tuple(name for name in known if name in asked or not asked)


@dataclass(slots=True)
class _Conduct:
    """A study under way."""

    resolved: ResolvedStudy
    home: Path
    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    store: Store
    engine: Engine
    listener: Listener
    again: Again
    recipes: dict[tuple[str, int], Resolved] = field(default_factory=dict)
    data: dict[tuple[str, int], Prepared] = field(default_factory=dict)
    stored: dict[Any, StoredRun] = field(default_factory=dict)
    trials: dict[Pair, list[StudyRun]] = field(default_factory=dict)
    primary: dict[str, str] = field(default_factory=dict)
    made: int = 0

    def prepare(self) -> None:
        """Check every task and method, and prepare the data of every task and seed."""
        from tunesmith.train.method import get_method

        study = self.resolved.study
        self.stored = self.store.stored_runs(study.name)
        self.listener.stage("data")
        for task in self.tasks:
            for seed in (study.search.seed, *study.seeds):
                self.recipes[task, seed] = self._recipe(task, seed)
                desk = desk_of(self.recipes[task, seed], self.home)
                if seed == study.search.seed:
                    for method in desk.recipe.methods.values():
                        get_method(method.method)
                    check_methods(desk)
                    check_decoding(desk)
                    self.primary[task] = desk.task.primary
                self.data[task, seed] = study_data(desk, self.resolved)
            self._check_unseen(task)

    def _check_unseen(self, task: str) -> None:
        """Refuse a search that trains on, or validates with, rows of a test part."""
        study = self.resolved.study
        own = self.data[task, study.search.seed].splits
        seen = {e.prompt_key for e in (*own.train, *own.validation)}
        for seed in study.seeds:
            test = self.data[task, seed].splits.test
            if both := sum(1 for e in test if e.prompt_key in seen):
                raise DataError(
                    f"task {task}: {both:,} of {len(test):,} test prompts of seed {seed} stand in "
                    "the data that the search for learning rates sees",
                    hint="set split: fixed, or give the recipe a source with role: test",
                )

    def search(self) -> dict[Pair, float]:
        """The learning rate of each method on each task; NaN where no trial came to its end."""
        study = self.resolved.study
        seed, count = study.search.seed, study.search.trials
        pairs = self._pairs()
        self.trials = {pair: [] for pair in pairs}
        for number in range(count):
            cells = []
            for task, method in pairs:
                found = [(r.learning_rate, r.validation_loss) for r in self.trials[task, method]]
                within = study.rates_of(method)
                rate = next_rate(found, within, trials=count, seed=seed)
                cells.append(self._cell(task, method, seed, number, rate))
            if number == 0:
                self.listener.stage("search")
            for run in self._each(cells, number * len(pairs), count * len(pairs)):
                self.trials[run.task, run.method].append(run)
        return {pair: best_rate(found) for pair, found in self.trials.items()}

    def count(self, rates: Mapping[Pair, float]) -> list[StudyRun]:
        """The runs that count, with the rates that the search chose."""
        seeds = self.resolved.study.seeds
        self.listener.stage("seeds")
        found = [r for pair, rate in rates.items() if math.isnan(rate) for r in self._lost(*pair)]
        for turn, seed in enumerate(seeds):
            able = [pair for pair in self._pairs(turn) if not math.isnan(rates[pair])]
            cells = [self._cell(t, m, seed, None, rates[t, m]) for t, m in able]
            found += self._each(cells, len(found), len(rates) * len(seeds))
        place = {name: i for i, name in enumerate((*self.tasks, *self.methods))}
        return sorted(found, key=lambda r: (place[r.task], place[r.method], r.seed))

    def notes(self) -> list[str]:
        """What a reader must know: rates at the edge of their range, several states of the code."""
        said = []
        for (task, method), found in self.trials.items():
            rate, within = best_rate(found), self.resolved.study.rates_of(method)
            if not within.low * 1.05 < rate < within.high / 1.05 and not math.isnan(rate):
                said.append(
                    f"{task}, {method}: the best rate, {rate:.2g}, is at the edge of its range; a "
                    "wider one may give a better"
                )
        stored = self.store.stored_runs(self.resolved.study.name).values()
        states = {str(s.provenance.get("code", "")) for s in stored if s.provenance}
        if len(states) > 1:
            said.append(
                f"these runs were made by {len(states)} states of the code; --again all makes them "
                "anew"
            )
        return said

    def _lost(self, task: str, method: str) -> Iterator[StudyRun]:
        """Runs that cannot be: no trial of the search has ended."""
        study = self.resolved.study
        error = f"no trial of the search came to its end: {self.trials[task, method][-1].error}"
        for seed in study.seeds:
            run = StudyRun(study.name, task, method, seed, None, math.nan, error=error)
            self.store.record_study_run(run)
            yield run

    def _pairs(self, turn: int = 0) -> list[Pair]:
        """Every task with every method, in the order of round `turn`."""
        study = self.resolved.study
        pairs = [(task, method) for task in self.tasks for method in self.methods]
        quantised = {
            (task, method)
            for task, method in pairs
            if self.recipes[task, study.search.seed].recipe.four_bit(method)
        }
        return in_turn(pairs, quantised, turn, len(study.seeds))

    def _cell(self, task: str, method: str, seed: int, trial: int | None, rate: float) -> Cell:
        from tunesmith.store.artefacts import fingerprint

        recipe = self.recipes[task, seed].recipe
        settings = recipe.method_settings(method).model_copy(update={"learning_rate": rate})
        decides = {
            "data": self.data[task, seed].key,
            "task": recipe.task_options,
            "model": recipe.model.model_dump(),
            "method": recipe.methods[method].method,
            "four_bit": recipe.four_bit(method),
            "settings": settings.model_dump(),
            "evaluation": recipe.evaluation.model_dump(),
            "seed": seed,
        }
        return Cell(task, method, seed, trial, rate, fingerprint(decides))

    def _each(self, cells: Sequence[Cell], done: int, total: int) -> Iterator[StudyRun]:
        """The results of cells of one seed: those that are known, then the others as they end."""
        what = "seeds" if cells and cells[0].trial is None else "search"
        left = []
        for cell in cells:
            known = self.stored.get(cell.place)
            redo = self.again == "all" or (self.again == "failed" and known and known.run.error)
            if known is None or known.key != cell.key or redo:
                left.append(cell)
            else:
                done += 1
                yield known.run
        self.listener.progress(what, done, total)
        if not left:
            return
        origin, by_place = _provenance(self.engine), {cell.place: cell for cell in left}
        with self._runs(left) as runs:
            given = [replace(cell, run=runs[cell.task]) for cell in left]
            for result in self.engine.run(partial(run_cell, self.resolved, self.home), given):
                cell = by_place[result.task, result.method, result.seed, result.trial]
                self.store.record_study_run(result, key=cell.key, provenance=origin)
                self.made, done = self.made + 1, done + 1
                if result.error:
                    self.listener.say(f"{cell}: failed: {result.error}")
                self.listener.progress(what, done, total, f"{cell} {_note(result)}")
                yield result

    @contextmanager
    def _runs(self, left: Sequence[Cell]) -> Iterator[Mapping[str, str]]:
        """Under which run of the store the cells of a seed stand, by task; all methods of a task
        share it. It is taken up where an earlier sitting began it."""
        from tunesmith.store.nouns import Status

        seed, counts = left[0].seed, left[0].trial is None
        contexts: dict[str, Context] = {}
        ended = Status.INTERRUPTED
        try:
            for task in dict.fromkeys(cell.task for cell in left):
                rates = {cell.method: cell.learning_rate for cell in left if cell.task == task}
                context = contexts[task] = self._begin(task, seed, rates, counts=counts)
                data = study_data(context, self.resolved)
                record_data(context, data)
                if counts:  # what the base itself answers, once for all methods
                    bases = Bases(context)
                    model_answers(context, data, bases, BASELINE, None)
                    bases.release()
            yield {task: context.run.id for task, context in contexts.items()}
            if counts:
                for task, context in contexts.items():
                    self._judge(context, self.data[task, seed])
            ended = Status.DONE
        finally:
            for context in contexts.values():
                self.store.finish_run(context.run.id, ended)

    def _recipe(self, task: str, seed: int, rates: Mapping[str, float] | None = None) -> Resolved:
        """A task's recipe with the chosen methods, or with those of `rates` at their rates."""
        study = self.resolved.study
        asked = rates or {method: study.rates_of(method).low for method in self.methods}
        variants = {method: (method, rate) for method, rate in asked.items()}
        return self.resolved.recipe(task, seed=seed, variants=variants)

    def _begin(self, task: str, seed: int, rates: Mapping[str, float], *, counts: bool) -> Context:
        """The run that an earlier sitting began on the same data and values, or a new one."""
        from tunesmith.pipeline.story import begin

        resolved = self._recipe(task, seed, rates)
        name = f"seed {seed}" if counts else "search"
        title = f"{self.resolved.study.name} {task} {name}"
        recipe = resolved.recipe.model_copy(update={"name": title})
        resolved = replace(resolved, recipe=recipe, text=self.resolved.text)
        values = recipe.model_dump(mode="json")
        key = self.data[task, seed].key
        for earlier in self.store.runs(recipe=title):
            stood = {a.stage: a.key for a in self.store.artefacts(earlier.id)}
            if stood.get("data") == key and _goes_on(earlier.resolved, values, search=not counts):
                methods = dict(earlier.resolved["methods"]) | values["methods"]
                run = self.store.resume_run(earlier.id, resolved=values | {"methods": methods})
                return context_of(resolved, self.home, self.store, run)
        desk = desk_of(resolved, self.home)
        run = begin(self.store, resolved, desk.task, self.home, desk.hardware)
        return context_of(resolved, self.home, self.store, run)

    def _judge(self, context: Context, data: Prepared) -> None:
        """Compare all methods that have answered on this task and seed, as a run does."""
        names = [variant.name for variant in self.store.variants(context.run.id)]
        answers = {name: self.store.answers(context.run.id, name) for name in names}
        judge(context, data, {name: found for name, found in answers.items() if found})


def in_turn(
    pairs: Sequence[Pair], quantised: Collection[Pair], turn: int, rounds: int
) -> list[Pair]:
    """The order of round `turn`, 0 to `rounds` - 1. What a place in the row does to seconds and
    memory must not fall on one method every time: every second round goes backwards, and every
    pair of rounds begins further on. Those on a base in 4 bits stand together, first or last, so
    that bases change once a round."""
    found: list[Pair] = []
    for group in (
        [pair for pair in pairs if pair not in quantised],
        [pair for pair in pairs if pair in quantised],
    ):
        start = turn // 2 * len(group) // -(-rounds // 2)
        found += group[start:] + group[:start]
    return found[::-1] if turn % 2 else found


def _goes_on(before: Mapping[str, Any], now: Mapping[str, Any], *, search: bool) -> bool:
    """Whether a run of these values may be taken up with those: other methods may join it, but none
    with other settings than it had; a search has one variant for each trial."""
    shared = before["methods"].keys() & now["methods"].keys()
    same = search or all(before["methods"][name] == now["methods"][name] for name in shared)
    return same and {**before, "methods": None} == {**now, "methods": None}


def best_rate(trials: Sequence[StudyRun]) -> float:
    """The learning rate of the trial with the lowest validation loss; NaN where none has one."""
    ended = [(t.validation_loss, t.learning_rate) for t in trials if t.validation_loss is not None]
    return min(ended)[1] if ended else math.nan


def _note(run: StudyRun) -> str:
    if run.error:
        return "failed"
    loss = run.validation_loss if run.trial is not None else run.held_out_loss
    return f"at {run.learning_rate:.2g}: loss {loss if loss is not None else math.nan:.3f}"


def _provenance(engine: Engine) -> dict[str, Any]:
    from dataclasses import asdict

    from tunesmith.models.hardware import find_hardware
    from tunesmith.store.provenance import code_hash, git_state, versions

    revision, dirty = git_state()
    return {
        "git_revision": revision,
        "git_dirty": dirty,
        "code": code_hash("train", "models", "evaluate", "tasks"),
        "versions": versions(),
        "hardware": asdict(find_hardware()),
        "engine": engine.name,
        "cpus": engine.cpus,
    }
