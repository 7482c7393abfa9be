"""Lineages: sessions of continual learning, added and never changed, and the current one of each.

A session's parent is a session of the same lineage, 0 the base itself. Going back moves the
pointer alone; what is learned from there on is another branch of the same tree.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session as Transaction

from tunesmith.errors import StoreError
from tunesmith.store.database import Database
from tunesmith.store.schema import LineageRow, SessionRow


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedSession:
    """One session. `data`, `adapter` and `merged` are keys of artefacts, the latter two with the
    SHA-256 of their weights; `merged` is None where the adapter stands on the base as it is.

    `topic`: the source that was learned; `strategy`: merge, continue or beside; `continued`: the
    adapter is the last one's continuation; `replay`: share of older training rows in [0, 1];
    `base`, `tokenizer`, `weights`: name and fingerprints of what the whole lineage stands on.
    """

    lineage: str
    number: int
    parent: int
    topic: str
    run_id: str
    strategy: str
    replay: float
    continued: bool
    variant: str
    base: str
    tokenizer: str
    weights: str
    four_bit: bool
    data: str
    adapter: str
    adapter_sha256: str
    merged: str | None
    merged_sha256: str | None
    created: datetime


class Lineages(Database):
    """Questions about lineages."""

    def lineages(self) -> dict[str, int]:
        """Every lineage with the number of its current session, by name."""

        def question(session: Transaction) -> dict[str, int]:
            rows = session.scalars(select(LineageRow).order_by(LineageRow.name))
            return {row.name: row.current for row in rows}

        return self._read(question)

    def sessions(self, lineage: str) -> list[LearnedSession]:
        """The sessions of a lineage by number, those of every branch; none of one that is new."""

        def question(session: Transaction) -> list[LearnedSession]:
            mine = select(SessionRow).where(SessionRow.lineage == lineage)
            return [_session(row) for row in session.scalars(mine.order_by(SessionRow.number))]

        return self._read(question)

    def session_of(self, run_id: str) -> LearnedSession | None:
        """The session that a run was, None where it was none."""

        def question(session: Transaction) -> LearnedSession | None:
            row = session.scalar(select(SessionRow).where(SessionRow.run_id == run_id))
            return None if row is None else _session(row)

        return self._read(question)

    def add_session(self, learned: LearnedSession) -> None:
        """Add a session behind the last one, and make it the current one, both or neither.

        Where its parent is not the current one any more (somebody went back in the meantime) it is
        added and nothing else. StoreError where another process added one in the meantime.
        """

        def change(session: Transaction) -> None:
            last = session.scalar(
                select(func.max(SessionRow.number)).where(SessionRow.lineage == learned.lineage)
            )
            if learned.number != (last or 0) + 1:
                raise StoreError(
                    f"session {learned.number} of {learned.lineage} is there already: another "
                    "process has learned in the meantime",
                    hint="learn again: it then stands on that one",
                )
            session.add(SessionRow(**asdict(learned)))
            row = session.get(LineageRow, learned.lineage)
            if row is None:
                session.add(LineageRow(name=learned.lineage, current=learned.number))
            elif row.current == learned.parent:
                row.current = learned.number

        self._write(change)

    def set_current(self, lineage: str, number: int) -> None:
        """Make a session the current one, 0 for the base; StoreError where it is not there."""

        def change(session: Transaction) -> None:
            if number and session.get(SessionRow, (lineage, number)) is None:
                raise StoreError(
                    f"{lineage} has no session {number}", hint="tunesmith lineage shows the chain"
                )
            row = session.get(LineageRow, lineage)
            if row is None:
                raise StoreError(
                    f"there is no lineage {lineage}", hint="tunesmith learn RECIPE begins one"
                )
            row.current = number

        self._write(change)


def _session(row: SessionRow) -> LearnedSession:
    return LearnedSession(**{f.name: getattr(row, f.name) for f in fields(LearnedSession)})
