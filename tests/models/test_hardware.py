"""The machine that the tests run on is found as the system itself describes it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tunesmith.models.hardware import cores, cpu_has_fast_bf16, find_hardware, four_bit_support


def test_hardware_is_what_the_system_says() -> None:
    hardware = find_hardware()
    assert 1 <= hardware.cores <= (os.cpu_count() or 1)
    assert hardware.cores == cores()
    assert hardware.memory > 2**28
    assert hardware.device == ("cuda" if torch.cuda.is_available() else hardware.device)
    assert hardware.device in {"cuda", "mps", "cpu"}
    assert hardware.device_memory > 0
    if hardware.device == "cpu":
        assert hardware.device_memory == hardware.memory
    assert hardware.device_name


def test_four_bit_is_either_there_or_explained() -> None:
    hardware = find_hardware()
    supported, reason = four_bit_support()
    assert (hardware.four_bit, hardware.four_bit_reason) == (supported, reason)
    assert supported == (reason == "")
    if supported:
        import bitsandbytes as bnb

        weight = torch.randn(64, 64)
        packed, state = bnb.functional.quantize_4bit(weight, quant_type="nf4")
        back = bnb.functional.dequantize_4bit(packed, state)
        # NF4's widest gap lies between -1 and -0.696 of a block's largest value.
        assert float((back - weight).abs().max()) <= 0.16 * float(weight.abs().max())


def test_bfloat16_is_called_fast_where_the_processor_has_its_own_units() -> None:
    flags_file = Path("/proc/cpuinfo")
    if not flags_file.is_file():
        pytest.skip("this system has no /proc/cpuinfo to compare with")
    flags = set(flags_file.read_text().split())
    known = "amx_tile" in flags
    if "flags" not in flags:
        pytest.skip("this processor does not list x86 flags")
    assert cpu_has_fast_bf16() == known
