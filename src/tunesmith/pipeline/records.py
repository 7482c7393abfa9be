"""Looking back: the runs that the store remembers."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.errors import StoreError
from tunesmith.pipeline.judging import confidence_of, write_report
from tunesmith.records import Comparison, Metric
from tunesmith.store.home import store_of

if TYPE_CHECKING:
    from tunesmith.store.nouns import Experiment
    from tunesmith.store.store import Store


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run as it is remembered."""

    experiment: Experiment
    metrics: tuple[Metric, ...]
    comparisons: tuple[Comparison, ...]
    confidence: float
    summary: Mapping[str, Any]


def list_runs(home: Path) -> list[Experiment]:
    """Every run, the newest first."""
    from tunesmith.store.store import Store

    with Store.open(store_of(home)) as store:
        return store.runs()


def show_run(home: Path, prefix: str) -> RunRecord:
    """One run by its id or the beginning of it; StoreError where none or several fit."""
    from tunesmith.report.tables import summary
    from tunesmith.store.store import Store

    with Store.open(store_of(home)) as store:
        experiment = store.run(prefix)
        page = experiment.directory / "report.html"
        told = summary(store, experiment.id, report=page if page.exists() else None)
        return RunRecord(
            experiment,
            tuple(store.metrics(experiment.id)),
            tuple(store.comparisons(experiment.id)),
            confidence_of(experiment),
            {"status": experiment.status.value, **told},
        )


def remove_run(home: Path, prefix: str) -> Experiment:
    """Forget one run with all that is its alone; the prefix is that of its id."""
    from tunesmith.store.store import Store

    with Store.open(store_of(home)) as store:
        run_id = store.run(prefix).id
        if not run_id.startswith(prefix):
            raise StoreError(
                f"{prefix!r} is no run's id, nor the beginning of one",
                hint=f"its last run is {run_id}: removing asks for the id itself",
            )
        if (session := store.session_of(run_id)) is not None:
            raise StoreError(
                f"{run_id} is session {session.number} of the lineage {session.lineage}",
                hint="what stands on a session needs it: tunesmith rollback leaves it out of use",
            )
        return forget(store, home, run_id)


def forget(store: Store, home: Path, run_id: str) -> Experiment:
    """Delete a run, its directory, and the artefacts, whole or begun, that no other stands on."""
    from tunesmith.store.artefacts import Artefacts

    stood_on = {artefact.directory for artefact in store.artefacts(run_id)}
    gone = store.remove_run(run_id)
    kept = {a.directory for run in store.runs() for a in store.artefacts(run.id)}
    if home in gone.directory.parents:  # whatever a store says, nothing outside is touched
        shutil.rmtree(gone.directory, ignore_errors=True)
    for directory in stood_on - kept:
        Artefacts(home).remove(directory)
    return gone


def draw_report(home: Path, prefix: str, out: Path | None) -> Path:
    """Draw one run's report anew; StoreError where it never came to its end."""
    from tunesmith.store.nouns import Status
    from tunesmith.store.store import Store

    with Store.open(store_of(home)) as store:
        experiment = store.run(prefix)
        if experiment.status != Status.DONE:
            raise StoreError(
                f"{experiment.id} is {experiment.status.value}: there is nothing to report yet",
                hint=f"tunesmith run {experiment.recipe} goes on with it",
            )
        return write_report(store, experiment.id, str(experiment.resolved.get("task", "")), out)
