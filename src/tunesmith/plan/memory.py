"""How much memory a training will take at its peak, from the shapes alone.

Weights by their type; adapter with gradient and two Adam moments in float32; activations after
Korthikanti et al. 2022 (arXiv 2205.05198, eq. 1: about 34 bytes a token, layer and hidden unit in
16 bit, without the attention matrix, which fused attention does not keep); logits at the answer's
positions only, in float32, three times (logits, their log-softmax, their gradient).
"""

from __future__ import annotations

from dataclasses import dataclass

from tunesmith.records import DataFacts, ModelFacts

FLOAT32 = 4
NF4_BYTES = 0.5 + 4 / 64  # half a byte, and a float32 scale for every block of 64
ADAM_BYTES = 4 * FLOAT32  # weight, gradient, two moments
ACTIVATIONS_16_BIT = 34


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes at the peak, by what they are for."""

    weights: int
    adapter: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.adapter + self.activations + self.logits


def linear_parameters(model: ModelFacts) -> int:
    """Parameters of the layers' linear maps, which is what 4-bit loading packs."""
    attention = model.hidden * model.head_dim * (2 * model.heads + 2 * model.key_value_heads)
    return model.layers * (attention + 3 * model.hidden * model.intermediate)


def adapter_parameters(model: ModelFacts, rank: int, target_modules: str | tuple[str, ...]) -> int:
    """Trainable parameters of LoRA with rank `rank` on the named projections of every layer."""
    queries, keys = model.heads * model.head_dim, model.key_value_heads * model.head_dim
    sides = {
        "q_proj": model.hidden + queries,
        "k_proj": model.hidden + keys,
        "v_proj": model.hidden + keys,
        "o_proj": queries + model.hidden,
        "gate_proj": model.hidden + model.intermediate,
        "up_proj": model.hidden + model.intermediate,
        "down_proj": model.intermediate + model.hidden,
    }
    names = sides if isinstance(target_modules, str) else target_modules
    return model.layers * rank * sum(sides.get(name, 0) for name in names)


def estimate_memory(
    model: ModelFacts,
    data: DataFacts,
    *,
    rank: int,
    target_modules: str | tuple[str, ...],
    rows: int,
    bytes_per_weight: int,
    four_bit: bool,
    checkpointing: bool,
) -> Memory:
    """Peak memory of one training with micro-batches of `rows` of the longest examples."""
    packed = linear_parameters(model) if four_bit else 0
    tokens = rows * data.length_max
    per_token = ACTIVATIONS_16_BIT * model.hidden * bytes_per_weight / 2
    # With checkpointing each layer keeps its input alone, and one layer at a time is whole.
    kept = (
        model.layers * model.hidden * bytes_per_weight + per_token
        if checkpointing
        else model.layers * per_token
    )
    share = min(1.0, data.answer_mean / max(data.length_mean, 1.0))
    return Memory(
        weights=int((model.parameters - packed) * bytes_per_weight + packed * NF4_BYTES),
        adapter=adapter_parameters(model, rank, target_modules) * ADAM_BYTES,
        activations=int(tokens * kept),
        logits=int(tokens * share * model.vocabulary * FLOAT32 * 3),
    )
