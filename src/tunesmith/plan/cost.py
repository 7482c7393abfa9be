"""How long a training takes and what it costs, by arithmetic and an assumed share of the peak.

FLOP of a token, with N frozen parameters in the layers: 2 N forward, 2 N backward (a frozen weight
has no gradient of its own), 6 for each parameter of the adapter; the attention's products beside
them; with checkpointing the forward pass once more (Kaplan et al. 2020, arXiv 2001.08361, sec. 2.1,
counts 2 N and 4 N for full training). A step takes no less time than it takes to read the weights
from memory at each pass, nor than its kernels take to be launched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunesmith.plan.facts import Facts, batch_size, steps_of, usual
from tunesmith.plan.memory import adapter_parameters, linear_parameters, weight_bytes

if TYPE_CHECKING:
    from tunesmith.config import TrainingSettings

TERA = 1e12
# Of the data sheet's peak, assumed: Llama 3 was trained at 0.38 to 0.43 (arXiv 2407.21783,
# table 4), PaLM at 0.46 (arXiv 2204.02311, sec. 4.1).
BF16_SHARE = 0.40
FOUR_BIT_SHARE = 0.30  # every matrix is unpacked at each pass; assumed, not measured
FLOAT32_SHARE = 0.60  # assumed: plain float32 cores are easier to fill
CPU_SHARE = 0.5  # of the matrix product's rate; what is left goes to all that is none
KERNELS = 150  # of a layer, forward and backward, with seven adapters; and of an example in a pack:
KERNELS_AN_EXAMPLE = 12
LAUNCH = 15e-6  # s: an operation of eager PyTorch with the Python around it; assumed


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds of training alone (no loading, no validation), or None; and how they were found."""

    seconds: float | None
    reason: str


def training_flops(settings: TrainingSettings, facts: Facts, *, checkpointing: bool) -> float:
    """FLOP of the whole training."""
    model, fill = facts.model, usual(settings, facts)
    adapter = adapter_parameters(model, settings.lora_r, settings.target_modules, facts.method)
    passes = 3 if checkpointing else 2  # through the frozen weights
    a_token = 2.0 * passes * linear_parameters(model) + (8 if checkpointing else 6) * adapter
    # Query-key and weights-value products over the half below the diagonal; twice that backward.
    attention = 2 * facts.data.length_mean * model.heads * model.head_dim * model.layers
    a_token += (4 if checkpointing else 3) * attention
    head = 4 * model.hidden * model.vocabulary  # forward and backward, at answers alone
    per_example = (fill.tokens * a_token + fill.answers * head) / fill.examples
    return per_example * examples_seen(settings, facts)


def examples_seen(settings: TrainingSettings, facts: Facts) -> float:
    """Examples of all steps together."""
    whole = facts.data.examples * settings.num_train_epochs
    steps = steps_of(settings, facts.data.examples)
    return min(whole, float(steps * batch_size(settings)))


def training_time(settings: TrainingSettings, facts: Facts, *, checkpointing: bool) -> Duration:
    """How long the training takes on this machine; None where its speed is not known."""
    peak, share, what = _speed(facts)
    if not peak:
        return Duration(None, what if peak is None else f"{what} has no bfloat16")
    flops = training_flops(settings, facts, checkpointing=checkpointing)
    computing = flops / (peak * share)
    if facts.gpu is None:
        return Duration(computing, f"{flops:.2g} FLOP at {share:.0%} of {what}")
    fill = usual(settings, facts)
    micro_batches = examples_seen(settings, facts) / fill.examples
    passes = 3 if checkpointing else 2
    reading = passes * weight_bytes(facts) / (facts.gpu.bandwidth * 1e9)
    kernels = KERNELS + KERNELS_AN_EXAMPLE * fill.examples
    launching = kernels * passes / 2 * facts.model.layers * LAUNCH
    floor = micro_batches * max(reading, launching)
    if floor > computing:
        cause = "reading the weights" if reading > launching else "launching kernels"
        return Duration(floor, f"{micro_batches:,.0f} micro-batches, each bound by {cause}")
    return Duration(computing, f"{flops:.2g} FLOP at {share:.0%} of {what}")


def _speed(facts: Facts) -> tuple[float | None, float, str]:
    """(peak FLOP/s, share of it that is assumed, what peak that is)."""
    gpu = facts.gpu
    if gpu is None:
        if facts.flops is None:
            return None, 1.0, f"the speed of {facts.hardware.device_name} is not known"
        return facts.flops, CPU_SHARE, f"the {facts.flops / 1e9:,.0f} GFLOP/s measured here"
    if facts.bytes_per_weight == 4:
        return gpu.fp32 * TERA, FLOAT32_SHARE, f"{gpu.name}'s {gpu.fp32:g} TFLOP/s in float32"
    share = FOUR_BIT_SHARE if facts.four_bit else BF16_SHARE
    return gpu.bf16 * TERA, share, f"{gpu.name}'s {gpu.bf16:g} TFLOP/s in bfloat16"


def cost_of(seconds: float | None, facts: Facts) -> float | None:
    """USD of so many seconds on the machine's GPU; None where either is not known."""
    if seconds is None or facts.gpu is None:
        return None
    return seconds / 3600 * facts.gpu.usd
