"""Questions with a right answer: short ones, judged by what they say, and by how they say it.

The rows are those of the task `text`. A row may say `kind: closed` (the answer is one of few, or a
figure): its answer is then read from the first clause of the response, so that an explanation
behind it does no harm, and `accuracy` on the slice kind=closed is the share of right answers.
"""

from __future__ import annotations

from typing import ClassVar

from tunesmith.records import Example, Outcome
from tunesmith.tasks import wording
from tunesmith.tasks.base import Parsed
from tunesmith.tasks.text import Text

CLOSED = "closed"


class QuestionAnswer(Text):
    """Answer a question; `system` is the system text for rows that bring none."""

    name = "question_answer"
    description = "a short answer to a question, right or wrong, and how like the gold answer"
    metrics: ClassVar[tuple[str, ...]] = (
        "accuracy",
        "exact",
        "token_f1",
        "rouge_l",
        "bleu",
        "chrf",
    )
    primary = "accuracy"
    max_new_tokens = 256

    def score(self, parsed: Parsed, example: Example) -> dict[str, float]:
        """`accuracy`: what is said is right (`wording.same_answer`); the others as in `wording`."""
        if parsed.outcome not in {Outcome.SCORED, Outcome.REFUSED}:
            return self.zero()
        said, gold = parsed.text, example.target
        closed = example.meta.get("kind") == CLOSED
        return {
            "accuracy": wording.same_answer(said, gold, closed=closed),
            "exact": wording.exact(said, gold),
            "token_f1": wording.token_f1(said, gold),
            "rouge_l": wording.rouge_l(said, gold),
            "bleu": wording.bleu(said, gold),
            "chrf": wording.chrf(said, gold),
        }
