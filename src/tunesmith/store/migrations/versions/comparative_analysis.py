"""What comparing trainings over seeds found: its tests stand beside those over examples."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "comparative_analysis"
down_revision = "layer_reports"


def upgrade() -> None:
    """Two tables; a test may belong to a study in the place of a run (SQLite copies the table)."""
    with op.batch_alter_table("statistical_tests") as table:
        table.alter_column("run_id", existing_type=sa.String(length=64), nullable=True)
        table.add_column(sa.Column("study", sa.String(length=128), nullable=True))
        for name in ("p_permutation", "effect_low", "effect_high"):
            table.add_column(sa.Column(name, sa.Double(), nullable=True))
    op.create_table(
        "comparative_analysis",
        sa.Column("study", sa.String(length=128), nullable=False),
        sa.Column("task", sa.String(length=128), nullable=False),
        sa.Column("method", sa.String(length=128), nullable=False),
        sa.Column("quantity", sa.String(length=128), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("sd", sa.Double(), nullable=True),
        sa.Column("ci_low", sa.Double(), nullable=True),
        sa.Column("ci_high", sa.Double(), nullable=True),
        sa.Column("by_seed", sa.JSON(), nullable=False),
        sa.Column("fronts", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint(
            "study", "task", "method", "quantity", name="pk_comparative_analysis"
        ),
    )
    op.create_table(
        "recommendations",
        sa.Column("study", sa.String(length=128), nullable=False),
        sa.Column("task", sa.String(length=128), nullable=False),
        sa.Column("quantity", sa.String(length=128), nullable=False),
        sa.Column("wish", sa.Text(), nullable=False),
        sa.Column("methods", sa.JSON(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("unknown", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("study", "task", "quantity", name="pk_recommendations"),
    )
