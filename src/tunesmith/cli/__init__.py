"""The command line: one file a verb, which parses, calls the pipeline and prints; no logic."""

from __future__ import annotations

from tunesmith.cli.app import main

__all__ = ["main"]
