"""Studies: comparisons of methods over tasks and seeds, and every training of each, as it ends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Double, ForeignKey, String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from tunesmith.errors import StoreError
from tunesmith.records import StudyRun, TrainingStep
from tunesmith.store.database import Database, columns, read_noun
from tunesmith.store.nouns import finite
from tunesmith.store.schema import Key, Table

COUNTS = -1  # the trial of a run that counts: a primary key has no NULL
Cell = tuple[str, str, int, int | None]  # task, method, seed, trial


class StudyRow(Table):
    """A comparison of methods."""

    __tablename__ = "studies"

    name: Mapped[str] = mapped_column(Key, primary_key=True)
    description: Mapped[str]
    text: Mapped[str]
    resolved: Mapped[dict[str, Any]]
    changed: Mapped[datetime]


class StudyRunRow(Table):
    """One training of a comparison; `key` is the fingerprint of what decided it."""

    __tablename__ = "study_runs"

    study: Mapped[str] = mapped_column(
        Key, ForeignKey("studies.name", ondelete="CASCADE"), primary_key=True
    )
    task: Mapped[str] = mapped_column(Key, primary_key=True)
    method: Mapped[str] = mapped_column(Key, primary_key=True)
    seed: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    trial: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    key: Mapped[str] = mapped_column(String(64))
    made: Mapped[datetime]
    provenance: Mapped[dict[str, Any]]
    learning_rate: Mapped[float] = mapped_column(nullable=True)
    run: Mapped[str] = mapped_column(String(64))
    error: Mapped[str]
    curve: Mapped[list[Any]]
    validation_loss: Mapped[float | None] = mapped_column(Double)
    held_out_loss: Mapped[float | None] = mapped_column(Double)
    scores: Mapped[dict[str, Any]]
    trainable_parameters: Mapped[int] = mapped_column(BigInteger)
    adapter_bytes: Mapped[int] = mapped_column(BigInteger)
    seconds: Mapped[float] = mapped_column(nullable=True)
    peak_memory_bytes: Mapped[int] = mapped_column(BigInteger)
    tokens: Mapped[int] = mapped_column(BigInteger)
    general_before: Mapped[float | None] = mapped_column(Double)
    general_after: Mapped[float | None] = mapped_column(Double)
    drift: Mapped[float | None] = mapped_column(Double)


@dataclass(frozen=True, slots=True)
class StudyFile:
    """A study as the store knows it: its file's text, and the same with every default filled in."""

    name: str
    description: str
    text: str
    resolved: Mapping[str, Any]
    changed: datetime


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run with what decided it (a fingerprint), and when, where and by what it was made."""

    run: StudyRun
    key: str
    made: datetime
    provenance: Mapping[str, Any]


class Studies(Database):
    """Questions about studies."""

    def record_study(
        self, name: str, *, description: str, text: str, resolved: Mapping[str, Any]
    ) -> None:
        """Keep a study's file, in the place of an earlier one of its name."""
        now = datetime.now(UTC)

        def change(session: Session) -> None:
            session.merge(
                StudyRow(
                    name=name,
                    description=description,
                    text=text,
                    resolved=dict(resolved),
                    changed=now,
                )
            )

        self._write(change)

    def studies(self) -> list[StudyFile]:
        """Every study, by name."""
        statement = select(StudyRow).order_by(StudyRow.name)
        return self._read(
            lambda session: [read_noun(StudyFile, row) for row in session.scalars(statement)]
        )

    def record_study_run(
        self, run: StudyRun, *, key: str = "", provenance: Mapping[str, Any] | None = None
    ) -> None:
        """Keep one training of a study, in the place of an earlier one of the same cell."""
        found = columns(run, but=("trial", "curve", "general_perplexity"))
        before, after = run.general_perplexity or (None, None)
        now = datetime.now(UTC)

        def change(session: Session) -> None:
            session.merge(
                StudyRunRow(
                    **found,
                    trial=COUNTS if run.trial is None else run.trial,
                    curve=[{k: finite(v) for k, v in asdict(step).items()} for step in run.curve],
                    general_before=before,
                    general_after=after,
                    key=key,
                    provenance=dict(provenance or {}),
                    made=now,
                )
            )

        self._write(change)

    def study_runs(self, study: str) -> list[StudyRun]:
        """Every training of a study, those of the searches too: by task, method, seed, trial.

        StoreError where there is no such study.
        """
        names = [file.name for file in self.studies()]
        if study not in names:
            raise StoreError(
                f"there is no study {study} in {self.place}",
                hint=f"there is {', '.join(names) or 'none'}; tunesmith study FILE makes one",
            )
        return [stored.run for stored in self.stored_runs(study).values()]

    def stored_runs(self, study: str) -> dict[Cell, StoredRun]:
        """The same by cell, with what decided each; none of a study that is new."""
        statement = (
            select(StudyRunRow)
            .where(StudyRunRow.study == study)
            .order_by(StudyRunRow.task, StudyRunRow.method, StudyRunRow.seed, StudyRunRow.trial)
        )

        def question(session: Session) -> dict[Cell, StoredRun]:
            found = map(_stored, session.scalars(statement))
            return {(s.run.task, s.run.method, s.run.seed, s.run.trial): s for s in found}

        return self._read(question)


def _stored(row: StudyRunRow) -> StoredRun:
    both = (row.general_before, row.general_after)
    run = read_noun(
        StudyRun,
        row,
        trial=None if row.trial == COUNTS else row.trial,
        curve=tuple(_step(step) for step in row.curve),
        general_perplexity=None if None in both else both,
    )
    return StoredRun(run, row.key, row.made, row.provenance)


def _step(found: Mapping[str, Any]) -> TrainingStep:
    may_lack = {"validation_loss", "validation_scores"}
    known = {f.name for f in fields(TrainingStep)}
    values: dict[str, Any] = {
        name: math.nan if value is None and name not in may_lack else value
        for name, value in found.items()
        if name in known
    }
    return TrainingStep(**values)
