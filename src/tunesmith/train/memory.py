"""Where memory does not suffice: which errors say so, and what is tried next.

A micro-batch is cut in halves, which changes neither the effective batch nor the mathematics; a
single example is computed with its activations done twice instead of kept. What the kernel's
out-of-memory killer ends cannot be caught: such a run goes on from its last checkpoint.
"""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass, replace

import psutil
import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

# What torch says in a plain RuntimeError, beside what accelerate knows.
ALSO = ("std::bad_alloc", "CUBLAS_STATUS_ALLOC_FAILED", "could not create a memory")


@dataclass(frozen=True, slots=True)
class Cut:
    """How an effective batch is computed: examples of a micro-batch, and whether activations are
    kept or computed again."""

    rows: int
    checkpointing: bool

    def smaller(self) -> Cut | None:
        """The next cut that takes less memory; None where there is none."""
        if self.rows > 1:
            return replace(self, rows=self.rows // 2)
        return None if self.checkpointing else replace(self, checkpointing=True)

    def __str__(self) -> str:
        rows = f"micro-batches of {self.rows} example{'s' if self.rows > 1 else ''}"
        return rows + (" with gradient checkpointing" if self.checkpointing else "")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that an accelerator's memory, or the host's, does not suffice."""
    return (
        isinstance(error, (torch.OutOfMemoryError, MemoryError))
        or (isinstance(error, Exception) and should_reduce_batch_size(error))
        or (isinstance(error, RuntimeError) and any(said in str(error) for said in ALSO))
    )


def clear() -> None:
    """Give back what a failed step left in caches."""
    gc.collect()
    clear_device_cache()


def forget_peak(device: torch.device) -> None:
    """From here on the peak on the GPU is that of what comes, not of an earlier training."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def memory_used(device: torch.device) -> int:
    """Bytes: the peak on the GPU since `forget_peak`, or what this process holds on the host."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return int(psutil.Process(os.getpid()).memory_info().rss)
