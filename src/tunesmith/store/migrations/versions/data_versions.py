"""Frozen data sets, each known by the hash of its content."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "data_versions"
down_revision = "llm_calls"


def upgrade() -> None:
    """One table: a version belongs to the store, for many runs may be trained on it."""
    op.create_table(
        "data_versions",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("parts", sa.JSON(), nullable=False),
        sa.Column("sources", sa.JSON(), nullable=False),
        sa.Column("directory", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_data_versions"),
    )
    op.create_index("ix_data_versions_name", "data_versions", ["name"])
