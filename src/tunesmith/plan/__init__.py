"""Say before a run what it will do and need: hyperparameters with reasons, memory, time, cost."""

from tunesmith.plan.facts import Facts
from tunesmith.plan.gpus import Gpu, find_gpu, load_gpus, match_gpu
from tunesmith.plan.memory import Memory, estimate_memory
from tunesmith.plan.plan import Advice, Forecast, Machine, forecast

__all__ = [
    "Advice",
    "Facts",
    "Forecast",
    "Gpu",
    "Machine",
    "Memory",
    "estimate_memory",
    "find_gpu",
    "forecast",
    "load_gpus",
    "match_gpu",
]
