"""The story, to be read from top to bottom: which stage runs when, and with what.

    data ──▶ plan ──▶ train (once per method) ──▶ evaluate (once per variant) ──▶ compare ──▶ report

A stage whose inputs did not change is not run again: its artefact is found by a fingerprint of all
that went into it. What the stages find out is written into the store as they go, and the report
reads it from there.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.errors import Interrupted, StoreError
from tunesmith.pipeline.answering import cheap_answers, check_decoding, model_answers
from tunesmith.pipeline.context import BASELINE, Context, Desk, Finished, Listener, Silent
from tunesmith.pipeline.judging import judge, write_report
from tunesmith.pipeline.planning import check_methods, plan_variant
from tunesmith.pipeline.preparing import prepare, record_data
from tunesmith.pipeline.records import forget
from tunesmith.pipeline.training import Bases, train_variant
from tunesmith.records import Hardware, Plan, Run
from tunesmith.store.home import store_of
from tunesmith.store.provenance import command_line, git_state, versions

if TYPE_CHECKING:
    from tunesmith.config import Resolved
    from tunesmith.store.store import Store
    from tunesmith.tasks.base import Task


def run_recipe(
    resolved: Resolved, *, home: Path, listener: Listener | None = None, resume: bool = False
) -> Finished:
    """A recipe from its files to its report.

    With `resume` the recipe's last unfinished run is taken up under its own id; without, a new
    run begins, which still finds every stage that is done, and goes on inside one that was
    interrupted. Whatever is raised, the run's state in the store says what became of it; a run that
    failed before any artefact was whole (a file that is not there, a name spelled wrongly) has
    nothing to be remembered by, and is forgotten.
    """
    from tunesmith.models.hardware import find_hardware
    from tunesmith.store.artefacts import Artefacts
    from tunesmith.store.nouns import Status
    from tunesmith.store.store import Store
    from tunesmith.tasks.base import get_task

    listener = listener or Silent()
    for note in resolved.notes:
        listener.say(note)
    recipe = resolved.recipe
    task = get_task(recipe.task, recipe.task_options)
    with Store.open(store_of(home)) as store:
        hardware = find_hardware()
        run = _begin(store, resolved, task, home, hardware, resume=resume)
        context = Context(
            resolved=resolved,
            task=task,
            artefacts=Artefacts(home),
            hardware=hardware,
            listener=listener,
            store=store,
            run=run,
        )
        try:
            return _story(context)
        except (Interrupted, KeyboardInterrupt):
            store.finish_run(run.id, Status.INTERRUPTED)
            raise
        except BaseException as error:
            if any(artefact.directory.is_dir() for artefact in store.artefacts(run.id)):
                store.finish_run(run.id, Status.FAILED, error=str(error))
            else:
                forget(store, home, run.id)
            raise


def plan_recipe(
    resolved: Resolved, *, home: Path, listener: Listener | None = None
) -> dict[str, Plan]:
    """The plan of every variant, without training anything."""
    from tunesmith.models.hardware import find_hardware
    from tunesmith.store.artefacts import Artefacts
    from tunesmith.tasks.base import get_task

    recipe = resolved.recipe
    task = get_task(recipe.task, recipe.task_options)
    desk = Desk(
        resolved=resolved,
        task=task,
        artefacts=Artefacts(home),
        hardware=find_hardware(),
        listener=listener or Silent(),
    )
    check_methods(desk)
    data = prepare(desk)
    return {variant: plan_variant(desk, data, variant) for variant in recipe.methods}


def _story(context: Context) -> Finished:
    """The whole way, once."""
    from tunesmith.report.tables import summary
    from tunesmith.store.nouns import Status

    listener, recipe = context.listener, context.recipe
    listener.stage("data")
    check_methods(context)
    check_decoding(context)
    data = prepare(context)
    record_data(context, data)
    listener.stage("plan")
    plans = {variant: plan_variant(context, data, variant) for variant in recipe.methods}
    for variant, plan in plans.items():
        context.store.record_plan(context.run.id, variant, plan)
    listener.stage("baselines")
    bases = Bases(context)
    answers = dict(cheap_answers(context, data))
    answers[BASELINE] = model_answers(context, data, bases, BASELINE, None)
    for variant in recipe.methods:
        listener.stage(variant)
        adapter = train_variant(context, data, bases, variant, plans[variant])
        answers[variant] = model_answers(context, data, bases, variant, adapter)
    bases.release()
    listener.stage("compare")
    metrics, comparisons = judge(context, data, answers)
    experiment = context.store.finish_run(context.run.id, Status.DONE)
    listener.stage("report")
    page = write_report(context.store, context.run.id, context.task.name)
    return Finished(
        id=context.run.id,
        recipe=recipe.name,
        report=page,
        seconds=experiment.seconds or 0.0,
        metrics=tuple(metrics),
        comparisons=tuple(comparisons),
        confidence=recipe.evaluation.confidence,
        summary=summary(context.store, context.run.id, report=page),
    )


def _begin(
    store: Store, resolved: Resolved, task: Task, home: Path, hardware: Hardware, *, resume: bool
) -> Run:
    """A new run, or the recipe's last unfinished one."""
    from tunesmith.store.nouns import Provenance, Status

    recipe = resolved.recipe
    values = recipe.model_dump(mode="json")
    if resume:
        unfinished = [r for r in store.runs(recipe=recipe.name) if r.status != Status.DONE]
        if not unfinished:
            raise StoreError(
                f"no run of {recipe.name} waits to be resumed", hint="run it without --resume"
            )
        same = [r for r in unfinished if dict(r.resolved) == values]
        if not same:
            raise StoreError(
                f"the recipe is not that of {unfinished[0].id} any more",
                hint="run it without --resume: stages that did not change are found again",
            )
        return store.resume_run(same[0].id)
    revision, dirty = git_state()
    return store.start_run(
        recipe.name,
        runs=home / "runs",
        recipe_text=resolved.text,
        resolved=values,
        provenance=Provenance(
            command=command_line(),
            git_revision=revision,
            git_dirty=dirty,
            versions=versions() | ({"judge": task.judge} if task.judge else {}),
            hardware=asdict(hardware),
            seed=recipe.seed,
        ),
    )
