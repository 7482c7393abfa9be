"""What this machine can do: cores, memory, accelerator, fast bfloat16, 4-bit.

The answer is a record, so that planning can reason about hardware without ever importing torch.
"""

from __future__ import annotations

import importlib.util
import os
import platform

import psutil
import torch

from tunesmith.records import Hardware


def cpu_has_fast_bf16() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32: with AMX it does.

    AVX512-BF16 alone is no help: on a Xeon that has it without AMX, matrix products of width 256 to
    2,048 were measured at 0.53 times float32's speed; without either, torch emulates.
    """
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", bool)())


def cores() -> int:
    """Processors this process may use; torchrun's processes on one machine share them."""
    try:
        found = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        found = os.cpu_count() or 1
    return max(1, found // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def four_bit_support() -> tuple[bool, str]:
    """Whether bitsandbytes NF4 runs here, and if not, why."""
    if importlib.util.find_spec("bitsandbytes") is None:
        return False, "bitsandbytes is not installed"
    if torch.backends.mps.is_available() and not torch.cuda.is_available():
        return False, "bitsandbytes has no 4-bit kernels for Apple GPUs"
    try:
        import bitsandbytes  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:
        return False, f"bitsandbytes does not load: {error}"
    return True, ""


def find_hardware() -> Hardware:
    """Look at the machine this runs on."""
    memory = psutil.virtual_memory().total
    four_bit, reason = four_bit_support()
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        return Hardware(
            device="cuda",
            device_name=properties.name,
            device_memory=properties.total_memory,
            cores=cores(),
            memory=memory,
            bf16_fast=torch.cuda.is_bf16_supported(including_emulation=False),
            four_bit=four_bit,
            four_bit_reason=reason,
        )
    mps = torch.backends.mps.is_available()
    return Hardware(
        device="mps" if mps else "cpu",
        device_name=platform.processor() or platform.machine(),
        # Apple's processors share one memory; this is how much of it the GPU is given.
        device_memory=torch.mps.recommended_max_memory() if mps else memory,
        cores=cores(),
        memory=memory,
        bf16_fast=False if mps else cpu_has_fast_bf16(),
        four_bit=four_bit,
        four_bit_reason=reason,
    )
