"""What a run was given and what it planned: data sets, findings, rejects, hyperparameters."""

from __future__ import annotations

from collections import Counter

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from tunesmith.records import Choice, Finding, Plan, Quality, Reject, Severity
from tunesmith.store.database import Database, columns, read_noun
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
        quality = dataset.quality
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
                    quality=quality and columns(quality, but=("findings",)),
                    reject_reasons=reasons,
                    manifest=dict(dataset.manifest),
                )
            )
            session.flush()
            findings = quality.findings if quality else ()
            session.add_all(
                FindingRow(
                    run_id=run_id,
                    dataset=dataset.name,
                    position=position,
                    **{**columns(finding), "severity": finding.severity.value},
                )
                for position, finding in enumerate(findings)
            )
            session.add_all(
                RejectRow(
                    run_id=run_id,
                    dataset=dataset.name,
                    position=position,
                    **columns(reject),
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

    def runs_on_data(self, fingerprint: str) -> frozenset[str]:
        """Ids of the runs that have a data set of this fingerprint."""
        statement = select(DatasetRow.run_id).where(DatasetRow.fingerprint == fingerprint)
        return self._read(lambda session: frozenset(session.scalars(statement)))

    def record_plan(self, run_id: str, method: str, plan: Plan) -> None:
        """Keep the plan of one method of a run; a second one takes its place."""

        def change(session: Session) -> None:
            session.execute(
                delete(PlanRow).where(PlanRow.run_id == run_id, PlanRow.method == method)
            )
            session.add(PlanRow(run_id=run_id, method=method, **columns(plan, but=("choices",))))
            session.flush()
            session.add_all(
                HyperparameterRow(
                    run_id=run_id, method=method, position=position, **columns(choice)
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
                choices.setdefault(row.method, []).append(read_noun(Choice, row))
            return {
                row.method: read_noun(Plan, row, choices=tuple(choices.get(row.method, ())))
                for row in session.scalars(
                    select(PlanRow).where(PlanRow.run_id == run_id).order_by(PlanRow.method)
                )
            }

        return self._read(question)


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
        read_noun(Finding, f, severity=Severity(f.severity), examples=tuple(f.examples))
        for f in findings
    )
    return read_noun(
        Dataset,
        row,
        quality=None if row.quality is None else Quality(**row.quality, findings=found),
        rejects=tuple(read_noun(Reject, r) for r in rejects),
    )
