"""Answers for examples: asked in batches, read and scored by the task, handed on as they come.

A model is one Responder among others (`evaluate.cheap`, `models.echo`): what they say takes the
same way through the task's parser and scorers. What cannot be read is UNPARSED, what did not
arrive is FAILED; neither becomes a label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from tunesmith.errors import EvaluationError
from tunesmith.models.reply import Reply, Responder
from tunesmith.records import Answer, Example, Outcome
from tunesmith.tasks.base import Task, score_all

if TYPE_CHECKING:
    from tunesmith.models.load import Loaded

Mode = Literal["generate", "label_likelihood"]
HOPELESS = "cannot be asked: "  # begins the reason of a failure that asking again does not mend
Sink = Callable[[Sequence[Answer]], None]
Progress = Callable[[int, int], None]


def evaluate(
    examples: Sequence[Example],
    responder: Responder,
    task: Task,
    *,
    done: Mapping[str, Answer] | None = None,
    sink: Sink | None = None,
    progress: Progress | None = None,
) -> list[Answer]:
    """One Answer for each distinct example, in the order of `examples`.

    `done` holds answers of an earlier attempt by example id: they are kept, but for those that
    FAILED and may yet come, which are asked again. `sink` receives new answers as they come, in
    the batches of the responder; what it wrote down before an interruption is the next attempt's
    `done`. `progress` hears (answered, of how many). Examples with the same prompt are asked once,
    and each is scored by its own gold answer; only the first bears the seconds. A FAILED answer
    holds the reason where the response would stand.
    """
    unique = {example.id: example for example in examples}
    answers = {
        i: answer for i, answer in (done or {}).items() if i in unique and not may_come(answer)
    }
    keys = {i: example.prompt_key for i, example in unique.items()}
    heard = {keys[i]: answer for i, answer in answers.items()}
    waiting: dict[str, list[Example]] = {}
    twins: list[tuple[Example, Reply]] = []
    for i, example in unique.items():
        if i in answers:
            continue
        twin = heard.get(keys[i])
        if twin is None:
            waiting.setdefault(keys[i], []).append(example)
        else:
            twins.append((example, _repeated(twin)))

    def arrived(pairs: Sequence[tuple[Example, Reply]]) -> None:
        new = _judged(pairs, task)
        answers.update((answer.example_id, answer) for answer in new)
        if sink is not None and new:
            sink(new)
        if progress is not None:
            progress(len(answers), len(unique))

    arrived(twins)
    groups = list(waiting.values())
    missing = set(range(len(groups)))
    for replies in responder.replies([group[0] for group in groups]) if groups else ():
        missing.difference_update(reply.index for reply in replies)
        arrived([pair for reply in replies for pair in _shared(reply, groups[reply.index])])
    unheard = [Reply(i, failure="the responder said nothing") for i in sorted(missing)]
    if unheard:
        arrived([pair for reply in unheard for pair in _shared(reply, groups[reply.index])])
    return [answers[i] for i in unique]


def may_come(answer: Answer) -> bool:
    """Whether an answer FAILED in a way that asking again may mend; a prompt stays too long."""
    return answer.outcome is Outcome.FAILED and not answer.response.startswith(HOPELESS)


def _repeated(answer: Answer) -> Reply:
    """What was said to another example with the same prompt."""
    if answer.outcome is Outcome.FAILED:
        return Reply(0, failure=answer.response)
    return Reply(0, answer.response, tokens=answer.tokens)


def _shared(reply: Reply, group: Sequence[Example]) -> Iterator[tuple[Example, Reply]]:
    """One reply for all examples with that prompt; the time was spent once."""
    yield group[0], reply
    for example in group[1:]:
        yield example, Reply(reply.index, reply.response, 0.0, reply.tokens, reply.failure)


def _judged(pairs: Sequence[tuple[Example, Reply]], task: Task) -> list[Answer]:
    """What each reply is worth."""
    came = [(example, reply) for example, reply in pairs if not reply.failure]
    scored = score_all(task, [r.response for _, r in came], [e for e, _ in came]) if came else []
    answers = [
        Answer(
            example_id=example.id,
            response=reply.response,
            outcome=parsed.outcome,
            label=parsed.label,
            scores=scores,
            seconds=reply.seconds,
            tokens=reply.tokens,
        )
        for (example, reply), (parsed, scores) in zip(came, scored, strict=True)
    ]
    failed = (
        Answer(example.id, reply.failure, Outcome.FAILED)
        for example, reply in pairs
        if reply.failure
    )
    return [*answers, *failed]


class ModelResponder:
    """A model's own answers, greedy.

    `generate` lets it write, at most `max_new_tokens`. `label_likelihood` asks for the label of the
    task's closed set that the model finds likeliest as the beginning of its answer: the sum of the
    log-probabilities of the label's tokens behind the prompt, without division by their number,
    because the labels exclude one another and so their probabilities are to be compared as they
    are. (Where one label's tokens begin another's, they do not exclude one another; then the token
    that ends the turn counts with each.) The response is the label as a gold answer begins with it.
    A tie goes to the label that the task names first.
    """

    def __init__(
        self,
        loaded: Loaded,
        task: Task,
        *,
        mode: Mode = "generate",
        max_new_tokens: int | None = None,
        batch_size: int = 64,
    ) -> None:
        if mode == "label_likelihood":
            check_labels(task)
        self._loaded = loaded
        self._labels = task.labels
        self._mode = mode
        self._max_new_tokens = max_new_tokens or task.max_new_tokens
        self._batch_size = batch_size

    def replies(self, examples: Sequence[Example]) -> Iterator[Sequence[Reply]]:
        """Longest prompt first, batch by batch."""
        if self._mode == "generate":
            return self._written(examples)
        return self._decided(examples)

    def _written(self, examples: Sequence[Example]) -> Iterator[Sequence[Reply]]:
        from tunesmith.models.generate import generate

        decode = self._loaded.renderer.decode
        prompts = self._loaded.renderer.prompts(examples)
        for batch in generate(
            self._loaded,
            prompts,
            max_new_tokens=self._max_new_tokens,
            batch_size=self._batch_size,
        ):
            yield [
                Reply(
                    index=one.index,
                    response="" if one.failure else decode(one.ids),
                    seconds=one.seconds,
                    tokens=len(one.ids),
                    failure=self._told(one.failure, prompts[one.index], 1),
                )
                for one in batch
            ]

    def _decided(self, examples: Sequence[Example]) -> Iterator[Sequence[Reply]]:
        from tunesmith.models.likelihood import continuations, score_candidates

        prompts = self._loaded.renderer.prompts(examples)
        labels = continuations(self._loaded.renderer, examples, self._labels)
        for batch in score_candidates(
            self._loaded,
            prompts,
            labels,
            batch_size=self._batch_size,
        ):
            yield [
                Reply(
                    index=one.index,
                    response="" if one.failure else self._labels[one.best],
                    seconds=one.seconds,
                    tokens=one.tokens,
                    failure=self._told(
                        one.failure, prompts[one.index], max(map(len, labels[one.index]))
                    ),
                )
                for one in batch
            ]

    def _told(self, failure: str, prompt: Sequence[int], room: int) -> str:
        """The reason of a failure, and whether it is for good: the context has no `room` left."""
        fits = 0 < len(prompt) <= self._loaded.context - room
        return failure if fits or not failure else HOPELESS + failure


def check_labels(task: Task) -> None:
    """Raise EvaluationError where the task has no labels, or does not read one as what it is."""
    if not task.labels:
        raise EvaluationError(
            f"the task {task.name} has no closed set of labels to choose from",
            hint="set evaluation.decoding to generate",
        )
    for label in task.labels:
        read = task.parse(label).label
        if read != label:
            raise EvaluationError(
                f"the task {task.name} reads the bare label {label!r} as {read!r}",
                hint="its parse() must read a bare label, or set evaluation.decoding to generate",
            )
