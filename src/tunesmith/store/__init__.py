"""What Tunesmith remembers: a database of runs, and stage artefacts on disk.

    from tunesmith.store.store import Store            # every question to the database
    from tunesmith.store.artefacts import Artefacts    # content-addressed stage results
    from tunesmith.store.home import home_of           # where both live

The package speaks SQL and nobody else does. This file imports nothing on purpose: SQLAlchemy
takes a third of a second, and `tunesmith --help` must not wait for it.
"""
