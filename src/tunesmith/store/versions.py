"""Frozen data sets: each is known by the hash of its content, and noted once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from tunesmith.errors import StoreError
from tunesmith.store.database import Database
from tunesmith.store.schema import DataVersionRow

SHOWN = 12  # digits of an id, for people


@dataclass(frozen=True, slots=True)
class DataVersion:
    """A frozen data set: `id` hashes the rows of its parts, `directory` holds its files."""

    id: str
    name: str
    created: datetime
    parts: Mapping[str, int]
    sources: Mapping[str, int]
    directory: Path


class Versions(Database):
    """Questions about frozen data sets."""

    def record_version(self, version: DataVersion) -> None:
        """Note a version; one that is noted already keeps its name and its time."""

        def change(session: Session) -> None:
            row = session.get(DataVersionRow, version.id)
            if row is not None:
                row.directory = str(version.directory)
                return
            session.add(
                DataVersionRow(
                    id=version.id,
                    name=version.name,
                    created=version.created,
                    parts=dict(version.parts),
                    sources=dict(version.sources),
                    directory=str(version.directory),
                )
            )

        self._write(change)

    def data_versions(self) -> list[DataVersion]:
        """Every version, the newest first."""

        def question(session: Session) -> list[DataVersion]:
            rows = session.scalars(
                select(DataVersionRow).order_by(DataVersionRow.created.desc(), DataVersionRow.id)
            )
            return [_version(row) for row in rows]

        return self._read(question)

    def data_version(self, said: str) -> DataVersion | None:
        """The version whose id begins so, or the newest of this name, or NAME@ID with the beginning
        of its id; None where there is none.

        StoreError where several ids begin so.
        """
        versions = self.data_versions()
        named = [version for version in versions if version.name == said]
        if named:
            return named[0]
        name, _, digits = said.rpartition("@")
        begun = [
            version
            for version in versions
            if digits and version.id.startswith(digits.lower()) and name in ("", version.name)
        ]
        if len(begun) > 1:
            ids = ", ".join(version.id[:SHOWN] for version in begun[:4])
            raise StoreError(
                f"{len(begun)} data versions begin with {said!r}: {ids}", hint="give more digits"
            )
        return begun[0] if begun else None

    def remove_version(self, version_id: str) -> None:
        """Forget a version; its files stay, the caller removes them."""

        def change(session: Session) -> None:
            session.execute(delete(DataVersionRow).where(DataVersionRow.id == version_id))

        self._write(change)


def _version(row: DataVersionRow) -> DataVersion:
    return DataVersion(
        id=row.id,
        name=row.name,
        created=row.created,
        parts=row.parts,
        sources=row.sources,
        directory=Path(row.directory),
    )
