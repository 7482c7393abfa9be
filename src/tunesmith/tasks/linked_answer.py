"""Questions to an assistant that must hand on links: right only if each came through whole.

The rows are those of `question_answer`. A broken link looks right to every score of words (they
pass over `& % #`), and leads nowhere: so `accuracy` asks for the links letter for letter, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from tunesmith.records import Example
from tunesmith.tasks.base import Draft, Parsed
from tunesmith.tasks.links import url_intact, urls
from tunesmith.tasks.question_answer import QuestionAnswer

LINKS, INTACT = "links", "url_intact"


class LinkedAnswer(QuestionAnswer):
    """Answer a question, links and all; `system` is the system text for rows that bring none.

    `meta["links"]` of an example says whether its gold answer holds a link: yes or no.
    """

    name = "linked_answer"
    description = "a short answer to a question, right only with every link of it whole"
    metrics: ClassVar[tuple[str, ...]] = (
        "accuracy",
        INTACT,
        *(name for name in QuestionAnswer.metrics if name != "accuracy"),
    )

    def shape(self, row: Mapping[str, object]) -> Draft:
        """As `question_answer`, with `links`."""
        draft = super().shape(row)
        return replace(draft, meta={**draft.meta, LINKS: "yes" if urls(draft.target) else "no"})

    def score(self, parsed: Parsed, example: Example) -> dict[str, float]:
        """`accuracy`: what is said is right and every link is whole; `url_intact`: they are, where
        the gold answer holds one, whatever is said around them."""
        scores = super().score(parsed, example)
        if not self.applies(INTACT, example):
            return {name: value for name, value in scores.items() if name != INTACT}
        whole = url_intact(parsed.text, example.target)
        return {**scores, "accuracy": scores["accuracy"] * whole, INTACT: whole}

    def applies(self, metric: str, example: Example) -> bool:
        """Only a gold answer with a link says anything of links."""
        return metric != INTACT or bool(urls(example.target))
