"""Asking, scoring, interrupting and going on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
import torch

from tunesmith.errors import EvaluationError
from tunesmith.evaluate.answer import Mode, ModelResponder, evaluate
from tunesmith.models.echo import Echo
from tunesmith.models.load import Loaded
from tunesmith.models.reply import Reply, Responder
from tunesmith.records import Answer, Example, Message, Outcome
from tunesmith.tasks.base import Task, get_task

MODES: tuple[Mode, ...] = ("generate", "label_likelihood")


def timeless(answers: Sequence[Answer]) -> list[Answer]:
    return [replace(answer, seconds=0.0) for answer in answers]


class Asked:
    """A responder that remembers what it was asked."""

    def __init__(self, responder: Responder) -> None:
        self.responder = responder
        self.prompts: list[str] = []

    def replies(self, examples: Sequence[Example]) -> Iterator[Sequence[Reply]]:
        self.prompts += [example.messages[-1].content for example in examples]
        return self.responder.replies(examples)


def script(examples: Sequence[Example]) -> dict[str, str]:
    """The gold answer of each prompt; of twins, the first one's."""
    return {e.messages[-1].content: e.target for e in reversed(examples)}


def test_gold_answers_get_full_marks(colour: Task, examples: list[Example]) -> None:
    rows = examples[:24]
    answers = evaluate(rows, Echo(script(rows)), colour)
    assert [a.example_id for a in answers] == [e.id for e in rows]
    assert all(a.outcome is Outcome.SCORED for a in answers)
    assert all(a.scores == {"accuracy": 1.0, "brief": 1.0} for a in answers)
    assert [a.label for a in answers] == [e.label for e in rows]


def test_gold_answers_of_the_built_in_tasks_get_full_marks() -> None:
    access = get_task("access_decision")
    row = {"permissions": '{"a": 1}', "query": "May I?", "expected_response": "reject"}
    graph = get_task("dot_graph")
    machine = {"input_text": "a leads to b", "output_dot": "digraph { a -> b [label=go]; }"}
    for task, raw in ((access, row), (graph, machine)):
        draft = task.shape(raw)
        example = Example(draft.messages, draft.target, draft.label)
        (answer,) = evaluate([example], Echo(script([example])), task)
        assert answer.outcome is Outcome.SCORED
        assert answer.scores == dict.fromkeys(task.metrics, 1.0)


def test_every_outcome_is_its_own_and_none_becomes_a_label(colour: Task) -> None:
    rows = [Example((Message("user", q),), "red\nbecause", "red") for q in "abcd"]
    said = {"a": "red", "b": "a kind of purple", "c": "I'm sorry, but I can't say."}
    answers = evaluate(rows, Echo(said), colour)
    assert [a.outcome for a in answers] == [
        Outcome.SCORED,
        Outcome.UNPARSED,
        Outcome.REFUSED,
        Outcome.FAILED,
    ]
    assert [a.label for a in answers] == ["red", None, None, None]
    assert [dict(a.scores) for a in answers] == [
        {"accuracy": 1.0, "brief": 1.0},
        {"accuracy": 0.0, "brief": 0.0},
        {"accuracy": 0.0, "brief": 0.0},
        {},
    ]
    assert answers[1].response == "a kind of purple"
    assert "script" in answers[3].response  # the reason


def test_an_example_that_the_responder_passes_over_has_failed(
    colour: Task, examples: list[Example]
) -> None:
    class Forgetful:
        def replies(self, examples: Sequence[Example]) -> Iterator[Sequence[Reply]]:
            yield [Reply(i, "red") for i in range(0, len(examples), 2)]

    answers = evaluate(examples[:5], Forgetful(), colour)
    assert [a.outcome is Outcome.FAILED for a in answers] == [False, True, False, True, False]
    assert "said nothing" in answers[1].response


def test_twins_are_asked_once_and_judged_each(colour: Task, examples: list[Example]) -> None:
    asked = Asked(Echo(script(examples)))
    heard: list[tuple[int, int]] = []
    answers = evaluate(examples, asked, colour, progress=lambda n, total: heard.append((n, total)))
    assert len(asked.prompts) == len(set(asked.prompts)) == 24
    # 30 rows: 3 are the same example again, 3 the same prompt with another label.
    assert len(answers) == len({a.example_id for a in answers}) == 27
    assert [a.scores["accuracy"] for a in answers] == [1.0] * 24 + [0.0] * 3
    by_id = {a.example_id: a for a in answers}
    for twin in examples[27:]:
        first = next(e for e in examples if e.prompt_key == twin.prompt_key)
        assert by_id[twin.id].response == by_id[first.id].response
        assert by_id[twin.id].seconds == 0.0
    assert heard[-1] == (27, 27)
    assert [n for n, _ in heard] == sorted(n for n, _ in heard)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("batches", [1, 2])
def test_an_interrupted_evaluation_goes_on_where_it_was(
    mode: Mode, batches: int, loaded: Loaded, colour: Task, examples: list[Example]
) -> None:
    whole = evaluate(examples, ModelResponder(loaded, colour, mode=mode, batch_size=7), colour)

    written: list[Answer] = []
    calls = 0

    def sink(answers: Sequence[Answer]) -> None:
        nonlocal calls
        written.extend(answers)
        calls += 1
        if calls == batches:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(
            examples,
            ModelResponder(loaded, colour, mode=mode, batch_size=7),
            colour,
            sink=sink,
        )
    assert 0 < len(written) < len(whole)

    done = {answer.example_id: answer for answer in written}
    later: list[Answer] = []
    asked = Asked(ModelResponder(loaded, colour, mode=mode, batch_size=5))
    resumed = evaluate(examples, asked, colour, done=done, sink=later.extend)
    assert timeless(resumed) == timeless(whole)
    assert len(written) + len(later) == len(whole)
    known = {e.messages[-1].content for e in examples if e.id in done}
    assert not known.intersection(asked.prompts)


def test_what_failed_is_asked_again_and_the_rest_is_not(
    colour: Task, examples: list[Example]
) -> None:
    rows = examples[:10]
    half = Echo(script(rows[:6]))
    first = {a.example_id: a for a in evaluate(rows, half, colour)}
    asked = Asked(Echo(script(rows)))
    again: list[Answer] = []
    answers = evaluate(rows, asked, colour, done=first, sink=again.extend)
    assert asked.prompts == [e.messages[-1].content for e in rows[6:]]
    assert [a.example_id for a in again] == [e.id for e in rows[6:]]
    assert all(a.outcome is Outcome.SCORED for a in answers)


def test_nothing_left_to_ask_asks_nothing(colour: Task, examples: list[Example]) -> None:
    done = {a.example_id: a for a in evaluate(examples, Echo(script(examples)), colour)}
    asked = Asked(Echo({}))
    heard: list[tuple[int, int]] = []
    answers = evaluate(
        examples, asked, colour, done=done, progress=lambda n, total: heard.append((n, total))
    )
    assert asked.prompts == []
    assert answers == list(done.values())
    assert heard == [(27, 27)]
    assert evaluate([], Echo({}), colour) == []


def test_answers_of_other_examples_are_left_alone(colour: Task, examples: list[Example]) -> None:
    stranger = Answer("somebody else", "red", Outcome.SCORED)
    answers = evaluate(
        examples[:2], Echo(script(examples)), colour, done={"somebody else": stranger}
    )
    assert [a.example_id for a in answers] == [e.id for e in examples[:2]]


def test_the_likeliest_label_is_the_response(
    loaded: Loaded, colour: Task, examples: list[Example]
) -> None:
    rows = examples[:24]
    answers = evaluate(rows, ModelResponder(loaded, colour, mode="label_likelihood"), colour)
    assert all(a.outcome is Outcome.SCORED and a.response == a.label for a in answers)
    for example, answer in zip(rows, answers, strict=True):
        assert answer.label == likeliest(loaded, example, colour.labels)
        assert answer.scores["accuracy"] == float(answer.label == example.label)
        assert answer.tokens > 0


@torch.no_grad()
def likeliest(loaded: Loaded, example: Example, labels: Sequence[str]) -> str:
    """By one plain forward pass for each label, the tokens of the gold answer's beginning."""
    prompt = loaded.renderer.prompt_ids(example.messages)
    found = {}
    for label in labels:
        ids = loaded.renderer.tokenizer.encode(label, add_special_tokens=False)
        logits = loaded.model(input_ids=torch.tensor([prompt + ids])).logits[0].log_softmax(-1)
        found[label] = sum(
            logits[len(prompt) - 1 + place, token].item() for place, token in enumerate(ids)
        )
    return max(labels, key=lambda label: found[label])


def test_labels_that_the_task_cannot_read_are_refused(loaded: Loaded, colour: Task) -> None:
    with pytest.raises(EvaluationError, match="closed set"):
        ModelResponder(loaded, get_task("dot_graph"), mode="label_likelihood")

    class Shouting(type(colour)):  # type: ignore[misc]
        labels = ("RED!", "GREEN!")

        def parse(self, response: str) -> object:
            return super().parse(response.lower().rstrip("!"))

    with pytest.raises(EvaluationError, match="reads the bare label 'RED!' as None"):
        ModelResponder(loaded, Shouting(), mode="label_likelihood")


def test_a_prompt_longer_than_the_context_fails_with_its_reason(
    loaded: Loaded, colour: Task, examples: list[Example]
) -> None:
    endless = Example((Message("user", "why " * 400),), "red", "red")
    for mode in MODES:
        answers = evaluate(
            [endless, examples[0]], ModelResponder(loaded, colour, mode=mode), colour
        )
        assert answers[0].outcome is Outcome.FAILED
        assert "256" in answers[0].response
        assert answers[1].outcome is not Outcome.FAILED


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_that_can_never_come_is_not_asked_for_again(
    mode: Mode, loaded: Loaded, colour: Task, examples: list[Example]
) -> None:
    prompt = (Message("user", "why " * 400),)
    rows = [Example(prompt, "red", "red"), examples[0]]
    responder = ModelResponder(loaded, colour, mode=mode)
    first = {a.example_id: a for a in evaluate(rows, responder, colour)}
    late = Answer(examples[0].id, "out of memory", Outcome.FAILED)
    twin = Example(prompt, "blue", "blue")
    asked = Asked(responder)
    again = evaluate([*rows, twin], asked, colour, done=first | {late.example_id: late})
    assert asked.prompts == [examples[0].messages[-1].content]
    assert again[0] == first[rows[0].id]
    assert again[1].outcome is not Outcome.FAILED
    assert (again[2].outcome, again[2].response) == (Outcome.FAILED, again[0].response)


def test_answers_do_not_depend_on_batch_mates(
    loaded: Loaded, colour: Task, examples: list[Example]
) -> None:
    for mode in MODES:
        one, many = (
            evaluate(examples, ModelResponder(loaded, colour, mode=mode, batch_size=size), colour)
            for size in (1, 64)
        )
        assert timeless(one) == timeless(many)
