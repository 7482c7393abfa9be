"""Variants: what answers in a run, the adapters behind them, and how each step of training went."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tunesmith.records import Adapter, TrainingStep
from tunesmith.store.database import Database, columns, read_noun, replace
from tunesmith.store.nouns import Variant, VariantKind
from tunesmith.store.schema import AdapterRow, TrainingRow, VariantRow

BASELINE = "baseline"


class Variants(Database):
    """Questions about variants and their training."""

    def record_variant(self, run_id: str, variant: Variant) -> None:
        """Name a variant and say what it is; the order of naming is the order of display."""

        def change(session: Session) -> None:
            row = present(session, run_id, variant.name, variant.kind)
            row.kind = variant.kind
            row.description = variant.description

        self._write(change)

    def variants(self, run_id: str) -> list[Variant]:
        """The variants of a run: untuned, then cheap, then trained, each in order of naming."""
        ranks = {"untuned": 0, "cheap": 1, "trained": 2}

        def question(session: Session) -> list[Variant]:
            rows = session.scalars(
                select(VariantRow).where(VariantRow.run_id == run_id).order_by(VariantRow.position)
            )
            return sorted(map(_variant, rows), key=lambda variant: ranks[variant.kind])

        return self._read(question)

    def record_adapter(self, run_id: str, adapter: Adapter) -> None:
        """Keep what a trained variant is made of and what it cost."""

        def change(session: Session) -> None:
            present(session, run_id, adapter.name, "trained").kind = "trained"
            session.flush()
            made_of = {**columns(adapter), "directory": str(adapter.directory)}
            row = AdapterRow(run_id=run_id, variant=adapter.name, **made_of)
            session.merge(row)

        self._write(change)

    def adapters(self, run_id: str) -> list[Adapter]:
        """The adapters of a run, in the order of their variants."""
        statement = (
            select(AdapterRow)
            .join(
                VariantRow,
                (VariantRow.run_id == AdapterRow.run_id) & (VariantRow.name == AdapterRow.variant),
            )
            .where(AdapterRow.run_id == run_id)
            .order_by(VariantRow.position)
        )
        return self._read(lambda session: [_adapter(row) for row in session.scalars(statement)])

    def record_training_steps(
        self, run_id: str, variant: str, steps: Iterable[TrainingStep]
    ) -> None:
        """Keep steps of training as they come; a step done again after a resume takes its place."""
        rows = [columns(step) for step in steps]

        def change(session: Session) -> None:
            present(session, run_id, variant, "trained").kind = "trained"
            session.flush()
            replace(session, TrainingRow, {"run_id": run_id, "variant": variant}, "step", rows)

        self._write(change)

    def training_steps(self, run_id: str, variant: str) -> list[TrainingStep]:
        """How the training of a variant went, step by step."""
        statement = (
            select(TrainingRow)
            .where(TrainingRow.run_id == run_id, TrainingRow.variant == variant)
            .order_by(TrainingRow.step)
        )
        return self._read(
            lambda session: [read_noun(TrainingStep, row) for row in session.scalars(statement)]
        )


def present(session: Session, run_id: str, name: str, kind: VariantKind) -> VariantRow:
    """The row of a variant, made where this is the first time it is heard of."""
    row = session.get(VariantRow, (run_id, name))
    if row is None:
        count = select(func.count()).select_from(VariantRow).where(VariantRow.run_id == run_id)
        row = VariantRow(
            run_id=run_id,
            name=name,
            position=session.scalar(count) or 0,
            kind="untuned" if name == BASELINE else kind,
            description="",
        )
        session.add(row)
        session.flush()
    return row


def _variant(row: VariantRow) -> Variant:
    kind: Any = row.kind  # a VariantKind: only this module writes the column
    return Variant(row.name, kind, row.description)


def _adapter(row: AdapterRow) -> Adapter:
    return read_noun(Adapter, row, directory=Path(row.directory))
