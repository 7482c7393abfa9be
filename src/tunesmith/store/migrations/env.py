"""What Alembic runs: the migrations, on the connection and in the transaction it was handed."""

from __future__ import annotations

from alembic import context

from tunesmith.store.schema import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    transactional_ddl=True,
)
context.run_migrations()
