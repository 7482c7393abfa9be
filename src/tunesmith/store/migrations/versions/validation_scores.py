"""What the task's scorers say of a few validation prompts while a variant is trained."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "validation_scores"
down_revision = "data_versions"


def upgrade() -> None:
    """One column: the scores by name, where a step asked for them."""
    op.add_column("training_metrics", sa.Column("validation_scores", sa.JSON(), nullable=True))
