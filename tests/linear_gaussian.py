"""Two linear layers under LoRA, Gaussian input, Gaussian labels: every Fisher matrix is known.

W2 W1 x with W1 and W2 orthogonal once the adapters are counted in, x white: then the large factors
that GRIT takes for multiples of the identity are such, and all that is left to get wrong is which
small factor belongs to which gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn

from tunesmith.config.grit import GritConfig
from tunesmith.train.grit import Grit

WIDTH, RANK = 8, 3
LOOK = 20  # a step at which the defaults look at the factors


class TwoLayers(nn.Module):
    """x -> W2 W1 x."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(WIDTH, WIDTH, bias=False)
        self.second = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.second(self.first(x))
        return found


def skewed(rows: int, columns: int) -> Tensor:
    """A random matrix whose singular values span one order of magnitude."""
    left = torch.linalg.qr(torch.randn(rows, rows)).Q
    right = torch.linalg.qr(torch.randn(columns, columns)).Q
    n = min(rows, columns)
    return left[:, :n] @ torch.diag(torch.logspace(0.3, -0.7, n)) @ right[:n]


def two_layers(seed: int, *, alpha: float = 2.0 * RANK, rslora: bool = False) -> PeftModel:
    """The model in the middle of a training: adapters of no symmetry on both layers."""
    torch.manual_seed(seed)
    config = LoraConfig(
        r=RANK,
        lora_alpha=alpha,  # type: ignore[arg-type]
        target_modules=["first", "second"],
        use_rslora=rslora,
    )
    model = get_peft_model(TwoLayers(), config)
    for layer in Grit(model, GritConfig()).layers:
        layer.a.data, layer.b.data = skewed(RANK, WIDTH), skewed(WIDTH, RANK)
        whole = torch.linalg.qr(torch.randn(WIDTH, WIDTH)).Q
        scale = layer.module.scaling["default"]
        layer.module.base_layer.weight.data = whole - scale * layer.b.data @ layer.a.data
    return model


def exactly_white(tokens: int, columns: int) -> Tensor:
    """(tokens, columns): columns of mean square 1, at right angles to one another."""
    return torch.linalg.qr(torch.randn(tokens, columns)).Q * tokens**0.5


def backward(model: nn.Module, x: Tensor, labels: Tensor, *, scale: float = 1.0) -> None:
    """Gradients of the mean squared error per token, halved: the nll of a Gaussian label."""
    model.zero_grad()
    (scale * ((model(x) - labels) ** 2).sum() / (2 * len(x))).backward()


def look(grit: Grit, model: nn.Module, x: Tensor, noise: Tensor, *, scale: float = 1.0) -> None:
    """One look at the factors, with labels drawn from the model itself: the true Fisher matrix. The
    loss is a sum over tokens, so that absolute damping stands beside the gradients of one token."""
    grit.begin(LOOK)
    with torch.no_grad():
        labels = model(x) + noise
    backward(model, x, labels, scale=scale * len(x))
    grit.precondition(LOOK)


@dataclass(frozen=True, slots=True)
class Gradients:
    """Plain and preconditioned gradients of one layer."""

    plain_a: Tensor
    plain_b: Tensor
    natural_a: Tensor
    natural_b: Tensor


def gradients(
    grit: Grit, model: nn.Module, x: Tensor, labels: Tensor, *, scale: float = 1.0
) -> list[Gradients]:
    """Of a batch behind the look, in every layer."""
    grit.begin(LOOK + 1, len(x))
    backward(model, x, labels, scale=scale)
    plain = [(layer.a.grad.clone(), layer.b.grad.clone()) for layer in grit.layers]
    grit.precondition(LOOK + 1)
    return [
        Gradients(*before, layer.a.grad, layer.b.grad)
        for before, layer in zip(plain, grit.layers, strict=True)
    ]


def fisher_blocks(model: nn.Module, x: Tensor, noise: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The Fisher matrices of A and of B in both layers, from the gradients of every single token,
    by torch.func and formulas of their own; float64."""
    layers = Grit(model, GritConfig()).layers
    frozen = [layer.module.base_layer.weight.double() for layer in layers]
    scales = [layer.module.scaling["default"] for layer in layers]
    weights = [p.detach().double() for layer in layers for p in (layer.a, layer.b)]

    def network(own: list[Tensor], token: Tensor) -> Tensor:
        for i, weight in enumerate(frozen):
            token = weight @ token + scales[i] * own[2 * i + 1] @ (own[2 * i] @ token)
        return token

    def loss(own: list[Tensor], token: Tensor, drawn: Tensor) -> Tensor:
        return ((network(own, token) - network(weights, token) - drawn) ** 2).sum() / 2

    each = torch.func.vmap(torch.func.grad(loss), (None, 0, 0))(weights, x.double(), noise.double())
    found = [g.flatten(1).mT @ g.flatten(1) / len(x) for g in each]
    return [(found[0], found[1]), (found[2], found[3])]


def cosine(one: Tensor, other: Tensor) -> float:
    """Of two tensors as vectors."""
    a, b = one.double().flatten(), other.double().flatten()
    return float(a @ b / (a.norm() * b.norm()))
