"""Comparisons of methods over tasks and seeds, and every training of each."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "studies"
down_revision = "plan_sources"


def upgrade() -> None:
    """Two tables."""
    op.create_table(
        "studies",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("resolved", sa.JSON(), nullable=False),
        sa.Column("changed", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_studies"),
    )
    op.create_table(
        "study_runs",
        sa.Column("study", sa.String(length=128), nullable=False),
        sa.Column("task", sa.String(length=128), nullable=False),
        sa.Column("method", sa.String(length=128), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("trial", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("made", sa.DateTime(), nullable=False),
        sa.Column("provenance", sa.JSON(), nullable=False),
        sa.Column("learning_rate", sa.Double(), nullable=True),
        sa.Column("run", sa.String(length=64), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("curve", sa.JSON(), nullable=False),
        sa.Column("validation_loss", sa.Double(), nullable=True),
        sa.Column("held_out_loss", sa.Double(), nullable=True),
        sa.Column("scores", sa.JSON(), nullable=False),
        sa.Column("trainable_parameters", sa.BigInteger(), nullable=False),
        sa.Column("adapter_bytes", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("peak_memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("general_before", sa.Double(), nullable=True),
        sa.Column("general_after", sa.Double(), nullable=True),
        sa.Column("drift", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["study"], ["studies.name"], name="fk_study_runs_study", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("study", "task", "method", "seed", "trial", name="pk_study_runs"),
    )
