"""What a run will do and need: every hyperparameter with its reason, memory, steps."""

from tunesmith.plan.memory import Memory, estimate_memory
from tunesmith.plan.plan import Facts, make_plan

__all__ = ["Facts", "Memory", "estimate_memory", "make_plan"]
