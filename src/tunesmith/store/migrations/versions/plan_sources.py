"""Where a plan's values came from is said in words, which are longer than sixteen letters."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "plan_sources"
down_revision = "sessions"


def upgrade() -> None:
    """One column becomes text; SQLite copies the table."""
    with op.batch_alter_table("hyperparameters") as table:
        table.alter_column(
            "source",
            existing_type=sa.String(length=16),
            type_=sa.Text(),
            existing_nullable=False,
        )
