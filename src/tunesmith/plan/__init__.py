"""Say before a run what it will do and need: hyperparameters with their reasons, memory, steps."""

from tunesmith.plan.memory import Memory, estimate_memory
from tunesmith.plan.plan import Facts, make_plan

__all__ = ["Facts", "Memory", "estimate_memory", "make_plan"]
