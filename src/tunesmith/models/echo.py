"""A scripted model: it says what it was told to say. For tests and tutorials, without weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from tunesmith.models.reply import Reply
from tunesmith.records import Example, Message

Script = Mapping[str, str] | Callable[[Sequence[Message]], str]


class Echo:
    """Answers by a script; without one, it repeats what the user said last.

    A script is a mapping from the last message to the answer, or a function of the messages. A
    prompt that a mapping does not know gets no answer: the reply is a failure, as from a model
    that cannot be reached. An example's gold answer is never looked at.
    """

    def __init__(self, script: Script | None = None, *, batch_size: int = 8) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        self._script = script
        self._batch_size = batch_size

    def replies(self, examples: Sequence[Example]) -> Iterator[Sequence[Reply]]:
        """The scripted answers, in the order of the examples, `batch_size` at a time."""
        for start in range(0, len(examples), self._batch_size):
            batch = examples[start : start + self._batch_size]
            yield [self._reply(start + i, example.messages) for i, example in enumerate(batch)]

    def _reply(self, index: int, messages: Sequence[Message]) -> Reply:
        said = messages[-1].content if messages else ""
        if self._script is None:
            answer: str | None = said
        elif callable(self._script):
            answer = self._script(messages)
        else:
            answer = self._script.get(said)
        if answer is None:
            return Reply(index, failure="the script has no answer to this prompt")
        return Reply(index, answer, tokens=len(answer.split()))
