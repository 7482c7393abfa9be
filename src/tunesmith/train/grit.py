"""GRIT (arXiv 2601.00231): LoRA whose steps follow the curvature in its own rank space.

Second moments of a = A x and of delta, the loss's gradient at a, are taken from what LoRA computes
anyway, at a few steps; their damped inverses multiply the gradients of every step (rank_space.py,
with the derivation). Directions without effect can be left out at the end, or now and then on the
way. Where the paper's reference code does otherwise, config/grit.py says so, knob by knob, and
docs/decisions/012-grit.md gives the figures. `Grit` works on any PEFT model with LoRA layers and
in any loop; `GritMethod` is its place in ours, train/grit_callback.py in transformers' Trainer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.optim import Optimizer

from tunesmith.config import TrainingSettings
from tunesmith.config.grit import GritConfig
from tunesmith.errors import ConfigError
from tunesmith.models.adapters import TRAINED
from tunesmith.records import LayerReport
from tunesmith.train import rank_space
from tunesmith.train.adapter_layers import (
    AdapterLayer,
    adapter_layers,
    fresh_rows,
    map_moments,
    note_ranks,
    pad_moments,
    reduced,
)
from tunesmith.train.fused import Listener
from tunesmith.train.lora import Lora
from tunesmith.train.parallel import team
from tunesmith.train.rank_statistics import Family, RankStatistics


class Grit:
    """The statistics of a model's LoRA layers and what GRIT makes of them.

    A loop calls `begin` before a step's passes, `precondition` between its last backward pass and
    the optimizer's step, `after` behind that one. Raises TrainingError for a model without LoRA
    layers, or with layers it cannot look into.
    """

    def __init__(self, model: nn.Module, config: GritConfig, adapter: str = TRAINED) -> None:
        self.config = config
        self.layers = adapter_layers(model, adapter)
        wanted = config.reprojection_k or 0
        small = [layer for layer in self.layers if layer.rank < wanted]
        if small:
            raise ConfigError(
                f"grit.reprojection_k is {wanted}, and {small[0].name} has rank {small[0].rank}",
                hint="keep at most as many directions as the adapter has (training.lora_r)",
            )
        self.seen = RankStatistics(self.layers, config)
        self.seed: int | None = None  # of fresh directions; None: torch's, in one process
        # By place in the list of layers:
        self._preconditioners: dict[int, Tensor] = {}  # (2, r, r) for A's and B's gradient
        self._dropped: dict[int, Tensor] = {}  # I - P of the last reprojection
        self._reports: list[LayerReport] = []
        self._seconds = 0.0

    def begin(self, step: int, answers: int = 1) -> None:
        """A step's passes begin, with a loss that is a mean over `answers` tokens."""
        self.seen.begin(step, answers)

    def precondition(self, step: int, *, loss_scale: float = 1.0) -> None:
        """Put natural gradients in the place of the plain ones. `loss_scale`: what the loss had
        been multiplied by in the passes (float16), the gradients no longer being so."""
        began = time.perf_counter()
        if looked := self.seen.looking:
            self.seen.fold(loss_scale)
            self._invert()
        self._penalise()
        ratios: dict[int, Tensor] = {}
        for place, pair in self._preconditioners.items() if step > self.config.warmup_steps else ():
            found = self._natural(self.layers[place], *pair, measure=looked)
            if found is not None:
                ratios[place] = found
        self._seconds += time.perf_counter() - began
        if looked:
            self._report(step, ratios)

    def _natural(
        self, layer: AdapterLayer, on_a: Tensor, on_b: Tensor, *, measure: bool
    ) -> Tensor | None:
        """Precondition one layer; the quotient of the norms where it is asked for."""
        of_a, of_b = layer.a.grad, layer.b.grad
        if of_a is None or of_b is None:
            return None
        new_a, new_b = on_a.to(of_a) @ of_a, of_b @ on_b.to(of_b)
        ratio = None
        if measure or self.config.graft:
            plain = torch.hypot(of_a.norm(), of_b.norm())
            natural = torch.hypot(new_a.norm(), new_b.norm())
            ratio = torch.where(plain > 0, natural / plain, 1.0)
            if self.config.graft:
                back = plain / natural.clamp_min(rank_space.TINY)
                new_a, new_b = new_a * back, new_b * back
        of_a.copy_(new_a)  # in place: they may be views into what processes exchange
        of_b.copy_(new_b)
        return ratio

    def _invert(self) -> None:
        """Make every preconditioner anew; one whose factor saw too few tokens is the identity."""
        config = self.config
        damped = partial(
            rank_space.damped_inverse,
            damping=config.damping,
            mode=config.damping_mode,
            how=config.inverse,
        )
        self._preconditioners = {}
        for family in self.seen.families:
            inputs, gradients = family.factors()
            one = torch.eye(family.rank, device=self.seen.device)
            enough = (family.seen >= config.min_samples * family.rank)[:, None, None]
            by_input = torch.where(enough, damped(inputs), one)
            if config.damping_mode == "absolute":  # as published: of a loss that is a mean
                gradients = gradients / self.seen.answers**2
            by_gradient = torch.where(enough, damped(gradients), one)
            pair = (by_gradient, by_input) if config.pairing == "kfac" else (by_input, by_gradient)
            both = torch.stack(pair, dim=1)
            self._preconditioners |= dict(zip(family.places, both, strict=True))

    def _penalise(self) -> None:
        """Add the gradients of the optional penalties."""
        curved, dropped = self.config.curvature_penalty, self.config.reprojection_penalty
        if curved:
            for family in self.seen.families:
                factors = [
                    s / rank_space.trace_mean(s).clamp_min(rank_space.TINY)[:, None, None]
                    for s in family.factors()
                ]
                for i, place in enumerate(family.places):
                    self._pull(place, curved * factors[1][i], curved * factors[0][i])
        for place, lost in self._dropped.items() if dropped else ():
            self._pull(place, dropped * lost.mT @ lost, dropped * lost @ lost.mT)

    def _pull(self, place: int, on_a: Tensor, on_b: Tensor) -> None:
        layer = self.layers[place]
        if layer.a.grad is not None and layer.b.grad is not None:
            layer.a.grad += on_a.to(layer.a) @ layer.a.data
            layer.b.grad += layer.b.data @ on_b.to(layer.b)

    def _report(self, step: int, ratios: Mapping[int, Tensor]) -> None:
        """What the factors look like in every layer."""
        began = time.perf_counter()
        places = list(ratios)
        norms = torch.stack([ratios[p] for p in places]).tolist() if places else []
        by_place = dict(zip(places, norms, strict=True))
        found: list[LayerReport] = []
        for family in self.seen.families:
            energy = rank_space.directions(*family.factors(), "balanced").energy
            told = zip(family.places, _figures(family, energy), family.seen.tolist(), strict=True)
            for place, figures, tokens in told:
                if not tokens:  # B was still zero, and every gradient with it
                    continue
                name, ratio = self.layers[place].name, by_place.get(place, 1.0)
                found.append(LayerReport(step, name, family.rank, *figures, ratio, None, 0.0))
        self._seconds += time.perf_counter() - began + self.seen.seconds
        self._reports += [replace(report, seconds=self._seconds) for report in found]
        self._seconds = self.seen.seconds = 0.0

    def reports(self) -> list[LayerReport]:
        """What was seen since the last call."""
        found, self._reports = self._reports, []
        return found

    def after(self, step: int, optimizer: Optimizer | None) -> None:
        """Reproject where this step asks for it."""
        config = self.config
        every = config.reprojection_freq
        if every and step % every == 0 and step > config.reprojection_warmup:
            began = time.perf_counter()
            self._reproject(step, optimizer)
            self._seconds += time.perf_counter() - began

    def _kept(self, found: rank_space.Directions) -> list[int]:
        """How many directions of each layer stay."""
        config = self.config
        if config.reprojection_k is not None:
            return [config.reprojection_k] * len(found.energy)
        kept = rank_space.ranks_for(found.energy, config.energy_threshold, config.min_rank)
        return [int(k) for k in kept]

    def _reproject(self, step: int, optimizer: Optimizer | None) -> None:
        config = self.config
        moments: dict[int, Tensor] = {}
        for family in self.seen.families if self.seen.known() else ():
            inputs, gradients = family.factors()
            found = rank_space.directions(inputs, gradients, config.projector)
            one = torch.eye(family.rank, device=self.seen.device)
            told = zip(self._kept(found), _figures(family, found.energy), strict=True)
            for i, (k, figures) in enumerate(told):
                if not family.weight[i]:  # a layer that never had a gradient
                    moments[family.places[i]] = family.ema[i]
                    continue
                between, sides = rank_space.cut(found, i, k), rank_space.projectors(found, i, k)
                share = rank_space.energy_kept(between[0] @ between[1], inputs[i], gradients[i])
                place = family.places[i]
                name = self.layers[place].name
                self._reports.append(LayerReport(step, name, k, *figures, 1.0, float(share), 0.0))
                self._dropped[place] = one - sides[1].float()
                moments[place] = self._change(family, i, between, sides, optimizer, step)
        if config.after == "compact" and moments:
            self.seen.regroup(moments)
            self._dropped = {}
        self._invert()

    def _change(
        self,
        family: Family,
        row: int,
        between: tuple[Tensor, Tensor],
        sides: tuple[Tensor, Tensor],
        optimizer: Optimizer | None,
        step: int,
    ) -> Tensor:
        """Project one layer, and its statistics with it: the new moments."""
        layer, r = self.layers[family.places[row]], family.rank
        if self.config.after == "freeze":
            on_b, on_a = (side.to(layer.a) for side in sides)
            if optimizer is not None:
                map_moments(optimizer, layer, on_b.mT, on_a.mT)
            layer.a.data, layer.b.data = on_a @ layer.a.data, layer.b.data @ on_b
            turn = rank_space.both(on_a, on_b.mT)
            family.ema[row] = turn @ family.ema[row] @ turn.mT
            return family.ema[row]
        left, right = between
        a, b, scale = reduced(layer, left, right, optimizer)
        scale = scale.float()
        into, out = scale[:, None] * right.float(), left.float() / scale
        turn = rank_space.both(into, out.mT)
        moments = turn @ family.ema[row] @ turn.mT
        k = a.shape[0]
        if self.config.after == "refresh":
            seed = torch.initial_seed() if self.seed is None else self.seed
            seed += 1_000_003 * step + family.places[row]
            a = torch.cat([a, fresh_rows(a, r - k, seed)])
            b = torch.cat([b, b.new_zeros(len(b), r - k)], dim=1)
            if optimizer is not None:
                pad_moments(optimizer, layer, r)
            moments = _padded(moments, k, r)
            family.ema[row] = moments
            fresh = torch.arange(r, device=self.seen.device) >= k
            self._dropped[family.places[row]] = torch.diag(fresh.float())
        layer.set_rank(a, b)
        return moments

    def compact(self, loss: Callable[[], float | None], config: Any) -> Sequence[str]:
        """Leave out what holds no more than 1 - energy_threshold of each layer's effect, and say
        so with what that was expected to cost and what it did; nothing, where either is over the
        tolerance. `loss`: on the validation part. `config`: PEFT's of the adapter."""
        if not self.seen.known():
            return ("too few steps to know which directions matter: every rank stays",)
        changes, predicted = self._dispensable()
        if not changes:
            return ("every direction of every layer matters: every rank stays",)
        if predicted > self.config.compact_tolerance:
            return (f"every rank stays: fewer were expected to cost {predicted:.2g} nats",)
        before, whole = loss(), sum(layer.a.numel() + layer.b.numel() for layer in self.layers)
        changed = [self.layers[place] for place in changes]
        old = [(layer.a.data, layer.b.data) for layer in changed]
        for layer, (left, right) in zip(changed, changes.values(), strict=True):
            layer.set_rank(*reduced(layer, left, right, None)[:2])
        after, rest = loss(), sum(layer.a.numel() + layer.b.numel() for layer in self.layers)
        measured = None if before is None or after is None else after - before
        if measured is not None and measured > self.config.compact_tolerance:
            for layer, (a, b) in zip(changed, old, strict=True):
                layer.set_rank(a, b)
            return (
                f"every rank stays: fewer cost {measured:.2g} nats, {predicted:.2g} were expected",
            )
        note_ranks(self.layers, config)
        ranks = sorted(layer.rank for layer in self.layers)
        told = "" if measured is None else f", measured {measured:+.2g}"
        return (
            f"ranks {ranks[0]} to {ranks[-1]}, {rest:,} of {whole:,} parameters kept; the loss was "
            f"expected to change by {predicted:+.2g} nats{told}",
        )

    def _dispensable(self) -> tuple[dict[int, tuple[Tensor, Tensor]], float]:
        """What stands between B and A of each layer that can do with fewer directions, and what
        leaving the others out is expected to add to the loss, in nats per answer token."""
        threshold, least = self.config.energy_threshold, self.config.min_rank
        changes, predicted = {}, 0.0
        for family in self.seen.families:
            inputs, gradients = family.factors()
            found = rank_space.directions(inputs, gradients, "balanced")
            ranks = rank_space.ranks_for(found.energy, threshold, least).tolist()
            ratio, crossed = family.ratio / family.weight, family.crossed()
            if self.config.fisher == "sampled":
                crossed = crossed * 0  # labels that the model draws say nothing of the first order
            for i, (place, k) in enumerate(zip(family.places, ranks, strict=True)):
                if k < family.rank:
                    left, right = rank_space.cut(found, i, k)
                    factors = (crossed[i], inputs[i], gradients[i])
                    predicted += float(ratio[i] * rank_space.loss_change(left @ right, *factors))
                    changes[place] = (left, right)
        return changes, predicted

    def state(self) -> dict[str, Tensor]:
        """Everything that the next steps depend on, beside the adapter and the optimizer."""
        dropped = {f"dropped.{place}": lost.clone() for place, lost in self._dropped.items()}
        return self.seen.state() | dropped

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave."""
        self.seen.load_state(state)
        self._invert()
        self._dropped = {
            int(name.removeprefix("dropped.")): lost.to(self.seen.device)
            for name, lost in state.items()
            if name.startswith("dropped.")
        }

    def detach(self) -> None:
        """Take the hooks off; the model is as it was."""
        self.seen.detach()


def _figures(family: Family, energy: Tensor) -> list[tuple[tuple[float, ...], float, float, float]]:
    """Spectrum, effective rank and the two conditions of each layer, as LayerReport has them."""
    inputs, gradients = family.factors()
    return [
        (tuple(spectrum), effective, of_input, of_gradient)
        for spectrum, effective, of_input, of_gradient in zip(
            energy.clamp_min(0).tolist(),
            rank_space.effective_rank(energy).tolist(),
            rank_space.condition(inputs).tolist(),
            rank_space.condition(gradients).tolist(),
            strict=True,
        )
    ]


def _padded(moments: Tensor, k: int, r: int) -> Tensor:
    """Moments of k directions, (2k, 2k), with r - k fresh ones of which nothing is known: each
    factor goes on with its own mean eigenvalue."""
    whole = moments.new_zeros(2 * r, 2 * r)
    known = [*range(k), *range(r, r + k)]
    whole[torch.tensor(known)[:, None], torch.tensor(known)] = moments
    fresh = torch.arange(k, r)
    for start, part in ((0, moments[:k, :k]), (r, moments[k:, k:])):
        whole[start + fresh, start + fresh] = rank_space.trace_mean(part)
    return whole


class GritMethod(Lora):
    """GRIT's place in our loop."""

    name = "grit"

    def __init__(self) -> None:
        self.grit: Grit | None = None
        self._built: Optimizer | None = None
        self._model: Any = None

    @property
    def core(self) -> Grit:
        """What does the work, once the adapters are on."""
        if self.grit is None:
            raise RuntimeError("attach comes first")
        return self.grit

    def attach(self, model: Any, settings: TrainingSettings) -> Any:
        """LoRA's adapters, looked into."""
        on_the_way = settings.grit.reprojection_freq and settings.grit.after == "compact"
        if on_the_way and team() is not None:
            raise ConfigError(
                "grit.after: compact on the way gives the adapter shapes that the other processes "
                "would not have",
                hint="use refresh, or compact_at_end",
            )
        wrapped = super().attach(model, settings)
        self.grit, self._model = Grit(wrapped, settings.grit), wrapped
        return wrapped

    def optimizer(
        self, model: Any, settings: TrainingSettings, device: torch.device, total: int
    ) -> tuple[Optimizer, str]:
        """The recipe's, or SGD with momentum, at GRIT's own rate where it has one."""
        grit = settings.grit
        asked = {
            "learning_rate": grit.learning_rate or settings.learning_rate,
            "optim": "sgd" if grit.inner == "sgd" else settings.optim,
        }
        settings = settings.model_copy(update=asked)
        self._built, note = super().optimizer(model, settings, device, total)
        return self._built, note

    def begin(self, step: int, answers: int) -> bool:
        """Examples stand apart in a step that is looked at."""
        self.core.begin(step, answers)
        return self.core.seen.looking

    def draws(self) -> bool:
        """The Fisher matrix proper wants targets from the model, the empirical one the labels."""
        return self.core.seen.looking and self.core.config.fisher == "sampled"

    def observe(self) -> AbstractContextManager[Sequence[Tensor]]:
        """What one micro-batch adds."""
        return self.core.seen.observe()

    def listener(self, layer: LoraLayer) -> Listener | None:
        """Who hears of a pass through `layer`."""
        return self.core.seen.listener(layer)

    def statistics(self) -> Sequence[Tensor]:
        """The step's sums."""
        return self.core.seen.sums

    def precondition(self, step: int, clip: Callable[[], float]) -> float:
        """Natural gradients, clipped; or made of clipped ones."""
        if self.core.config.clip == "plain":
            norm = clip()
            self.core.precondition(step)
            return norm
        self.core.precondition(step)
        return clip()

    def after(self, step: int) -> None:
        """Reprojection."""
        self.core.after(step, self._built)

    def finish(self, loss: Callable[[], float | None]) -> Sequence[str]:
        """Truly smaller adapters, where that costs next to nothing."""
        core = self.core
        core.detach()
        peft = self._model.peft_config[TRAINED]
        said = core.compact(loss, peft) if core.config.compact_at_end else ()
        note_ranks(core.layers, peft)
        return said

    def reports(self) -> Sequence[LayerReport]:
        """What was seen in the layers."""
        return self.core.reports()

    def state(self) -> Mapping[str, Tensor]:
        """The statistics."""
        return self.core.state()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Put the statistics back."""
        self.core.load_state(state)
