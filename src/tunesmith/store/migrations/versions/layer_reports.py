"""What a method saw in the layers it trains."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "layer_reports"
down_revision = "studies"


def upgrade() -> None:
    """One table."""
    op.create_table(
        "layer_reports",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("variant", sa.String(length=128), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("layer", sa.String(length=128), nullable=False),
        sa.Column("reprojected", sa.Boolean(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("spectrum", sa.JSON(), nullable=False),
        sa.Column("effective_rank", sa.Double(), nullable=True),
        sa.Column("condition_input", sa.Double(), nullable=True),
        sa.Column("condition_gradient", sa.Double(), nullable=True),
        sa.Column("natural_to_plain", sa.Double(), nullable=True),
        sa.Column("energy_kept", sa.Double(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id", "variant"],
            ["variants.run_id", "variants.name"],
            name="fk_layer_reports_run_id_variant",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "run_id", "variant", "step", "layer", "reprojected", name="pk_layer_reports"
        ),
    )
