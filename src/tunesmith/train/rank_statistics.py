"""What GRIT sees: second moments of A x and of the loss's gradient there, layer by layer.

Both are taken from what LoRA computes anyway, in a few steps out of many: by a hook on A's output,
which hears the gradient there, or by the short path of train/fused.py, which has both at hand. Sums
are kept for each micro-batch and added up in their order, so that threads change no bit of them;
recomputed activations count once, tokens without a gradient never.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.config.grit import GritConfig
from tunesmith.errors import TrainingError
from tunesmith.train import rank_space
from tunesmith.train.adapter_layers import SHOWN, AdapterLayer
from tunesmith.train.fused import Listener

EARLY = (2, 3, 5, 9)  # looks before the first regular one: B is zero at step 1, and so is delta
PATIENCE = 3  # looks within which every layer must have been passed through
NOTHING = 1e-10  # of the largest squared gradient: what is zero but for rounding
KEPT = ("ema", "weight", "seen", "ratio")


@dataclass(slots=True)
class Family:
    """The layers of one rank: `places` in the list of all of them, and a tensor for each figure."""

    rank: int
    places: list[int]
    ema: Tensor  # (m, 2r, 2r) moving average of E[z z'], z = [a, delta], without bias correction
    weight: Tensor  # (m,) its weight, which corrects it
    seen: Tensor  # (m,) tokens that have entered it
    ratio: Tensor  # (m,) moving average of tokens with a gradient, for each answer token

    def factors(self) -> tuple[Tensor, Tensor]:
        """S_a and S_d, (m, r, r) each."""
        whole, r = self._mean(), self.rank
        return whole[:, :r, :r], whole[:, r:, r:]

    def crossed(self) -> Tensor:
        """E[a delta'], (m, r, r)."""
        return self._mean()[:, : self.rank, self.rank :]

    def _mean(self) -> Tensor:
        return self.ema / self.weight.clamp_min(rank_space.TINY)[:, None, None]


class RankStatistics:
    """Second moments in the rank space of `layers`.

    `begin` before a step's passes, `fold` behind the last of them; `detach` takes the hooks off.
    """

    def __init__(self, layers: Sequence[AdapterLayer], config: GritConfig) -> None:
        self.layers, self.config = layers, config
        self.device = layers[0].a.device
        self.families = self._families()
        self.heard = torch.zeros(len(layers), dtype=torch.bool)
        self.looks = 0
        self.looking = False
        self.seconds = 0.0  # of work inside the passes
        self.answers = self._answers = 1  # at the last look, and in the step at hand
        self.sums: list[Tensor] = []  # moments and counts by family, then seconds
        self._thread, self._latest = threading.local(), self.sums
        self._place = {id(layer.module): i for i, layer in enumerate(layers)}
        self._hooks = [
            layer.module.lora_A[layer.adapter].register_forward_hook(
                partial(self._forward, layer.module)
            )
            for layer in layers
        ]

    def _families(self) -> list[Family]:
        by_rank: dict[int, list[int]] = {}
        for place, layer in enumerate(self.layers):
            by_rank.setdefault(layer.rank, []).append(place)
        zeros = partial(torch.zeros, dtype=torch.float32, device=self.device)
        return [
            Family(
                r,
                places,
                zeros(len(places), 2 * r, 2 * r),
                zeros(len(places)),
                zeros(len(places)),
                zeros(len(places)),
            )
            for r, places in by_rank.items()
        ]

    def looks_at(self, step: int) -> bool:
        """Whether the factors are looked at in this step: a function of its number alone, so that
        every process comes to the same."""
        every = self.config.factor_update_freq
        return step % every == 0 or (step in EARLY and step < every)

    def count(self, answers: int) -> None:
        """The step at hand has so many answer tokens after all."""
        self._answers = answers

    def begin(self, step: int, answers: int = 1) -> None:
        """A step's passes begin, with a loss that is a mean over `answers` tokens."""
        self.looking, self._answers = self.looks_at(step), answers
        self.sums = self._empty() if self.looking else []
        self._thread, self._latest = threading.local(), self.sums  # no thread's last block counts

    def _empty(self) -> list[Tensor]:
        """Of zeros: moments (m, 2r, 2r) and tokens (m, 2: with a gradient, all) of each family, and
        seconds."""
        found: list[Tensor] = []
        for family in self.families:
            found += [torch.zeros_like(family.ema), family.weight.new_zeros(len(family.places), 2)]
        return [*found, torch.zeros((), dtype=torch.float64)]

    @contextmanager
    def observe(self) -> Iterator[Sequence[Tensor]]:
        """What the passes of the block add to `statistics`; for loops that run several at once, and
        for passes of which only some are to be heard."""
        if not self.looking:
            yield ()
            return
        self._thread.sums = self._latest = self._empty()
        try:
            yield self._thread.sums
        finally:
            self._thread.sums, self._latest = None, []  # what follows here is not listened to

    def listener(self, module: Any) -> Listener | None:
        """What hears of one pass through this module: of A x and of the loss's gradient there."""
        place = self._place.get(id(module)) if self.looking else None
        if place is None:
            return None
        sums = getattr(self._thread, "sums", self._latest)
        if not sums:
            return None
        index = next(i for i, family in enumerate(self.families) if place in family.places)
        row = self.families[index].places.index(place)
        moments, counts = sums[2 * index][row], sums[2 * index + 1][row]
        stride = self.config.token_stride

        @torch.no_grad()
        def hear(a: Tensor, delta: Tensor) -> None:
            began = time.perf_counter()
            a, delta = a.flatten(0, -2)[::stride].float(), delta.flatten(0, -2)[::stride].float()
            size = delta.square().sum(1, keepdim=True)
            live = size > NOTHING * size.max()  # not padding, nor what no answer depends on
            z = torch.cat([a * live, delta], 1)
            moments.addmm_(z.T, z)
            counts[0] += live.sum()
            counts[1] += len(z)
            sums[-1] += time.perf_counter() - began

        return hear

    def _forward(self, module: Any, _: nn.Module, __: Any, low: Tensor) -> None:
        """Behind lora_A's own forward pass; with recomputed activations only the pass that the
        backward one goes through has a gradient to hear of."""
        if low.requires_grad and (hear := self.listener(module)):
            there = low.detach()
            register: Any = low.register_hook  # torch leaves it untyped
            register(lambda delta: hear(there, delta))

    def fold(self, loss_scale: float) -> None:
        """Take the step's sums into the moving averages. `loss_scale`: what the loss was multiplied
        by in the passes (float16). A sum that is not finite leaves all as it was."""
        self.looking = False
        sums, beta = self.sums, self.config.decay
        finite = torch.stack([t.isfinite().all() for t in sums[:-1]]).all()
        self._check_heard(sums)
        stride, unit = self.config.token_stride, self._answers / loss_scale
        for family, moments, counts in zip(self.families, sums[::2], sums[1::2], strict=False):
            rows = counts[:, 0]
            scale = torch.ones(2 * family.rank, device=self.device)
            scale[family.rank :] = unit  # delta in nats of one answer token's loss
            new = moments / rows.clamp_min(1)[:, None, None] * torch.outer(scale, scale)
            heard = (rows > 0) & finite & new.flatten(1).isfinite().all(1)
            keep = torch.where(heard, beta, 1.0)

            def mean(old: Tensor, now: Tensor, keep: Tensor = keep) -> Tensor:
                share = keep.reshape(-1, *[1] * (old.ndim - 1))
                return old * share + (1 - share) * torch.where(share < 1, now, 0)

            family.ema = mean(family.ema, new)
            family.ratio = mean(family.ratio, rows * stride / self._answers)
            family.weight = mean(family.weight, torch.ones_like(rows))
            family.seen = family.seen + torch.where(heard, rows, 0)
        self.answers = self._answers
        self.seconds += float(sums[-1])
        self.sums = self._latest = []

    def _check_heard(self, sums: Sequence[Tensor]) -> None:
        """Every layer must be passed through within a few looks: else something goes around it."""
        if self.looks >= PATIENCE:
            return
        self.looks += 1
        for family, counts in zip(self.families, sums[1::2], strict=False):
            self.heard[family.places] |= (counts[:, 1] > 0).cpu()
        silent = [self.layers[i].name for i in range(len(self.layers)) if not self.heard[i]]
        if silent and (self.looks == PATIENCE or len(silent) == len(self.layers)):
            more = f" and {len(silent) - SHOWN} more" if len(silent) > SHOWN else ""
            raise TrainingError(
                f"nothing passed through the adapter of {', '.join(silent[:SHOWN])}{more}: "
                "something goes around it (a fused kernel, or a layer that is never used)",
                hint="leave it out of training.target_modules, or train with method lora",
            )

    def regroup(self, moments: Mapping[int, Tensor]) -> None:
        """Families by the ranks that the layers have now, with their statistics."""
        old = {
            place: (family.weight[i], family.seen[i], family.ratio[i])
            for family in self.families
            for i, place in enumerate(family.places)
        }
        self.families = self._families()
        for family in self.families:
            for i, place in enumerate(family.places):
                family.ema[i] = moments[place]
                family.weight[i], family.seen[i], family.ratio[i] = old[place]

    def known(self) -> bool:
        """Whether any layer was looked into yet; one that never has a gradient never is."""
        return any(bool((family.weight > 0).any()) for family in self.families)

    def state(self) -> dict[str, Tensor]:
        """All that the next folds depend on."""
        found = {
            "ranks": torch.tensor([layer.rank for layer in self.layers]),
            "heard": self.heard.clone(),
            "looks": torch.tensor(self.looks),
            "answers": torch.tensor(self.answers),
        }
        for family in self.families:
            for name in KEPT:
                found[f"rank_{family.rank}.{name}"] = getattr(family, name).clone()
        return found

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave; layers that had another rank by then get that rank, and wait
        for their weights. TrainingError for the state of another model."""
        ranks = state["ranks"].tolist() if "ranks" in state else []
        if len(ranks) != len(self.layers):
            raise TrainingError(
                f"the checkpoint holds GRIT's statistics of {len(ranks)} layers, the model has "
                f"{len(self.layers)}",
                hint="train anew: the checkpoint is another model's",
            )
        for layer, rank in zip(self.layers, ranks, strict=True):
            if layer.rank != rank:
                a, b = layer.a.data, layer.b.data
                layer.set_rank(a.new_zeros(rank, a.shape[1]), b.new_zeros(b.shape[0], rank))
        self.families = self._families()
        for family in self.families:
            for name in KEPT:
                getattr(family, name).copy_(state[f"rank_{family.rank}.{name}"])
        self.heard, self.looks = state["heard"].clone(), int(state["looks"])
        self.answers = int(state["answers"])

    def detach(self) -> None:
        """Take the hooks off; the model is as it was."""
        for hook in self._hooks:
            hook.remove()
        self._hooks, self.looking = [], False
