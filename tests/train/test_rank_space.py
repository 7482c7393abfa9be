"""The mathematics of GRIT against brute force and closed forms. Each test begins with its
tolerance, and shows beside what holds what does not: the plain gradient, the published pairing, or
another projector."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from peft.optimizers import create_riemannian_optimizer
from torch import Tensor

from linear_gaussian import (
    RANK,
    WIDTH,
    Gradients,
    backward,
    cosine,
    exactly_white,
    fisher_blocks,
    gradients,
    look,
    skewed,
    two_layers,
)
from tunesmith.config.grit import GritConfig
from tunesmith.train import rank_space
from tunesmith.train.grit import Grit

TOKENS = 100_000


def relative(found: Tensor, expected: Tensor) -> float:
    """Distance, in norms of what was expected."""
    return float((found.double() - expected.double()).norm() / expected.double().norm())


def random_factors(layers: int, r: int, seed: int) -> tuple[Tensor, Tensor]:
    """Second moments of random tokens in random coordinates, (layers, r, r) each, float64."""
    torch.manual_seed(seed)
    scale = torch.logspace(0, -1.5, r, dtype=torch.float64)
    tokens = [torch.randn(layers, 6 * r, r, dtype=torch.float64) * scale for _ in range(2)]
    mixed = [z @ torch.randn(layers, r, r, dtype=torch.float64) for z in tokens]
    inputs, gradients = (z.mT @ z / z.shape[1] for z in mixed)
    return inputs, gradients


def test_kfac_is_the_exact_block_fishers_natural_gradient_and_published_is_worse_than_none() -> (
    None
):
    """Error of the natural gradient at most 3 standard errors of the brute-force Fisher matrix of
    100,000 tokens, 3 sqrt(24 / 100,000) = 4.6 %; all four blocks of four random models.

    Mean cosines with the exact one: 0.9997 (kfac), 0.31 (plain), 0.23 (published)."""
    cosines: dict[str, list[float]] = {"kfac": [], "published": [], "plain": []}
    for seed in range(4):
        model = two_layers(seed)
        x, noise = torch.randn(TOKENS, WIDTH), torch.randn(TOKENS, WIDTH)
        labels = x @ torch.randn(WIDTH, WIDTH)
        fishers = fisher_blocks(model, x, noise)
        found: dict[str, list[Gradients]] = {}
        for pairing in ("kfac", "published"):
            grit = Grit(model, GritConfig(pairing=pairing, damping=1e-5))
            look(grit, model, x, noise)
            found[pairing] = gradients(grit, model, x, labels)
            grit.detach()
        for layer, side in itertools.product(range(2), (0, 1)):
            name = "ab"[side]
            plain = getattr(found["kfac"][layer], f"plain_{name}")
            exact = torch.linalg.solve(fishers[layer][side], plain.double().flatten())
            natural = {p: getattr(found[p][layer], f"natural_{name}") for p in found}
            for pairing, gradient in {**natural, "plain": plain}.items():
                cosines[pairing].append(cosine(exact, gradient))
            size = natural["kfac"].double().flatten()
            error = relative(size * (size @ exact) / (size @ size), exact)
            assert error < 3 * math.sqrt(RANK * WIDTH / TOKENS)
    mean = {pairing: sum(values) / len(values) for pairing, values in cosines.items()}
    assert min(cosines["kfac"]) > 0.999
    assert mean["published"] < mean["plain"] - 0.05 < 0.4


def test_the_step_is_the_closed_form_natural_gradient_step() -> None:
    """Relative 1e-3 (damping 1e-5, float32). Where the loss is quadratic and the noise exactly
    white, one natural-gradient step in A alone, or in B alone, lands on its least squares; one of
    the published pairing does not come near, nor does the plain gradient at the same length."""
    model = two_layers(0)
    white = exactly_white(400, 3 * WIDTH)
    x, noise, other = white.split(WIDTH, dim=1)
    for pairing in ("kfac", "published"):
        grit = Grit(model, GritConfig(pairing=pairing, damping=1e-5))
        look(grit, model, x, noise)
        second = grit.layers[1]
        scale = second.module.scaling["default"]
        with torch.no_grad():
            entering = model.base_model.model.first(x)  # W1 is orthogonal: white again
            labels = model(x) + entering @ torch.randn(WIDTH, WIDTH) + other
        found = gradients(grit, model, x, labels)[1]
        inputs, of_gradients = (s[1] for s in grit.seen.families[0].factors())
        rest = (labels - entering @ second.module.base_layer.weight.T).detach()
        low = entering.detach() @ second.a.data.T
        best_b = torch.linalg.lstsq(scale * low, rest).solution.T
        best_a = torch.linalg.pinv(scale * second.b.data) @ (
            torch.linalg.lstsq(entering.detach(), rest).solution.T
        )
        # P is normalised by the mean eigenvalue, and leaves s^2 out of B's block.
        lengths = (1 / of_gradients.trace() * RANK, 1 / inputs.trace() * RANK / scale**2)
        for weight, natural, plain, best, length in (
            (second.a, found.natural_a, found.plain_a, best_a, lengths[0]),
            (second.b, found.natural_b, found.plain_b, best_b, lengths[1]),
        ):
            away = best - weight.data
            if pairing == "kfac":
                assert relative(-length * natural, away) < 1e-3
                assert cosine(plain, away) > -0.9
            else:
                assert cosine(natural, away) > -0.9
        grit.detach()


@pytest.mark.parametrize("how", ["cholesky", "eigh"])
def test_much_damping_or_a_round_factor_gives_the_plain_gradient(how: str) -> None:
    """1e-5 absolute on a matrix that should be the identity. Counter: damping 1e-2 on a factor that
    is not round is off by more than 1."""
    inputs, one = random_factors(5, 4, seed=1)[0].float(), torch.eye(4)
    much = rank_space.damped_inverse(inputs, 1e6, "relative", how)
    torch.testing.assert_close(much, one.expand(5, 4, 4), atol=1e-5, rtol=0)
    for size in (1e-20, 1.0, 1e20):
        found = rank_space.damped_inverse(size * one[None], 1e-2, "relative", how)
        torch.testing.assert_close(found, one[None], atol=1e-5, rtol=0)
    little = rank_space.damped_inverse(inputs, 1e-2, "relative", how)
    assert (little - one).abs().amax((-2, -1)).min() > 1


def test_the_loss_s_scale_changes_nothing_but_with_absolute_damping() -> None:
    """Relative 1e-4 (float32) for a loss times 1e-6 and 1e6: the preconditioned gradient is to the
    plain one what it was. Counter: absolute damping, as published, is off by more than 10 %."""
    for mode, same in (("relative", True), ("absolute", False)):
        found = {}
        for scale in (1e-6, 1.0, 1e6):
            model = two_layers(0)
            grit = Grit(model, GritConfig(damping_mode=mode))
            x = torch.randn(500, WIDTH)
            look(grit, model, x, torch.randn(500, WIDTH), scale=scale)
            found[scale] = gradients(grit, model, x, 0 * x, scale=scale)
        for scale, layer in itertools.product((1e-6, 1e6), (0, 1)):
            one, other = found[1.0][layer], found[scale][layer]
            assert relative(other.plain_a / scale, one.plain_a) < 1e-4
            assert (relative(other.natural_a / scale, one.natural_a) < 1e-4) is same
            assert same or relative(other.natural_a / scale, one.natural_a) > 0.1
            # B's gradient goes by the inputs' factor, which no scale of the loss reaches.
            assert relative(other.natural_b / scale, one.natural_b) < 1e-4


def step_of(
    change: Tensor | None, step: Callable[[Grit], None], config: GritConfig, rate: float
) -> list[Tensor]:
    """How one step of SGD changes B A in each layer, with A -> C A and B -> B C^-1 before it."""
    model = two_layers(3)
    grit = Grit(model, config)
    for layer in grit.layers if change is not None else ():
        layer.a.data = (change @ layer.a.data.double()).float()
        layer.b.data = (layer.b.data.double() @ torch.linalg.inv(change)).float()
    torch.manual_seed(5)
    x, noise = torch.randn(2000, WIDTH) * torch.logspace(0, 0.5, WIDTH), torch.randn(2000, WIDTH)
    look(grit, model, x, noise)
    labels = x @ torch.randn(WIDTH, WIDTH)
    backward(model, x, labels)
    grit.begin(21)
    step(grit)
    before = [layer.b.data.double() @ layer.a.data.double() for layer in grit.layers]
    torch.optim.SGD(model.parameters(), lr=rate).step()
    after = [layer.b.data.double() @ layer.a.data.double() for layer in grit.layers]
    return [now - then for now, then in zip(after, before, strict=True)]


def natural(grit: Grit) -> None:
    grit.precondition(21)


def test_the_update_of_b_a_does_not_depend_on_the_coordinates_of_the_rank_space() -> None:
    """Relative 1e-4 (float32 weights and factors, damping next to nothing), for A -> C A and
    B -> B C^-1 with a C of condition 3 and with C = 3 I. Counters, each off by more than 30 %: the
    plain gradient, and the published pairing."""
    torch.manual_seed(9)
    exact = {"damping_mode": "absolute", "damping": 1e-9}
    kfac, published = GritConfig(**exact), GritConfig(**exact, pairing="published")
    turned_and_stretched = torch.linalg.qr(torch.randn(RANK, RANK)).Q @ torch.diag(
        torch.tensor([0.6, 1.0, 1.8])
    )
    for change in (turned_and_stretched.double(), 3 * torch.eye(RANK).double()):
        for config, step, rate, same in (
            (kfac, natural, 1e-2, True),
            (published, natural, 1e-2, False),
            (kfac, lambda _: None, 1e-2, False),
        ):
            straight, turned = (step_of(c, step, config, rate) for c in (None, change))
            for one, other in zip(straight, turned, strict=True):
                assert relative(other, one) < 1e-4 if same else relative(other, one) > 0.3


def test_relative_damping_is_invariant_but_for_one_factor_in_each_of_a_and_b() -> None:
    """Cosine 1 - 1e-4, of A's part of the change and of B's. P is normalised by the mean eigenvalue
    (so that much damping is the plain gradient), which the coordinates do change: under A -> c A
    the two parts grow by 1 / c^2 and c^2 against one another, as the plain gradient's. Adam does
    not see a factor of a whole matrix; SGD does."""
    config, scale = GritConfig(damping=1e-6), 3.0
    parts: list[list[tuple[Tensor, Tensor]]] = []
    for c in (1.0, scale):
        model = two_layers(3)
        grit = Grit(model, config)
        for layer in grit.layers:
            layer.a.data, layer.b.data = c * layer.a.data, layer.b.data / c
        torch.manual_seed(5)
        x, noise = torch.randn(2000, WIDTH) @ skewed(WIDTH, WIDTH), torch.randn(2000, WIDTH)
        look(grit, model, x, noise)
        found = gradients(grit, model, x, 0 * x)
        parts.append(
            [
                (layer.b.data @ g.natural_a, g.natural_b @ layer.a.data)
                for layer, g in zip(grit.layers, found, strict=True)
            ]
        )
    for (a, b), (a_scaled, b_scaled) in zip(*parts, strict=True):
        assert cosine(a, a_scaled) > 1 - 1e-4
        assert cosine(b, b_scaled) > 1 - 1e-4
        assert float(a_scaled.norm() / a.norm()) == pytest.approx(scale**-2, rel=1e-3)
        assert float(b_scaled.norm() / b.norm()) == pytest.approx(scale**2, rel=1e-3)


def test_with_white_inputs_and_noise_it_is_pefts_riemannian_preconditioner() -> None:
    """Relative 1e-4 (float32), A and B behind one step of SGD. With S_a = A A' and S_d = s^2 B'B,
    absolute damping d is PEFT's reg = d where s = 1; else PEFT leaves s out: A's step is 1 / s^2 of
    its with reg = d / s^2, B's the same with reg = d. Counter: the published pairing is off by more
    than 30 %."""
    for scale, pairing in ((1.0, "kfac"), (2.0, "kfac"), (1.0, "published")):
        moved: dict[str, list[Tensor]] = {}
        for who in ("grit", "peft_a", "peft_b"):
            model = two_layers(1, alpha=scale * RANK)
            config = GritConfig(damping=1e-2, damping_mode="absolute", pairing=pairing)
            grit = Grit(model, config)
            torch.manual_seed(2)
            x, noise = exactly_white(400, 2 * WIDTH).split(WIDTH, dim=1)
            look(grit, model, x, noise)
            labels = x @ torch.randn(WIDTH, WIDTH)
            reg = 1e-2 / scale**2 if who == "peft_a" else 1e-2
            optimizer = (
                torch.optim.SGD(model.parameters(), lr=1e-2)
                if who == "grit"
                else create_riemannian_optimizer(model, torch.optim.SGD, lr=1e-2, reg=reg)
            )
            before = [p.detach().clone() for layer in grit.layers for p in (layer.a, layer.b)]
            backward(model, x, labels)
            if who == "grit":
                grit.precondition(21)
            optimizer.step()
            after = [p.detach() for layer in grit.layers for p in (layer.a, layer.b)]
            moved[who] = [now - then for now, then in zip(after, before, strict=True)]
        for i, found in enumerate(moved["grit"]):
            expected = moved["peft_a"][i] / scale**2 if i % 2 == 0 else moved["peft_b"][i]
            off = relative(found, expected)
            assert off < 1e-4 if pairing == "kfac" else off > 0.3


def test_absolute_damping_is_the_inverse_it_says() -> None:
    """Relative 1e-4 (float32) against torch.linalg.inv in float64, sizes 1e-6 to 1e6, both ways."""
    inputs = random_factors(4, 5, seed=2)[0] + 0.1 * torch.eye(5)
    for size, how in itertools.product((1e-6, 1.0, 1e6), ("cholesky", "eigh")):
        expected = torch.linalg.inv(size * inputs + 1e-2 * torch.eye(5).double())
        found = rank_space.damped_inverse((size * inputs).float(), 1e-2, "absolute", how)
        for one, other in zip(found, expected, strict=True):
            assert relative(one, other) < 1e-4


def test_factors_that_say_nothing_give_the_identity() -> None:
    """To the bit: zeros, what is not finite, and what has no positive inverse."""
    one = torch.eye(3)
    bad = torch.stack([0 * one, torch.inf * one, torch.full((3, 3), math.nan), -one, 1e-35 * one])
    for mode in ("relative", "absolute"):
        found = rank_space.damped_inverse(bad, 1e-2, mode)
        assert torch.equal(found, one.expand(5, 3, 3))
        good = rank_space.damped_inverse(torch.stack([0 * one, 4 * one + 1]), 1e-2, mode)
        assert torch.equal(good[0], one)
        assert not torch.allclose(good[1], one)


PROJECTORS = ("balanced", "one_sided", "two_sided")


@pytest.mark.parametrize("projector", PROJECTORS)
def test_a_projection_done_twice_is_done_once_and_with_all_directions_it_is_none(
    projector: str,
) -> None:
    """1e-8 (float64): P P = P and rank k; k = r is the identity, energies fall. Counter: the square
    of a damped inverse is not itself."""
    inputs, of_gradients = random_factors(3, 6, seed=4)
    found = rank_space.directions(inputs, of_gradients, projector)
    one = torch.eye(6).double()
    for layer, k in itertools.product(range(3), range(1, 7)):
        for p in rank_space.projectors(found, layer, k):
            torch.testing.assert_close(p @ p, p, atol=1e-8, rtol=0)
            assert float(p.trace()) == pytest.approx(k, abs=1e-8)
            assert k < 6 or torch.allclose(p, one, atol=1e-8)
        left, right = rank_space.cut(found, layer, k)
        on_b, on_a = rank_space.projectors(found, layer, k)
        torch.testing.assert_close(left @ right, on_b @ on_a, atol=1e-8, rtol=0)
    assert (found.energy.diff(dim=-1) <= 1e-12).all()
    damped = rank_space.damped_inverse(inputs, 1e-2, "relative")
    assert not torch.allclose(damped @ damped, damped, atol=0.1)


def test_what_the_balanced_projector_costs_is_the_energy_it_discards() -> None:
    """1e-8 relative for the K-FAC cost (float64), 3 % for E[(g's B (I - P) A x)^2] on 200,000 fresh
    tokens (their standard error: 0.5 %). Counter: the other projectors' own energies do not say it
    to 10 %."""
    inputs, of_gradients = random_factors(4, 6, seed=5)
    for projector in PROJECTORS:
        found = rank_space.directions(inputs, of_gradients, projector)
        off = []
        for layer, k in itertools.product(range(4), (1, 2, 4)):
            left, right = rank_space.cut(found, layer, k)
            cost = rank_space.kfac_cost(left @ right, inputs[layer], of_gradients[layer])
            discarded = float(found.energy[layer, k:].sum())
            off.append(abs(float(cost) / discarded - 1))
            if projector != "balanced":
                continue
            share = rank_space.energy_kept(left @ right, inputs[layer], of_gradients[layer])
            kept = found.energy[layer, :k].sum() / found.energy[layer].sum()
            assert float(share) == pytest.approx(float(kept), rel=1e-8)
            a, delta = (
                torch.randn(200_000, 6).double() @ torch.linalg.cholesky(s[layer]).mT
                for s in (inputs, of_gradients)
            )
            lost = torch.eye(6).double() - left @ right
            measured = float((delta * (a @ lost.mT)).sum(1).square().mean())
            assert measured == pytest.approx(discarded, rel=0.03)
        assert max(off) < 1e-8 if projector == "balanced" else max(off) > 0.1


def test_no_projector_costs_less_than_the_balanced_one() -> None:
    """To rounding (1e-9 relative): 40 random layers against one_sided, two_sided, 2,000 random
    oblique projectors each, and small turns of the best one."""
    inputs, of_gradients = random_factors(40, 4, seed=6)
    costs = {}
    for projector in PROJECTORS:
        found = rank_space.directions(inputs, of_gradients, projector)
        between = [torch.matmul(*rank_space.cut(found, i, 2)) for i in range(40)]
        each = [rank_space.kfac_cost(*z) for z in zip(between, inputs, of_gradients, strict=True)]
        costs[projector] = torch.stack(each)
        if projector == "balanced":
            best = torch.stack(between)
    assert (costs["balanced"] <= costs["one_sided"] * (1 + 1e-9)).all()
    assert (costs["balanced"] <= costs["two_sided"] * (1 + 1e-9)).all()
    shares = {name: float((cost / costs["balanced"]).median()) for name, cost in costs.items()}
    assert shares["one_sided"] > 1.2, shares
    assert shares["two_sided"] > 1.5, shares
    left, right = torch.randn(2000, 1, 4, 2).double(), torch.randn(2000, 1, 2, 4).double()
    wild = left @ torch.linalg.inv(right @ left) @ right
    turn = torch.linalg.matrix_exp(1e-3 * torch.randn(2000, 1, 4, 4).double())
    near = turn @ best @ torch.linalg.inv(turn)
    for others in (wild, near):
        lost = torch.eye(4).double() - others
        cost = torch.einsum("nmji,mjk,nmkl,mli->nm", lost, of_gradients, lost, inputs)
        assert (cost >= costs["balanced"] * (1 - 1e-9)).all()


def test_the_balanced_projector_goes_along_with_the_coordinates() -> None:
    """1e-7 (float64): under A -> C A, B -> B C^-1 its P becomes C P C^-1, its energies stay; those
    of the other two do not."""
    inputs, of_gradients = random_factors(3, 5, seed=7)
    c = torch.randn(5, 5).double()
    back = torch.linalg.inv(c)
    turned = c @ inputs @ c.mT, back.mT @ of_gradients @ back
    for projector in PROJECTORS:
        one = rank_space.directions(inputs, of_gradients, projector)
        other = rank_space.directions(*turned, projector)
        for layer in range(3):
            here = c @ torch.matmul(*rank_space.cut(one, layer, 2)) @ back
            there = torch.matmul(*rank_space.cut(other, layer, 2))
            assert torch.allclose(here, there, atol=1e-7) is (projector == "balanced")
        same = torch.allclose(one.energy, other.energy, rtol=1e-7)
        assert same is (projector == "balanced")


@pytest.mark.parametrize("projector", PROJECTORS)
def test_directions_of_factors_without_full_rank(projector: str) -> None:
    """Finite figures, 1e-4 relative, where there are fewer tokens than directions, one direction
    outshines all others, or there is nothing: what a layer looks like after freeze, say."""
    for tokens, mean in ((3, 0.0), (3, 30.0), (4096, 30.0), (0, 0.0)):
        a, delta = torch.randn(2, tokens, 16) + mean, torch.randn(2, tokens, 16)
        inputs, of_gradients = (z.mT @ z / max(tokens, 1) for z in (a, delta))
        found = rank_space.directions(inputs, of_gradients, projector)
        assert all(t.isfinite().all() for t in (found.left, found.right, found.energy))
        left, right = rank_space.cut(found, 0, 1)
        p = left @ right
        assert projector == "two_sided" or torch.allclose(p @ p, p, atol=1e-4 * float(p.norm()))
        again = rank_space.directions(
            p.float() @ inputs @ p.float().mT, p.float().mT @ of_gradients @ p.float(), projector
        )
        assert again.energy.isfinite().all()


def test_figures_of_a_spectrum() -> None:
    """1e-6. Ranks that hold a share of the energy, the entropy's rank, conditions; none of them is
    NaN where there is nothing."""
    energy = torch.tensor([[90.0, 9.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    assert rank_space.ranks_for(energy, 0.9, 1).tolist() == [1, 4, 4]
    assert rank_space.ranks_for(energy, 0.99, 1).tolist() == [2, 4, 4]
    assert rank_space.ranks_for(energy, 0.9, 3).tolist() == [3, 4, 4]
    assert rank_space.ranks_for(energy, 1.0, 9).tolist() == [4, 4, 4]
    shares = torch.tensor([0.9, 0.09, 0.01])
    expected = [float((-(shares * shares.log()).sum()).exp()), 4.0, 0.0]
    assert rank_space.effective_rank(energy).tolist() == pytest.approx(expected, abs=1e-6)
    factors = torch.stack([torch.diag(torch.tensor([4.0, 2.0])), torch.zeros(2, 2)])
    assert rank_space.condition(factors).tolist() == pytest.approx([2.0, math.inf])


def test_the_expected_change_of_the_loss_is_its_second_order_expansion() -> None:
    """1e-3 relative, against a loss that is quadratic in B M A: with the exact Fisher matrix, which
    the true labels' noise gives here, prediction and measurement agree."""
    model = two_layers(2)
    x, noise = exactly_white(400, 2 * WIDTH).split(WIDTH, dim=1)
    grit = Grit(model, GritConfig(compact_at_end=False))
    look(grit, model, x, noise)
    inputs, of_gradients = grit.seen.families[0].factors()
    crossed = grit.seen.families[0].crossed()
    second = grit.layers[1]
    found = rank_space.directions(inputs, of_gradients, "balanced")
    labels = model(x).detach() + noise
    for k in (1, 2):
        left, right = rank_space.cut(found, 1, k)
        p = (left @ right).float()
        predicted = rank_space.loss_change(p, crossed[1], inputs[1], of_gradients[1])
        before = second.b.data.clone()
        with torch.no_grad():
            losses = []
            for b in (before, before @ p):
                second.b.data = b
                losses.append(float(((model(x) - labels) ** 2).sum() / (2 * len(x))))
            second.b.data = before
        assert losses[1] - losses[0] == pytest.approx(float(predicted), rel=1e-3)
