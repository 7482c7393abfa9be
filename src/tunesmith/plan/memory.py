"""How much memory a training takes at its peak, from the shapes alone.

The peak is the start of the backward pass: everything that autograd saved is there, and the logits
three times. What is saved is counted tensor by tensor for a decoder with gated MLP, grouped queries
and LoRA as this package trains it (`train/fused.py`, `train/loss.py`); frozen weights keep no input
of theirs, so that only what an adapter reads, what a norm, an activation or the attention needs is
there. Korthikanti et al. 2022 (arXiv 2205.05198) count the same for full fine-tuning.
`benchmarks/memory_model.py` holds it against what PyTorch allocates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from tunesmith.plan.facts import Facts, fullest
from tunesmith.records import ModelFacts

if TYPE_CHECKING:
    from tunesmith.config import TrainingSettings

GIB = 2**30
FLOAT32 = 4
# QLoRA (arXiv 2305.14314, sec. 3): half a byte; for every 64 weights a scale, in float32 or, with
# double quantisation, in 8 bits and a float32 for every 256 of them (0.127 bits a weight).
NF4_SINGLE = 0.5 + 4 / 64
NF4_DOUBLE = 0.5 + 1 / 64 + 4 / (64 * 256)
EIGHT_BIT = frozenset({"adamw_8bit", "paged_adamw_8bit"})
SMALL_STATE = 4096  # bitsandbytes keeps the moments of smaller tensors in float32
PEFT_FORWARD = frozenset({"dora", "adalora"})  # the others take train/fused.py's
BLOCK = 256  # 8-bit moments share a float32 scale
CUDA_CONTEXT = GIB // 2  # CUDA, cuBLAS and the kernels that are loaded
CPU_PROCESS = int(0.75 * GIB)  # Python with torch, transformers and peft, before a model
# What a C library keeps of tensors that were freed, as a share of what passes through it in a step:
# measured on Linux (glibc, two workers) by benchmarks/memory_model.py.
HEAP_SHARE, HEAP_SHARE_CHECKPOINTING = 0.45, 0.65


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes at the peak, by what they are for.

    `workspace`: what exists for a moment: a matrix unpacked from 4 bits, gradients of activations.
    `heap`: what the host's allocator keeps of freed tensors. `runtime`: the libraries themselves.
    """

    weights: int
    adapter: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    workspace: int
    heap: int
    runtime: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(asdict(self).values())


def projections(model: ModelFacts) -> Mapping[str, tuple[int, int]]:
    """(inputs, outputs) of the linear maps of one layer, by the names of the Llama family."""
    queries, keys = model.heads * model.head_dim, model.key_value_heads * model.head_dim
    return {
        "q_proj": (model.hidden, queries),
        "k_proj": (model.hidden, keys),
        "v_proj": (model.hidden, keys),
        "o_proj": (queries, model.hidden),
        "gate_proj": (model.hidden, model.intermediate),
        "up_proj": (model.hidden, model.intermediate),
        "down_proj": (model.intermediate, model.hidden),
    }


def linear_parameters(model: ModelFacts) -> int:
    """Parameters of the layers' linear maps, which is what 4-bit loading packs."""
    return model.layers * sum(i * o for i, o in projections(model).values())


def adapted(model: ModelFacts, targets: str | tuple[str, ...]) -> Mapping[str, tuple[int, int]]:
    """Those linear maps of one layer that get an adapter."""
    sides = projections(model)
    return sides if isinstance(targets, str) else {n: sides[n] for n in targets if n in sides}


def adapter_tensors(inputs: int, outputs: int, rank: int, method: str) -> tuple[int, ...]:
    """Trainable parameters of each tensor that a method puts on one linear map.

    AdaLoRA has a singular value for each direction, DoRA a magnitude for each output.
    """
    held = directions(rank, method)
    more = {"adalora": (held,), "dora": (outputs,)}.get(method, ())
    return inputs * held, outputs * held, *more


def directions(rank: int, method: str) -> int:
    """Of one linear map's update at the start; AdaLoRA begins with half again the rank."""
    return -(-3 * rank // 2) if method == "adalora" else rank


def adapter_parameters(
    model: ModelFacts, rank: int, targets: str | tuple[str, ...], method: str = "lora"
) -> int:
    """Trainable parameters of a method with rank `rank` on the named projections of every layer."""
    sides = adapted(model, targets).values()
    return model.layers * sum(sum(adapter_tensors(i, o, rank, method)) for i, o in sides)


def weight_bytes(facts: Facts) -> int:
    """The frozen base: linear maps in 4 bits where asked, embeddings and the rest as they are."""
    packed = linear_parameters(facts.model) if facts.four_bit else 0
    each = NF4_DOUBLE if facts.double_quant else NF4_SINGLE
    return int((facts.model.parameters - packed) * facts.bytes_per_weight + packed * each)


def optimizer_bytes(settings: TrainingSettings, facts: Facts) -> int:
    """Two moments for each parameter of the adapter, or SGD's one; paged ones may leave the card,
    and count."""
    sgd = settings.optim == "sgd" or (facts.method == "grit" and settings.grit.inner == "sgd")
    total = 0
    for inputs, outputs in adapted(facts.model, settings.target_modules).values():
        for held in adapter_tensors(inputs, outputs, settings.lora_r, facts.method):
            small = held < SMALL_STATE or facts.hardware.device != "cuda"
            if sgd:
                total += FLOAT32 * held
            elif settings.optim in EIGHT_BIT and not small:
                total += 2 * (held + FLOAT32 * -(-held // BLOCK))
            else:
                total += 2 * FLOAT32 * held
    return facts.model.layers * total


def estimate_memory(settings: TrainingSettings, facts: Facts, *, checkpointing: bool) -> Memory:
    """Peak memory of a training as `settings` and `facts` have it."""
    model, fill = facts.model, fullest(settings, facts)
    width = facts.bytes_per_weight
    targets = settings.target_modules
    adapter = FLOAT32 * adapter_parameters(model, settings.lora_r, targets, facts.method)
    layer = fill.tokens * layer_bytes(settings, facts)
    inputs = fill.tokens * model.hidden * width  # what checkpointing keeps of each layer
    # The first layer's input needs no gradient; behind the last stands the final norm.
    saved = model.layers * (inputs if checkpointing else layer) + fill.tokens * model.hidden * 4
    # Positions of logits: the answers', or all of them where examples cannot be packed.
    places = fill.answers if settings.packing is not False else fill.tokens
    logits = 3 * FLOAT32 * places * model.vocabulary + (width == 2) * 2 * places * model.vocabulary
    passing = fill.tokens * (2 * model.intermediate + 2 * model.hidden) * width
    passing += layer if checkpointing else 0.0
    largest = max(i * o for i, o in projections(model).values())
    unpacked = largest * width if facts.four_bit else 0
    if facts.method == "dora":  # PEFT multiplies an identity by A and B, and adds that to W
        widest = max((i for i, _ in adapted(model, targets).values()), default=0)
        unpacked += FLOAT32 * (widest**2 + 3 * largest)
    on_host = facts.hardware.device == "cpu"
    share = HEAP_SHARE_CHECKPOINTING if checkpointing else HEAP_SHARE
    return Memory(
        weights=weight_bytes(facts),
        adapter=adapter,
        gradients=adapter,
        optimizer=optimizer_bytes(settings, facts),
        activations=int(saved),
        logits=int(logits),
        workspace=int(max(0.0, passing - logits) + unpacked),
        heap=int(share * (model.layers * layer + logits)) if on_host else 0,
        runtime=CPU_PROCESS if on_host else CUDA_CONTEXT,
    )


def layer_bytes(settings: TrainingSettings, facts: Facts) -> float:
    """Bytes a token that one layer saves for its backward pass, without checkpointing."""
    model, width = facts.model, facts.bytes_per_weight
    with_adapter = adapted(model, settings.target_modules)
    queries, keys = model.heads * model.head_dim, model.key_value_heads * model.head_dim
    elements = 2 * queries + 2 * keys + 3 * model.intermediate  # q, attention's output; k, v; MLP
    # What a frozen map reads is let go; what an adapter reads is kept, once for all that read it
    # but in 16 bit by PEFT's own forward, which casts a copy for each.
    copies = width == 2 and facts.method in PEFT_FORWARD
    for names, size in (
        (("q_proj", "k_proj", "v_proj"), model.hidden),
        (("o_proj",), queries),
        (("gate_proj", "up_proj"), model.hidden),
        (("down_proj",), model.intermediate),
    ):
        readers = len(with_adapter.keys() & set(names))
        elements += size * (readers if copies else min(readers, 1))
    elements += directions(settings.lora_r, facts.method) * len(with_adapter)
    if facts.method == "dora":  # the map's output and the adapter's, which both are scaled
        elements += 2 * sum(o for _, o in with_adapter.values())
    total = float(elements * width)
    total += 2 * model.hidden * FLOAT32  # both norms compute in float32 and keep what they read
    total += FLOAT32 * (model.heads + 2)  # log-sum-exp of the attention, the norms' scales
    if settings.lora_dropout > 0:  # its mask, and what comes out of it, before every adapter
        mask = 1 if facts.hardware.device == "cuda" else width
        total += sum(i for i, _ in with_adapter.values()) * (width + mask)
    return total
