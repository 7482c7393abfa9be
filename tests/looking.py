"""GRIT in the middle of a training, and the second moments that one look gives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tiny_models import load_base
from tunesmith.config import TrainingSettings
from tunesmith.models.load import Loaded
from tunesmith.models.render import Encoded
from tunesmith.records import Adapter, LayerReport, TrainingStep
from tunesmith.train.adapter_layers import adapter_layers
from tunesmith.train.batches import Batch, pad
from tunesmith.train.computing import Computation
from tunesmith.train.grit import Grit, GritMethod
from tunesmith.train.job import TrainingJob
from tunesmith.train.loop import train
from tunesmith.train.loss import answer_nll
from tunesmith.train.method import get_method
from tunesmith.train.signals import StopSignals

OFTEN = {"factor_update_freq": 2, "min_samples": 1}
CHANGING = {**OFTEN, "reprojection_freq": 2, "reprojection_k": 2}
LOOK = 2  # a step at which GRIT looks


def with_grit(
    loaded: Loaded, examples: Sequence[Encoded], settings: TrainingSettings, **changes: Any
) -> Computation:
    """What the loop computes by, with the method grit on a base and adapters that are not zero."""
    torch.manual_seed(3)
    settings = TrainingSettings.model_validate(settings.model_dump() | changes)
    method = get_method("grit")
    model = method.attach(loaded.model, settings)
    fill(model)
    job = TrainingJob("grit", examples, examples[:2], settings, 1, Path())
    model.train()
    return Computation(loaded, model, method, job, StopSignals())


def fill(model: nn.Module) -> None:
    """Every B as in the middle of a training."""
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1)


def core(compute: Computation) -> GritMethod:
    """The method, by its own type."""
    assert isinstance(compute.method, GritMethod)
    return compute.method


def sums_of(compute: Computation, examples: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
    """Moments (layers, 2r, 2r) and counts (layers, 2) of one step, as the loop computes them."""
    with compute.ready():
        compute.gradients(list(examples), LOOK)
    found = compute.method.statistics()
    return found[0].clone(), found[1].clone()


def explicit(model: nn.Module, batch: Batch, answers: int) -> tuple[Tensor, Tensor]:
    """The same sums by definition, token by token, with a model in float64: inputs x and gradients
    g at the outputs are caught on the way through PEFT's own layers; a = A x, delta = s B'g."""
    layers = adapter_layers(model.double(), "default")
    entering: dict[str, Tensor] = {}
    leaving: dict[str, Tensor] = {}

    def catch(name: str) -> Any:
        def hook(_: Any, args: tuple[Tensor, ...], out: Tensor) -> None:
            entering[name] = args[0].detach().flatten(0, -2)
            out.register_hook(lambda g: leaving.__setitem__(name, g.flatten(0, -2)))

        return hook

    hooks = [layer.module.register_forward_hook(catch(layer.name)) for layer in layers]
    (answer_nll(model, batch) / answers).backward()
    for hook in hooks:
        hook.remove()
    moments, counts = [], []
    for layer in layers:
        scale = layer.module.scaling[layer.adapter]
        a = entering[layer.name] @ layer.a.data.T
        delta = scale * leaving[layer.name] @ layer.b.data
        least = 1e-12 * float(delta.norm(dim=1).max())
        live = [t for t in range(len(a)) if float(delta[t].norm()) > least]
        found = torch.zeros(2 * layer.rank, 2 * layer.rank, dtype=torch.float64)
        for z in torch.cat([a[live], delta[live]], 1):
            found += torch.outer(z, z)
        moments.append(found)
        counts.append([len(live), len(a)])
    model.zero_grad()
    model.float()
    return torch.stack(moments), torch.tensor(counts)


def off(found: Tensor, expected: Tensor) -> float:
    """The largest distance over layers and factors, each in norms of its own: A x and its gradient
    are of different sizes."""
    r = found.shape[-1] // 2
    a, delta = slice(0, r), slice(r, 2 * r)
    worst = 0.0
    for rows, columns in ((a, a), (delta, delta)):
        one, other = found[:, rows, columns].double(), expected[:, rows, columns].double()
        distance = (one - other).flatten(1).norm(dim=1) / other.flatten(1).norm(dim=1)
        worst = max(worst, float(distance.max()))
    return worst


class KilledError(Exception):
    """What ends a training in the middle."""


def run(
    loaded: Loaded,
    examples: Sequence[Encoded],
    settings: TrainingSettings,
    directory: Path,
    *,
    method: str = "grit",
    kill_at: int = 0,
    **changes: Any,
) -> tuple[Adapter, list[TrainingStep], list[str], list[LayerReport]]:
    """Train; the adapter, the steps, the lines said and the layers' reports."""
    steps: list[TrainingStep] = []
    said: list[str] = []
    layers: list[LayerReport] = []

    def on_step(step: TrainingStep) -> None:
        if step.step == kill_at:
            raise KilledError
        steps.append(step)

    job = TrainingJob(
        name="variant",
        train=examples,
        validation=examples[:6],
        settings=TrainingSettings.model_validate(settings.model_dump() | changes),
        seed=1,
        directory=directory,
        on_step=on_step,
        on_layers=layers.extend,
        say=said.append,
    )
    return train(loaded, get_method(method), job), steps, said, layers


def weights(adapter: Adapter) -> dict[str, Tensor]:
    return load_file(adapter.directory / "adapter_model.safetensors")


def logits(model: Any, example: Encoded) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(input_ids=torch.tensor([example.ids])).logits[0]
    return found


def look(compute: Computation, examples: Sequence[Encoded], step: int = LOOK) -> None:
    grit, answers = core(compute).core, sum(e.answer_tokens for e in examples)
    compute.model.zero_grad()
    grit.begin(step, answers)
    (answer_nll(compute.model, pad(examples, 0)) / answers).backward()
    grit.precondition(step)


def plain_gradients(
    compute: Computation, examples: Sequence[Encoded]
) -> list[tuple[Tensor, Tensor]]:
    compute.model.zero_grad()
    (answer_nll(compute.model, pad(examples, 0)) / 30).backward()
    return [(layer.a.grad, layer.b.grad) for layer in core(compute).core.layers]


def change(compute: Computation, **knobs: Any) -> Grit:
    """The same statistics under other settings."""
    grit = core(compute).core
    grit.config = grit.config.model_copy(update={**CHANGING, **knobs})
    return grit


def looked_at(base: Path, examples: Sequence[Encoded], settings: TrainingSettings) -> Computation:
    """GRIT on the base behind one look at four examples, every gradient there."""
    compute = with_grit(load_base(base), examples, settings, packing=False, grit=OFTEN)
    look(compute, examples[:4])
    return compute
