"""The way from a recipe to its report: `story` tells it, one file beside it for each stage.

This is the only package that knows several stages.
"""

from tunesmith.compare.words import plain_words
from tunesmith.pipeline.context import BASELINE, Finished, Listener, Silent
from tunesmith.pipeline.forecasting import forecast_recipe
from tunesmith.pipeline.machine import Check, examine_machine
from tunesmith.pipeline.records import RunRecord, draw_report, list_runs, remove_run, show_run
from tunesmith.pipeline.story import run_recipe
from tunesmith.store.home import home_of

__all__ = [
    "BASELINE",
    "Check",
    "Finished",
    "Listener",
    "RunRecord",
    "Silent",
    "draw_report",
    "examine_machine",
    "forecast_recipe",
    "home_of",
    "list_runs",
    "plain_words",
    "remove_run",
    "run_recipe",
    "show_run",
]
