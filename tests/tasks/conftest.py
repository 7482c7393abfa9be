"""Hypothesis without deadlines: how long a test takes says nothing about the code here."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("untimed", deadline=None, print_blob=True)
settings.load_profile("untimed")
