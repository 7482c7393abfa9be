"""K-FAC in the rank space of LoRA: tensors in, tensors out, all layers of one rank in one batch.

y = W x + s B A x with a = A x and delta = s B'g, the loss's gradient at a. Kept are the r x r
factors S_a = E[a a'] and S_d = E[delta delta'] over tokens; the large ones of the K-FAC blocks of
A and B (Martens and Grosse 2015, arXiv 1503.05671) are taken for multiples of the identity. Then
the natural gradients are S_d^-1 dA and dB S_a^-1. Of the two ways to pair factors and gradients it
is the only one that A -> C A, B -> B C^-1 leaves alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

TINY = 1e-30  # a mean eigenvalue below it is none
JITTER = 1e-7  # of the mean eigenvalue: what an eigenvalue of S_a is taken for at least


def trace_mean(factor: Tensor) -> Tensor:
    """Mean eigenvalue of each (..., r, r) factor."""
    return factor.diagonal(dim1=-2, dim2=-1).mean(-1)


def damped_inverse(
    factor: Tensor,
    damping: float,
    mode: Literal["relative", "absolute"],
    how: Literal["cholesky", "eigh"] = "cholesky",
) -> Tensor:
    """The preconditioner of each (m, r, r) factor S, in float32.

    relative: (1 + d) (S / t + d I)^-1 with t the mean eigenvalue: d -> infinity gives the identity,
    and no scale of the loss changes it. absolute: (S + d I)^-1. A factor that is zero, not finite
    or without an inverse gives the identity.
    """
    mean = trace_mean(factor)
    usable = torch.isfinite(factor).all(-1).all(-1) & (mean > TINY)
    one = torch.eye(factor.shape[-1], device=factor.device)
    unit = torch.where(usable, mean, 1.0)[:, None, None]
    scaled = torch.where(usable[:, None, None], factor.float() / unit, one)
    added = damping if mode == "relative" else damping / unit
    damped = scaled + added * one
    if how == "eigh":
        values, vectors = torch.linalg.eigh(damped)
        floor = torch.as_tensor(added, device=factor.device).reshape(-1, 1)
        inverse = (vectors / torch.maximum(values, floor).unsqueeze(-2)) @ vectors.mT
    else:
        root, failed = torch.linalg.cholesky_ex(damped)
        usable = usable & (failed == 0)
        inverse = torch.cholesky_inverse(torch.where(usable[:, None, None], root, one))
    inverse = inverse * (1 + damping) if mode == "relative" else inverse / unit
    return torch.where(usable[:, None, None], inverse, one)


@dataclass(frozen=True, slots=True)
class Directions:
    """Directions of each layer's rank space, the strongest first.

    The first k of them are kept by B left[:, :k] right[:k] A; all r of them change nothing where
    left and right are inverse to one another (they are not for the two-sided projector).
    """

    left: Tensor  # (m, r, r)
    right: Tensor  # (m, r, r)
    energy: Tensor  # (m, r), what each is worth by the projector's own reckoning
    crossed: bool = False  # two-sided: A is projected by `right`, B by `left`, each for itself


def directions(
    input_factor: Tensor,
    gradient_factor: Tensor,
    projector: Literal["balanced", "one_sided", "two_sided"],
) -> Directions:
    """Which directions to keep, by S_a and S_d, each (m, r, r).

    balanced: S_a = L L', L' S_d L = V E V', left = L V, right = V' L^-1; keeping k of them costs
    the sum of the other energies, the least that any projector of rank k can (the K-FAC cost
    tr((I - P)' S_d (I - P) S_a) is a Frobenius norm in these coordinates; Eckart and Young 1936).
    one_sided: eigenvectors of S_a. two_sided: of S_a for A and of S_d for B, as published.
    """
    a, d = _wide(input_factor), _wide(gradient_factor)
    if projector == "balanced":
        # Not Cholesky's: rounding makes the factor of few tokens, or of few directions, indefinite.
        values, vectors = _strongest_first(a)
        roots = values.maximum((JITTER * trace_mean(a) + TINY)[:, None]).sqrt()[:, None, :]
        root = vectors * roots
        values, turned = _strongest_first(root.mT @ d @ root)
        return Directions(root @ turned, turned.mT @ (vectors / roots).mT, values)
    values, vectors = _strongest_first(a)
    if projector == "one_sided":
        return Directions(vectors, vectors.mT, values)
    energy, other = _strongest_first(d)
    # B U_d U_d' U_a U_a' A, cut to k: what stands between is cut in `cut`.
    # Of two spectra in different units, their shares.
    shares = [found / found.sum(-1, keepdim=True).clamp_min(TINY) for found in (values, energy)]
    return Directions(other, vectors.mT, torch.minimum(*shares), crossed=True)


def cut(found: Directions, layer: int, k: int) -> tuple[Tensor, Tensor]:
    """(r, k) and (k, r) for one layer: B left right A is what k directions keep of B A."""
    left, right = found.left[layer, :, :k], found.right[layer, :k]
    return (left @ left.mT @ right.mT if found.crossed else left), right


def projectors(found: Directions, layer: int, k: int) -> tuple[Tensor, Tensor]:
    """(r, r) each for B's columns and A's rows: B P_B P_A A is what k directions keep of B A."""
    left, right = found.left[layer, :, :k], found.right[layer, :k]
    if found.crossed:
        return left @ left.mT, right.mT @ right
    return left @ right, left @ right


def kfac_cost(between: Tensor, input_factor: Tensor, gradient_factor: Tensor) -> Tensor:
    """E[(g' s B (I - M) A x)^2] = tr((I - M)' S_d (I - M) S_a) for M between B and A, by K-FAC's
    independence of a and g; scalar."""
    one = torch.eye(between.shape[-1], dtype=between.dtype, device=between.device)
    lost = one - between
    a, d = input_factor.to(lost.dtype), gradient_factor.to(lost.dtype)
    return torch.trace(lost.mT @ d @ lost @ a)


def loss_change(
    between: Tensor, crossed: Tensor, input_factor: Tensor, gradient_factor: Tensor
) -> Tensor:
    """What the loss of a token is expected to change by where B M A stands for B A, M = `between`,
    to second order, with `crossed` = E[a delta'] and the Fisher matrix for the Hessian; scalar."""
    one = torch.eye(between.shape[-1], dtype=between.dtype, device=between.device)
    first = torch.trace((between - one) @ crossed.to(between.dtype))
    return first + kfac_cost(between, input_factor, gradient_factor) / 2


def energy_kept(between: Tensor, input_factor: Tensor, gradient_factor: Tensor) -> Tensor:
    """Share of E[(g' s B A x)^2] that B M A keeps, M = `between`; scalar, at most 1."""
    lost = kfac_cost(between, input_factor, gradient_factor)
    whole = kfac_cost(torch.zeros_like(between), input_factor, gradient_factor)
    return 1 - lost / whole.clamp_min(TINY)


def both(on_inputs: Tensor, on_gradients: Tensor) -> Tensor:
    """One (2k, 2r) matrix, in float32, that turns z = [a, delta]."""
    k, r = on_inputs.shape
    whole = torch.zeros(2 * k, 2 * r, dtype=torch.float32, device=on_inputs.device)
    whole[:k, :r], whole[k:, r:] = on_inputs, on_gradients
    return whole


def ranks_for(energy: Tensor, threshold: float, least: int) -> Tensor:
    """The smallest number of directions that hold `threshold` of the energy, (m,); at least
    `least`, and all of them where there is no energy."""
    positive = energy.clamp_min(0)
    total = positive.sum(-1, keepdim=True)
    share = positive.cumsum(-1) / total.clamp_min(TINY)
    enough = (share < threshold - 1e-12).sum(-1) + 1
    r = energy.shape[-1]
    return torch.where(total[:, 0] > TINY, enough, r).clamp(min(least, r), r)


def effective_rank(energy: Tensor) -> Tensor:
    """exp of the entropy of the normalised energies (Roy and Vetterli 2007, eq. 4), (m,); in 1..r,
    0 where there is no energy."""
    positive = energy.clamp_min(0)
    total = positive.sum(-1, keepdim=True)
    share = positive / total.clamp_min(TINY)
    entropy = -(share * share.clamp_min(TINY).log()).sum(-1)
    return torch.where(total[:, 0] > TINY, entropy.exp(), torch.zeros_like(entropy))


def condition(factor: Tensor) -> Tensor:
    """Largest over smallest eigenvalue of each (m, r, r) factor; infinity where it is singular."""
    values = torch.linalg.eigvalsh(_wide(factor))
    found: Tensor = values[:, -1] / values[:, 0].clamp_min(0)
    return found.nan_to_num(torch.inf, posinf=torch.inf)  # 0 / 0: no direction at all


def _wide(factor: Tensor) -> Tensor:
    """In float64 where the device has it."""
    return factor.float() if factor.device.type == "mps" else factor.double()


def _strongest_first(symmetric: Tensor) -> tuple[Tensor, Tensor]:
    values, vectors = torch.linalg.eigh((symmetric + symmetric.mT) / 2)
    return values.flip(-1), vectors.flip(-1)
