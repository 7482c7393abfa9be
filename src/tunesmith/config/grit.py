"""The knobs of GRIT (arXiv 2601.00231), each with its default and where that comes from.

"Published" is the paper's reference code as far as it is known; where a default is another, the
description says which and why (docs/decisions/012-grit.md).
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from tunesmith.config.base import Settings


class GritConfig(Settings):
    """Geometry-aware LoRA: rank-space K-FAC, reprojection, dynamic rank."""

    preset: Literal["ours", "published"] = Field(
        "ours",
        description="published: the settings of the paper's reference code, swapped factors and "
        "all; what else is said stands over them.",
    )
    learning_rate: float | None = Field(
        None, gt=0, description="Instead of training.learning_rate (published: 2e-5)."
    )
    pairing: Literal["kfac", "published"] = Field(
        "kfac",
        description="kfac: A's gradient by the factor of the gradients at A x, B's by that of A x; "
        "published: the other way round, which is no natural gradient.",
    )
    damping: float = Field(
        1e-2, gt=0, description="Added to the factors' diagonals (published: 1e-2)."
    )
    damping_mode: Literal["relative", "absolute"] = Field(
        "relative",
        description="Damping as a share of the factor's mean eigenvalue, or as it is (published).",
    )
    decay: float = Field(
        0.95, ge=0, lt=1, description="Of the factors' moving averages (published: 0.95)."
    )
    factor_update_freq: int = Field(
        20, gt=0, description="Optimizer steps between two looks at the factors (published: 20)."
    )
    token_stride: int = Field(
        1, gt=0, description="Every so-manieth token of such a step enters the factors."
    )
    min_samples: float = Field(
        2.0, ge=1, description="Tokens a factor wants before it is used, in multiples of the rank."
    )
    warmup_steps: int = Field(0, ge=0, description="Steps with plain gradients at the start.")
    inverse: Literal["cholesky", "eigh"] = Field(
        "cholesky", description="How the damped factors are inverted, in float32."
    )
    inner: Literal["optim", "sgd"] = Field(
        "optim",
        description="What takes the preconditioned step: training.optim (AdamW, as published), or "
        "SGD with momentum 0.9, which keeps the geometry that Adam's diagonal undoes.",
    )
    graft: bool = Field(
        False, description="Give each module's natural gradient the norm of its plain one."
    )
    clip: Literal["natural", "plain"] = Field(
        "natural",
        description="Whether training.max_grad_norm clips the natural gradient, or the plain one "
        "in front of it.",
    )
    fisher: Literal["empirical", "sampled"] = Field(
        "empirical",
        description="Factors from the gradients of the labels, or of labels that the model draws "
        "(one more pass at each look).",
    )
    curvature_penalty: float = Field(
        0.0, ge=0, description="Weight of tr(S_d A A')/2 + tr(S_a B'B)/2 (published: optional)."
    )
    reprojection_freq: int = Field(
        0, ge=0, description="Optimizer steps between reprojections; 0 never (published: 40)."
    )
    reprojection_warmup: int = Field(0, ge=0, description="No reprojection up to this step.")
    reprojection_k: int | None = Field(
        None, gt=0, description="Directions that stay (published: 4); None: energy_threshold."
    )
    reprojection_penalty: float = Field(
        0.0, ge=0, description="Weight of the squared norm of what a reprojection would drop, / 2."
    )
    projector: Literal["balanced", "one_sided", "two_sided"] = Field(
        "balanced",
        description="balanced: the K-FAC cost's own optimum; one_sided: top eigenvectors of A x's "
        "factor; two_sided: each side by its own factor (published).",
    )
    after: Literal["compact", "refresh", "freeze"] = Field(
        "refresh",
        description="What becomes of dropped directions: compact makes the adapter smaller, "
        "refresh starts them anew, freeze leaves them dead (published).",
    )
    compact_at_end: bool = Field(
        True,
        description="Behind the last step, leave out of each layer's adapter what holds no more "
        "than 1 - energy_threshold of its effect.",
    )
    compact_tolerance: float = Field(
        0.01,
        ge=0,
        description="No smaller adapter where that is expected to cost more, in nats per answer "
        "token, or does so on the validation part.",
    )
    energy_threshold: float = Field(
        0.99, gt=0, le=1, description="Share of the energy that kept directions hold."
    )
    min_rank: int = Field(1, gt=0, description="No layer's rank falls below this.")

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, values: Any) -> Any:
        """What is said stands over the preset's values."""
        if isinstance(values, dict) and values.get("preset") == "published":
            return PUBLISHED | values
        return values

    @model_validator(mode="after")
    def _sound(self) -> GritConfig:
        if self.reprojection_penalty and (
            not self.reprojection_freq or self.after != "refresh" or self.projector == "two_sided"
        ):
            raise ValueError(
                "grit.reprojection_penalty wants grit.reprojection_freq above 0, after: refresh "
                "and a projector that is the same for A and B"
            )
        return self


PUBLISHED: dict[str, Any] = {
    "learning_rate": 2e-5,
    "pairing": "published",
    "damping_mode": "absolute",
    "reprojection_freq": 40,
    "reprojection_k": 4,
    "projector": "two_sided",
    "after": "freeze",
    "compact_at_end": False,
}
