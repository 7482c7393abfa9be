"""Does a merged model answer as its base with the adapter did? Logits side by side, before it is
accepted as what is served and as what the next session stands on.

W x + s B (A x) and (W + s B A) x are equal but for rounding: the tolerance says how much rounding
can do. By the probabilistic analysis of Higham and Mary (2019, doi:10.1137/18M1226312, section 2) n
roundings of unit u add up to a relative error within lambda sqrt(n) u, but for 2 exp(-lambda^2 / 2)
of all cases; lambda = 4. A decoder of L layers has 2 L + 1 sublayers (attention, MLP, head); each
stores about ROUNDINGS values in the compute type and accumulates sums over its width in float32.
Errors are taken to pass through the residual stream without growing; two models are compared, hence
the 2:

    tolerance = lambda sqrt(2 (2 L + 1) (ROUNDINGS u_type^2 + width u_float32^2))

On nano and a random tiny model, whole and in 4 bits, an eighth to a quarter of it is reached. In
bfloat16 it is 0.1 to 0.2 there: an effect below that cannot be told from rounding
(`Agreement.effect`). To see it, load a base that is not in 4 bits in float32: its weights are the
same, and so is the merged folder.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tunesmith.errors import ModelError
from tunesmith.models.load import Loaded
from tunesmith.models.render import Encoded

LAMBDA, ROUNDINGS = 4.0, 8
KEPT_WITHIN = 0.1
TOKENS = 64  # at once in float64: 128,000 logits each are 66 MB


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far a merged model answers as base and adapter did, at the answers' tokens.

    `difference` is the worst example's |a - b| / |a| of the two models' logits (2-norms; logits
    centred at each token, as softmax knows no constant). `effect` is the same of the adapter's own
    effect, over all examples, and `kept` the share of it that the merged model shows,
    <e, m> / <e, e>, 1 where there is no effect. `mean_kl` is in nats, `max_difference` in logits as
    they are.
    """

    tokens: int
    max_difference: float
    difference: float
    tolerance: float
    effect: float
    kept: float
    mean_kl: float
    same_argmax: float

    @property
    def accepted(self) -> bool:
        """The difference is rounding, and the effect, where it stands out of rounding, is there."""
        lost = self.effect > self.tolerance and abs(1 - self.kept) > KEPT_WITHIN
        return self.difference <= self.tolerance and not lost  # and so never for NaN


def check_merged(unmerged: Loaded, merged: Loaded, prompts: Sequence[Encoded]) -> Agreement:
    """Compare base with adapter (`unmerged`) to the merged model on examples with their answers.

    Each example is read three times, alone: with the adapter, without it, and by the merged model.
    Raises ModelError where the merged model was not loaded in float32, ValueError without examples
    or where `unmerged` has no adapter on it.
    """
    if merged.dtype != torch.float32:
        found = str(merged.dtype).removeprefix("torch.")
        raise ModelError(
            f"the merged model {merged.name} was loaded in {found}",
            hint="load it in float32 (model.dtype), or what was merged is rounded away again",
        )
    if not prompts or not hasattr(unmerged.model, "disable_adapter"):
        raise ValueError("examples and a base with its adapter on it are needed")
    sums = torch.stack([_sums(unmerged, merged, prompt) for prompt in prompts])
    tokens = sum(prompt.answer_tokens for prompt in prompts)
    size, _, effect, shown, divergence, alike, _ = sums.sum(dim=0).tolist()
    return Agreement(
        tokens=tokens,
        max_difference=float(sums[:, 6].max()),
        difference=float((sums[:, 1] / sums[:, 0]).max().sqrt()),
        tolerance=tolerance(unmerged, merged),
        effect=math.sqrt(effect / size),
        kept=shown / effect if effect else 1.0,
        mean_kl=divergence / tokens,
        same_argmax=alike / tokens,
    )


def tolerance(unmerged: Loaded, merged: Loaded) -> float:
    """The relative difference of logits that rounding explains; the formula is above."""
    config = unmerged.base.config.get_text_config()
    width = max(config.hidden_size, getattr(config, "intermediate_size", None) or 0)
    unit = max(torch.finfo(loaded.dtype).eps for loaded in (unmerged, merged)) / 2
    summed = width * (torch.finfo(torch.float32).eps / 2) ** 2
    sublayers = 2 * config.num_hidden_layers + 1
    return LAMBDA * math.sqrt(2 * sublayers * (ROUNDINGS * unit**2 + summed))


def _sums(unmerged: Loaded, merged: Loaded, prompt: Encoded) -> Tensor:
    """(7,) of one example, summed over its tokens: squares of logits, of the difference, of the
    effect; effect times shown effect; divergence; equal choices. Last the greatest difference."""
    tuned = _logits(unmerged, prompt)
    with _adapter_off(unmerged.model):
        plain = _logits(unmerged, prompt)
    found = _logits(merged, prompt)
    total = torch.zeros(7, dtype=torch.float64)
    for one, two, base in zip(
        *(torch.split(x, TOKENS) for x in (tuned, found, plain)), strict=True
    ):
        a, b, c = (_centred(x) for x in (one, two, base))  # (tokens, vocabulary)
        log_a, log_b = a.log_softmax(dim=-1), b.log_softmax(dim=-1)
        total[:6] += torch.stack(
            [
                a.square().sum(),
                (a - b).square().sum(),
                (a - c).square().sum(),
                ((a - c) * (b - c)).sum(),
                (log_a.exp() * (log_a - log_b)).sum(),
                (one.argmax(dim=-1) == two.argmax(dim=-1)).sum(),
            ]
        )
        total[6] = torch.maximum(total[6], (one.double() - two.double()).abs().max())
    return total


def _centred(logits: Tensor) -> Tensor:
    exact = logits.double()
    return exact - exact.mean(dim=-1, keepdim=True)


@torch.inference_mode()
def _logits(loaded: Loaded, prompt: Encoded) -> Tensor:
    """(answer tokens, vocabulary) on the host: what predicts each answer token."""
    ids = torch.tensor(prompt.ids, device=loaded.device)[None]
    kept = prompt.answer_tokens + 1
    logits: Tensor = loaded.model(input_ids=ids, use_cache=False, logits_to_keep=kept).logits
    return logits[0, :-1].cpu()


@contextmanager
def _adapter_off(model: Any) -> Iterator[None]:
    """The model without its adapters for the block. PEFT makes the active ones trainable when it
    switches them on again: frozen ones stay frozen here."""
    trainable = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    with model.disable_adapter():
        yield
    for parameter, before in trainable:
        parameter.requires_grad_(before)
