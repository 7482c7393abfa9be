"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "first_schema"
down_revision = None


def upgrade() -> None:
    """Create every table, those that others refer to first."""
    runs()
    data()
    variants()
    answers()
    judgements()


def runs() -> None:
    """Runs, what their stages stand on, and the text of examples."""
    op.create_table(
        "examples",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("messages", sa.JSON(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_examples"),
    )
    op.create_table(
        "experiments",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("recipe", sa.String(length=128), nullable=False),
        sa.Column("directory", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("started", sa.DateTime(), nullable=False),
        sa.Column("resumed", sa.DateTime(), nullable=False),
        sa.Column("finished", sa.DateTime(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("recipe_text", sa.Text(), nullable=False),
        sa.Column("resolved", sa.JSON(), nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("git_revision", sa.Text(), nullable=True),
        sa.Column("git_dirty", sa.Boolean(), nullable=True),
        sa.Column("versions", sa.JSON(), nullable=False),
        sa.Column("hardware", sa.JSON(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=True),
        sa.Column("process", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_experiments"),
    )
    op.create_index("ix_experiments_recipe", "experiments", ["recipe"])
    op.create_table(
        "artefacts",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("stage", sa.String(length=128), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("directory", sa.Text(), nullable=False),
        sa.Column("manifest", sa.JSON(), nullable=False),
        sa.Column("reused", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["experiments.id"], name="fk_artefacts_run_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "stage", "key", name="pk_artefacts"),
    )


def data() -> None:
    """What a run was given, and what it planned."""
    op.create_table(
        "datasets",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("fingerprint", sa.String(length=128), nullable=False),
        sa.Column("splits", sa.JSON(), nullable=False),
        sa.Column("quality", sa.JSON(), nullable=True),
        sa.Column("reject_reasons", sa.JSON(), nullable=False),
        sa.Column("manifest", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["experiments.id"], name="fk_datasets_run_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "name", name="pk_datasets"),
    )
    op.create_table(
        "data_findings",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("dataset", sa.String(length=128), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=128), nullable=False),
        sa.Column("severity", sa.String(length=16), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("examples", sa.JSON(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id", "dataset"],
            ["datasets.run_id", "datasets.name"],
            name="fk_data_findings_run_id_dataset",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "dataset", "position", name="pk_data_findings"),
    )
    op.create_table(
        "data_rejects",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("dataset", sa.String(length=128), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("row", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id", "dataset"],
            ["datasets.run_id", "datasets.name"],
            name="fk_data_rejects_run_id_dataset",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "dataset", "position", name="pk_data_rejects"),
    )
    op.create_table(
        "plans",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("method", sa.String(length=128), nullable=False),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("cost_usd", sa.Double(), nullable=True),
        sa.Column("fits", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["experiments.id"], name="fk_plans_run_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "method", name="pk_plans"),
    )
    op.create_table(
        "hyperparameters",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("method", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id", "method"],
            ["plans.run_id", "plans.method"],
            name="fk_hyperparameters_run_id_method",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "method", "name", name="pk_hyperparameters"),
    )


def variants() -> None:
    """What answers, and how it was trained."""
    op.create_table(
        "variants",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["experiments.id"], name="fk_variants_run_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "name", name="pk_variants"),
    )
    op.create_table(
        "model_artifacts",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("variant", sa.String(length=128), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("method", sa.String(length=128), nullable=False),
        sa.Column("directory", sa.Text(), nullable=False),
        sa.Column("base", sa.Text(), nullable=False),
        sa.Column("trainable_parameters", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("peak_memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.Column("final_loss", sa.Double(), nullable=True),
        sa.Column("changed_answers", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id", "variant"],
            ["variants.run_id", "variants.name"],
            name="fk_model_artifacts_run_id_variant",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "variant", name="pk_model_artifacts"),
    )
    op.create_table(
        "training_metrics",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("variant", sa.String(length=128), nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.Double(), nullable=True),
        sa.Column("loss", sa.Double(), nullable=True),
        sa.Column("learning_rate", sa.Double(), nullable=True),
        sa.Column("grad_norm", sa.Double(), nullable=True),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("answer_tokens", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("validation_loss", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id", "variant"],
            ["variants.run_id", "variants.name"],
            name="fk_training_metrics_run_id_variant",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "variant", "step", name="pk_training_metrics"),
    )


def answers() -> None:
    """The test set, and what was answered."""
    op.create_table(
        "test_examples",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("example_id", sa.String(length=128), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("meta", sa.JSON(), nullable=False),
        sa.Column("has_twin", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["example_id"], ["examples.id"], name="fk_test_examples_example_id"
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["experiments.id"], name="fk_test_examples_run_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "example_id", name="pk_test_examples"),
    )
    op.create_index("ix_test_examples_example_id", "test_examples", ["example_id"])
    op.create_table(
        "model_responses",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("variant", sa.String(length=128), nullable=False),
        sa.Column("example_id", sa.String(length=128), nullable=False),
        sa.Column("response", sa.Text(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("scores", sa.JSON(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id", "variant"],
            ["variants.run_id", "variants.name"],
            name="fk_model_responses_run_id_variant",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "variant", "example_id", name="pk_model_responses"),
    )


def judgements() -> None:
    """Figures, tests, and the scorers' own check."""
    op.create_table(
        "metrics",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("variant", sa.String(length=128), nullable=False),
        sa.Column("metric", sa.String(length=128), nullable=False),
        sa.Column("slice", sa.String(length=128), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("ci_low", sa.Double(), nullable=True),
        sa.Column("ci_high", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id", "variant"],
            ["variants.run_id", "variants.name"],
            name="fk_metrics_run_id_variant",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "variant", "metric", "slice", name="pk_metrics"),
    )
    op.create_table(
        "statistical_tests",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("metric", sa.String(length=128), nullable=False),
        sa.Column("a", sa.String(length=128), nullable=False),
        sa.Column("b", sa.String(length=128), nullable=False),
        sa.Column("slice", sa.String(length=128), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("value_a", sa.Double(), nullable=True),
        sa.Column("value_b", sa.Double(), nullable=True),
        sa.Column("difference", sa.Double(), nullable=True),
        sa.Column("ci_low", sa.Double(), nullable=True),
        sa.Column("ci_high", sa.Double(), nullable=True),
        sa.Column("test", sa.Text(), nullable=False),
        sa.Column("p", sa.Double(), nullable=True),
        sa.Column("p_adjusted", sa.Double(), nullable=True),
        sa.Column("effect", sa.Double(), nullable=True),
        sa.Column("effect_name", sa.Text(), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("detectable", sa.Double(), nullable=True),
        sa.Column("needed", sa.BigInteger(), nullable=True),
        sa.Column("discordant", sa.JSON(), nullable=True),
        sa.Column("is_primary", sa.Boolean(), nullable=False),
        sa.Column("caveats", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["experiments.id"], name="fk_statistical_tests_run_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_statistical_tests"),
        sa.UniqueConstraint(
            "run_id",
            "metric",
            "a",
            "b",
            "slice",
            name="uq_statistical_tests_run_id_metric_a_b_slice",
        ),
    )
    op.create_table(
        "gold_checks",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("metric", sa.String(length=128), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("expected", sa.Double(), nullable=True),
        sa.Column("problems", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["experiments.id"], name="fk_gold_checks_run_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "metric", name="pk_gold_checks"),
    )
