"""GRIT's preset, and what does not go together."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tunesmith.config.grit import PUBLISHED, GritConfig


def test_what_is_said_stands_over_the_preset_and_the_preset_over_our_defaults() -> None:
    """All else is our default, also once written out and read again; `ours` changes nothing."""
    said = {"pairing": "kfac", "reprojection_k": 8, "damping": 0.5}
    found = GritConfig.model_validate({"preset": "published", **said})
    expected = GritConfig().model_dump() | PUBLISHED | said | {"preset": "published"}
    assert found.model_dump() == expected
    assert (found.pairing, found.after, found.learning_rate) == ("kfac", "freeze", 2e-5)
    assert GritConfig.model_validate(found.model_dump()) == found
    assert GritConfig(preset="ours") == GritConfig()
    assert all(getattr(GritConfig(), key) != value for key, value in PUBLISHED.items())


@pytest.mark.parametrize(
    "values",
    [
        {"reprojection_freq": 2, "after": "freeze"},
        {"reprojection_freq": 2, "after": "compact"},
        {"reprojection_freq": 2, "projector": "two_sided"},
        {"reprojection_freq": 0},
        {"preset": "published"},
    ],
)
def test_a_penalty_on_what_no_reprojection_drops_is_refused(values: dict[str, Any]) -> None:
    """Counter: with refresh and one projector for both sides it is taken, in the preset too."""
    GritConfig.model_validate(values)
    penalty = {"reprojection_penalty": 0.1}
    with pytest.raises(ValidationError, match=r"reprojection_penalty wants .*after: refresh"):
        GritConfig.model_validate(values | penalty)
    fitting = {"reprojection_freq": 2, "after": "refresh", "projector": "one_sided"}
    GritConfig.model_validate(values | penalty | fitting)
