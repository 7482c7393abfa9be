"""The way from a recipe to its report: `story` tells it, one file beside it for each stage.

This is the only package that knows several stages.
"""

from tunesmith.pipeline.context import BASELINE, Finished, Listener, Silent
from tunesmith.pipeline.judging import write_report
from tunesmith.pipeline.story import plan_recipe, run_recipe

__all__ = [
    "BASELINE",
    "Finished",
    "Listener",
    "Silent",
    "plan_recipe",
    "run_recipe",
    "write_report",
]
