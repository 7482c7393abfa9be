"""Alembic migrations of the store, run by `tunesmith.store.database` when a store is opened.

A new one: change `schema.py`, write `versions/WHAT_IT_DOES.py` by hand (plain SQLAlchemy types, so
that it still means the same when `schema.py` has moved on), and set `schema.REVISION` to it.
"""
