"""Models, machines and data that plans are made for in tests."""

from __future__ import annotations

from tunesmith.plan import Facts
from tunesmith.records import DataFacts, Hardware, ModelFacts

GIB = 2**30
NANO = ModelFacts(
    name="nano",
    architecture="llama",
    parameters=2_000_000,
    layers=6,
    hidden=128,
    intermediate=384,
    heads=4,
    key_value_heads=2,
    head_dim=32,
    vocabulary=4096,
    context=1024,
    tied_embeddings=True,
)
LLAMA_8B = ModelFacts(
    name="meta-llama/Llama-3.1-8B-Instruct",
    architecture="llama",
    parameters=8_030_261_248,
    layers=32,
    hidden=4096,
    intermediate=14336,
    heads=32,
    key_value_heads=8,
    head_dim=128,
    vocabulary=128256,
    context=131072,
    tied_embeddings=False,
)
LAPTOP = Hardware(
    device="cpu",
    device_name="laptop",
    device_memory=8 * GIB,
    cores=2,
    memory=8 * GIB,
    bf16_fast=False,
    four_bit=True,
    four_bit_reason="",
)
DATA = DataFacts(
    examples=100,
    length_mean=200.0,
    length_p99=400,
    length_max=420,
    answer_mean=50.0,
    length_sd=60.0,
)
FACTS = Facts(data=DATA, model=NANO, hardware=LAPTOP, four_bit=False)
