"""What a recipe may ask of the quality of its data: `data.quality`.

Each finding of `tunesmith data check` that speaks of single rows has a code; `actions` says what is
done about it: keep (the default), drop, keep_first (of several answers or labels for one prompt the
first row), mask (secrets and personal data), or fail. A threshold that is set drops what lies
outside of it, unless its code's action says otherwise. Nothing is changed that was not asked for.
"""

from __future__ import annotations

import difflib
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Action = Literal["keep", "drop", "keep_first", "mask", "fail"]

# Findings about rows that an action can be taken on, and what each is about.
CODES: dict[str, str] = {
    "too_short": "answers under min_characters",
    "too_long": "answers over max_characters",
    "low_score": "rows whose score is under min_score",
    "near_duplicates": "rows nearly like an earlier one",
    "duplicate_prompts": "rows with the prompt of an earlier one",
    "contradicting_prompts": "prompts with several labels",
    "differing_answers": "prompts with several answers, where there are no labels",
    "length_outliers": "answers far longer or shorter than the others",
    "language_outliers": "rows in another language than the rest",
    "refusals": "answers that decline",
    "boilerplate": "answers with phrases of an assistant or a footer that many share",
    "broken_urls": "links that are cut or malformed",
    "secrets": "keys, tokens and passwords",
    "personal_data": "e-mail addresses, telephone numbers, account and card numbers",
    "label_noise": "labels that a cheap classifier doubts",
    "answer_in_prompt": "rows that hold their whole answer in the prompt",
    "incompatible_licences": "rows whose licences may not be mixed",
    "unknown_licences": "rows whose licence is not in the table",
    "test_overlap": "rows that stand in a public test set",
}
MASKABLE = frozenset({"secrets", "personal_data"})
ONE_OF_SEVERAL = frozenset({"contradicting_prompts", "differing_answers"})


class QualitySettings(BaseModel):
    """What is asked of each row; applied by a run and by `tunesmith data prepare`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    enabled: bool = Field(True, description="false applies none of this, for an ablation.")
    actions: dict[str, Action] = Field(
        default_factory=dict, description="keep, drop, keep_first, mask or fail, by the code."
    )
    min_characters: int | None = Field(None, ge=1, description="Shortest answer, in characters.")
    max_characters: int | None = Field(None, ge=1, description="Longest answer, in characters.")
    min_score: float | None = Field(
        None, description="Least score (votes) of a row; rows without one are kept."
    )
    max_near_duplicates_per_cluster: int | None = Field(
        None, ge=1, description="Rows kept of each cluster of near-duplicates, the first ones."
    )
    languages: tuple[str, ...] = Field(
        (), description="Languages that are wanted (ISO 639-1); none named: the most frequent one."
    )
    phone_region: str | None = Field(
        "US",
        pattern="^[A-Z]{2}$",
        description="Country whose national telephone numbers are known; null: only +numbers.",
    )
    against_tests: tuple[str, ...] = Field(
        (), description="Files of public test sets that no row may stand in (test_overlap)."
    )

    @field_validator("actions")
    @classmethod
    def _known(cls, actions: dict[str, Action]) -> dict[str, Action]:
        for code, action in actions.items():
            if code not in CODES:
                near = difflib.get_close_matches(code, CODES, n=1)
                meant = f"; did you mean {near[0]}?" if near else ""
                raise ValueError(f"no finding {code!r}{meant} Known: {', '.join(CODES)}")
            for special, fits in (("mask", MASKABLE), ("keep_first", ONE_OF_SEVERAL)):
                if action == special and code not in fits:
                    told = " and ".join(sorted(fits))
                    raise ValueError(f"{code}: {special} is for {told} only")
        return actions

    @model_validator(mode="after")
    def _range(self) -> QualitySettings:
        low, high = self.min_characters, self.max_characters
        if low is not None and high is not None and low > high:
            raise ValueError(f"min_characters ({low}) is above max_characters ({high})")
        return self

    def chosen(self) -> dict[str, Action]:
        """The action of every code that one was named for, in words or by a threshold."""
        if not self.enabled:
            return {}
        implied: dict[str, Action] = {}
        for code, value in (
            ("too_short", self.min_characters),
            ("too_long", self.max_characters),
            ("low_score", self.min_score),
            ("near_duplicates", self.max_near_duplicates_per_cluster),
        ):
            if value is not None:
                implied[code] = "drop"
        return {c: a for c, a in (implied | self.actions).items() if a != "keep"}
