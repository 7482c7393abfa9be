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

LINKS = "links"


class LinkedAnswer(QuestionAnswer):
    """Answer a question, links and all; `system` is the system text for rows that bring none.

    `meta["links"]` of an example says whether its gold answer holds a link: yes or no.
    """

    name = "linked_answer"
    description = "a short answer to a question, right only with every link of it whole"
    metrics: ClassVar[tuple[str, ...]] = (
        "accuracy",
        "url_intact",
        *(name for name in QuestionAnswer.metrics if name != "accuracy"),
    )

    def shape(self, row: Mapping[str, object]) -> Draft:
        """As `question_answer`, with `links`."""
        draft = super().shape(row)
        return replace(draft, meta={**draft.meta, LINKS: "yes" if urls(draft.target) else "no"})

    def score(self, parsed: Parsed, example: Example) -> dict[str, float]:
        """`accuracy`: what is said is right and every link is whole; `url_intact`: see below.

        Every example has every score. Where the gold answer holds no link, `url_intact` is the
        accuracy, so that a row without one cannot lift the mean: on the slice links=yes it is the
        share of answers with links whose links are whole.
        """
        scores = super().score(parsed, example)
        whole = url_intact(parsed.text, example.target)
        accuracy = scores["accuracy"] * whole
        linked = bool(urls(example.target))
        return {**scores, "accuracy": accuracy, "url_intact": whole if linked else accuracy}
