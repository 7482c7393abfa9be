"""What a run was given and what it planned: data sets, findings, rejects, hyperparameters."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from tunesmith.records import Choice, Finding, Plan, Quality, Reject, Severity
from tunesmith.store.database import Database
from tunesmith.store.nouns import KEPT_REJECTS, Dataset
from tunesmith.store.schema import (
    DatasetRow,
    FindingRow,
    HyperparameterRow,
    PlanRow,
    RejectRow,
)


class Inputs(Database):
    """Questions about data and plans."""

    def record_dataset(self, run_id: str, dataset: Dataset) -> None:
        """Keep a data set of a run; a second one of the same name takes its place."""
        reasons = dict(dataset.reject_reasons) or dict(
            Counter(reject.reason for reject in dataset.rejects).most_common()
        )

        def change(session: Session) -> None:
            session.execute(
                delete(DatasetRow).where(
                    DatasetRow.run_id == run_id, DatasetRow.name == dataset.name
                )
            )
            session.add(
                DatasetRow(
                    run_id=run_id,
                    name=dataset.name,
                    fingerprint=dataset.fingerprint,
                    splits=dict(dataset.splits),
                    quality=_quality_counts(dataset.quality),
                    reject_reasons=reasons,
                    manifest=dict(dataset.manifest),
                )
            )
            session.flush()
            findings = dataset.quality.findings if dataset.quality else ()
            session.add_all(
                FindingRow(
                    run_id=run_id,
                    dataset=dataset.name,
                    position=position,
                    code=finding.code,
                    severity=finding.severity.value,
                    message=finding.message,
                    count=finding.count,
                    examples=list(finding.examples),
                    action=finding.action,
                )
                for position, finding in enumerate(findings)
            )
            session.add_all(
                RejectRow(
                    run_id=run_id,
                    dataset=dataset.name,
                    position=position,
                    place=reject.place,
                    reason=reject.reason,
                    row=dict(reject.row),
                )
                for position, reject in enumerate(dataset.rejects[:KEPT_REJECTS])
            )

        self._write(change)

    def datasets(self, run_id: str) -> list[Dataset]:
        """The data sets of a run with their findings and the first of their rejects."""

        def question(session: Session) -> list[Dataset]:
            rows = session.scalars(
                select(DatasetRow).where(DatasetRow.run_id == run_id).order_by(DatasetRow.name)
            ).all()
            return [_dataset(session, row) for row in rows]

        return self._read(question)

    def record_plan(self, run_id: str, method: str, plan: Plan) -> None:
        """Keep the plan of one method of a run; a second one takes its place."""

        def change(session: Session) -> None:
            session.execute(
                delete(PlanRow).where(PlanRow.run_id == run_id, PlanRow.method == method)
            )
            session.add(
                PlanRow(
                    run_id=run_id,
                    method=method,
                    steps=plan.steps,
                    memory_bytes=plan.memory_bytes,
                    seconds=plan.seconds,
                    cost_usd=plan.cost_usd,
                    fits=plan.fits,
                )
            )
            session.flush()
            session.add_all(
                HyperparameterRow(
                    run_id=run_id,
                    method=method,
                    name=choice.name,
                    position=position,
                    value=choice.value,
                    reason=choice.reason,
                    source=choice.source,
                )
                for position, choice in enumerate(plan.choices)
            )

        self._write(change)

    def plans(self, run_id: str) -> dict[str, Plan]:
        """The plan of each method of a run."""

        def question(session: Session) -> dict[str, Plan]:
            choices: dict[str, list[Choice]] = {}
            for row in session.scalars(
                select(HyperparameterRow)
                .where(HyperparameterRow.run_id == run_id)
                .order_by(HyperparameterRow.position)
            ):
                source: Any = row.source  # a ChoiceSource: only record_plan writes the column
                choices.setdefault(row.method, []).append(
                    Choice(row.name, row.value, row.reason, source)
                )
            return {
                row.method: Plan(
                    choices=tuple(choices.get(row.method, ())),
                    steps=row.steps,
                    memory_bytes=row.memory_bytes,
                    seconds=row.seconds,
                    cost_usd=row.cost_usd,
                    fits=row.fits,
                )
                for row in session.scalars(
                    select(PlanRow).where(PlanRow.run_id == run_id).order_by(PlanRow.method)
                )
            }

        return self._read(question)


def _quality_counts(quality: Quality | None) -> dict[str, Any] | None:
    if quality is None:
        return None
    return {f.name: getattr(quality, f.name) for f in fields(quality) if f.name != "findings"}


def _dataset(session: Session, row: DatasetRow) -> Dataset:
    findings = session.scalars(
        select(FindingRow)
        .where(FindingRow.run_id == row.run_id, FindingRow.dataset == row.name)
        .order_by(FindingRow.position)
    )
    rejects = session.scalars(
        select(RejectRow)
        .where(RejectRow.run_id == row.run_id, RejectRow.dataset == row.name)
        .order_by(RejectRow.position)
    )
    found = tuple(
        Finding(
            code=f.code,
            severity=Severity(f.severity),
            message=f.message,
            count=f.count,
            examples=tuple(f.examples),
            action=f.action,
        )
        for f in findings
    )
    return Dataset(
        name=row.name,
        fingerprint=row.fingerprint,
        splits=row.splits,
        quality=None if row.quality is None else Quality(**row.quality, findings=found),
        rejects=tuple(Reject(r.place, r.reason, r.row) for r in rejects),
        reject_reasons=row.reject_reasons,
        manifest=row.manifest,
    )
