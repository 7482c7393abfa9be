"""Sessions of continual learning, and which of each lineage is the current one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "sessions"
down_revision = "validation_scores"


def upgrade() -> None:
    """Two tables: sessions are only ever added, the pointer to one of them moves."""
    op.create_table(
        "sessions",
        sa.Column("lineage", sa.String(length=128), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("parent", sa.Integer(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("strategy", sa.String(length=16), nullable=False),
        sa.Column("replay", sa.Double(), nullable=True),
        sa.Column("continued", sa.Boolean(), nullable=False),
        sa.Column("variant", sa.String(length=128), nullable=False),
        sa.Column("base", sa.Text(), nullable=False),
        sa.Column("tokenizer", sa.String(length=64), nullable=False),
        sa.Column("weights", sa.String(length=64), nullable=False),
        sa.Column("four_bit", sa.Boolean(), nullable=False),
        sa.Column("data", sa.String(length=64), nullable=False),
        sa.Column("adapter", sa.String(length=64), nullable=False),
        sa.Column("adapter_sha256", sa.String(length=64), nullable=False),
        sa.Column("merged", sa.String(length=64), nullable=True),
        sa.Column("merged_sha256", sa.String(length=64), nullable=True),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("lineage", "number", name="pk_sessions"),
    )
    op.create_index("ix_sessions_run_id", "sessions", ["run_id"])
    op.create_table(
        "lineages",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("current", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_lineages"),
    )
