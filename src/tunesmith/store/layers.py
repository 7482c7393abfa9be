"""What a method saw in the layers it trains, step by step (records.LayerReport)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Double, String, delete, insert, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from tunesmith.records import LayerReport
from tunesmith.store.database import BATCH, Database, columns, read_noun
from tunesmith.store.schema import Key, Table, of_variant
from tunesmith.store.variants import present


class LayerRow(Table):
    """One look at one layer: at the end of the passes, or at what a reprojection kept."""

    __tablename__ = "layer_reports"
    __table_args__ = (of_variant(),)

    run_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    variant: Mapped[str] = mapped_column(Key, primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    layer: Mapped[str] = mapped_column(Key, primary_key=True)
    reprojected: Mapped[bool] = mapped_column(primary_key=True)
    position: Mapped[int]  # among the reports of its step
    rank: Mapped[int]
    spectrum: Mapped[list[Any]]
    effective_rank: Mapped[float] = mapped_column(nullable=True)
    condition_input: Mapped[float] = mapped_column(nullable=True)
    condition_gradient: Mapped[float] = mapped_column(nullable=True)
    natural_to_plain: Mapped[float] = mapped_column(nullable=True)
    energy_kept: Mapped[float | None] = mapped_column(Double)
    seconds: Mapped[float] = mapped_column(nullable=True)


class Layers(Database):
    """Questions about layers."""

    def record_layers(self, run_id: str, variant: str, reports: Iterable[LayerReport]) -> None:
        """Keep all that was seen at some steps, in the place of what was known of these steps.

        Infinite figures are kept; of a spectrum's values only finite ones are, others are NaN.
        """
        rows = [
            {
                **columns(report),
                "run_id": run_id,
                "variant": variant,
                "position": position,
                "reprojected": report.energy_kept is not None,
                "spectrum": [x if math.isfinite(x) else None for x in report.spectrum],
            }
            for position, report in enumerate(reports)
        ]
        steps = sorted({row["step"] for row in rows})

        def change(session: Session) -> None:
            present(session, run_id, variant, "trained").kind = "trained"
            session.flush()
            known = (LayerRow.run_id == run_id, LayerRow.variant == variant)
            for start in range(0, len(steps), BATCH):
                there = LayerRow.step.in_(steps[start : start + BATCH])
                session.execute(delete(LayerRow).where(*known, there))
            for start in range(0, len(rows), BATCH):
                session.execute(insert(LayerRow), rows[start : start + BATCH])

        self._write(change)

    def layers(self, run_id: str, variant: str) -> list[LayerReport]:
        """What was seen in a variant's layers: by step, then in the order it was told."""
        statement = (
            select(LayerRow)
            .where(LayerRow.run_id == run_id, LayerRow.variant == variant)
            .order_by(LayerRow.step, LayerRow.position)
        )
        return self._read(lambda session: [_report(row) for row in session.scalars(statement)])


def _report(row: LayerRow) -> LayerReport:
    kept = row.energy_kept
    return read_noun(
        LayerReport,
        row,
        spectrum=tuple(math.nan if x is None else x for x in row.spectrum),
        energy_kept=math.nan if row.reprojected and kept is None else kept,
    )
