"""Rendering: the loss stands on the answer and its end of turn, and on nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from tiny_models import BOS, CHATML, END, START, questions, tiny_tokenizer
from tunesmith.errors import ModelError
from tunesmith.models.render import Encoded, Renderer
from tunesmith.records import Example, Message

PLAIN = tiny_tokenizer()
WITH_BOS = tiny_tokenizer(bos=True)
LLAMA3_LIKE = (
    "{{ '<|bos|>' }}{% for m in messages %}"
    "{{ '[' + m['role'] + ']\\n\\n' + m['content'] | trim + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[assistant]\\n\\n' }}{% endif %}"
)
NO_END = (
    "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
) + CHATML
THINKING = CHATML.replace(
    "{{ '<|im_start|>assistant\n' }}", "{{ '<|im_start|>assistant\n<think>\n' }}"
)

texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40)
turns = st.lists(
    st.tuples(texts.filter(str.strip), texts.filter(str.strip)), min_size=1, max_size=3
)


def conversation(pairs: list[tuple[str, str]], system: str | None) -> Example:
    messages = [Message("system", system)] if system else []
    for question, answer in pairs:
        messages += [Message("user", question), Message("assistant", answer)]
    return Example(tuple(messages[:-1]), messages[-1].content)


def supervised(tokenizer: PreTrainedTokenizerFast, encoded: Encoded) -> str:
    return str(tokenizer.decode(encoded.ids[encoded.answer_start :]))


def answer_ids(renderer: Renderer, messages: tuple[Message, ...], answer: str) -> list[int]:
    encoded = renderer.example(Example(messages, answer))
    return list(encoded.ids[encoded.answer_start :])


@pytest.mark.parametrize("tokenizer", [PLAIN, WITH_BOS], ids=["plain", "bos"])
@settings(max_examples=60, deadline=None)
@given(pairs=turns, system=st.none() | texts.filter(str.strip))
def test_the_mask_is_the_answer_and_its_end_exactly(
    tokenizer: PreTrainedTokenizerFast, pairs: list[tuple[str, str]], system: str | None
) -> None:
    renderer = Renderer(tokenizer)
    example = conversation(pairs, system)
    encoded = renderer.example(example)
    answer = encoded.ids[encoded.answer_start :]
    assert supervised(tokenizer, encoded) == example.target + END
    assert answer[-1] == tokenizer.eos_token_id
    assert list(encoded.ids[: encoded.answer_start]) == renderer.prompt_ids(example.messages)
    assert encoded.answer_tokens == len(answer)
    # As it is serialised by hand, with nothing before, between or behind.
    whole = "".join(f"{START}{m.role}\n{m.content}{END}\n" for m in example.messages)
    whole += f"{START}assistant\n{example.target}{END}"
    bos = BOS if tokenizer is WITH_BOS else ""
    assert tokenizer.decode(encoded.ids) == bos + whole


def test_bos_stands_once_at_the_front_where_the_template_writes_it() -> None:
    # Encoding alone would add a second one: the tokenizer's own post-processor does.
    assert WITH_BOS(BOS + "text")["input_ids"].count(WITH_BOS.bos_token_id) == 2
    renderer = Renderer(WITH_BOS)
    for example in questions(6):
        ids = renderer.example(example).ids
        assert ids.count(WITH_BOS.bos_token_id) == 1
        assert ids[0] == WITH_BOS.bos_token_id
        assert renderer.prompt_ids(example.messages).count(WITH_BOS.bos_token_id) == 1


def test_no_bos_is_invented_where_the_template_writes_none() -> None:
    tokenizer = tiny_tokenizer(bos=True)
    tokenizer.chat_template = CHATML
    assert tokenizer.bos_token_id not in Renderer(tokenizer).example(questions(1)[0]).ids


def test_one_by_one_and_in_one_batch_are_the_same() -> None:
    renderer, examples = Renderer(PLAIN), questions(12)
    batch = renderer.examples(examples)
    assert batch == [renderer.example(e) for e in examples]
    assert renderer.prompts(examples) == [renderer.prompt_ids(e.messages) for e in examples]
    assert renderer.lengths(examples) == [len(e.ids) for e in batch]
    assert renderer.examples([]) == []


def test_llama_3_style_template_ends_at_its_own_token() -> None:
    tokenizer = tiny_tokenizer(template=LLAMA3_LIKE)
    encoded = Renderer(tokenizer).example(Example((Message("user", "Why?"),), "Because."))
    assert supervised(tokenizer, encoded) == "Because." + END
    assert tokenizer.decode(encoded.ids) == f"{BOS}[user]\n\nWhy?{END}[assistant]\n\nBecause.{END}"


def test_a_template_that_does_not_end_the_turn_gets_the_end_appended() -> None:
    tokenizer = tiny_tokenizer(template=NO_END)
    encoded = Renderer(tokenizer).example(Example((Message("user", "Why?"),), "So."))
    assert encoded.ids[-1] == tokenizer.eos_token_id
    assert supervised(tokenizer, encoded).startswith("So.")


def test_the_end_of_turn_of_the_generation_settings_counts_as_an_end() -> None:
    """Llama 3's tokenizer names <|end_of_text|>, its turns end with <|eot_id|>."""
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = "<|pad|>"
    end = tokenizer.convert_tokens_to_ids(END)
    renderer = Renderer(tokenizer, stop_ids=[end])
    encoded = renderer.example(questions(1)[0])
    assert encoded.ids[-1] == end
    assert encoded.ids.count(tokenizer.eos_token_id) == 0
    assert renderer.stop_ids == {end, tokenizer.eos_token_id}


def test_a_template_that_refuses_a_system_turn_gets_it_before_the_question() -> None:
    renderer = Renderer(tiny_tokenizer(template=NO_SYSTEM))
    example = Example((Message("system", "Be brief."), Message("user", "Why?")), "So.")
    prompt = renderer.prompt_text(example.messages)
    assert prompt == f"{START}user\nBe brief.\n\nWhy?{END}\n{START}assistant\n"
    assert renderer.example(example).ids[-1] in renderer.stop_ids


def test_a_system_turn_that_a_template_leaves_out_goes_before_the_question() -> None:
    silent = CHATML.replace("in messages", "in messages if message['role'] != 'system'")
    renderer = Renderer(tiny_tokenizer(template=silent))
    prompt = renderer.prompt_text((Message("system", "Be brief."), Message("user", "Why?")))
    assert prompt == f"{START}user\nBe brief.\n\nWhy?{END}\n{START}assistant\n"


def test_the_token_that_the_template_ends_a_turn_with_is_an_end() -> None:
    """Qwen's base models name <|endoftext|> everywhere, and their turns end with <|im_end|>."""
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = "<|pad|>"
    renderer = Renderer(tokenizer)
    encoded = renderer.example(Example((Message("user", "Why?"),), "So."))
    assert supervised(tokenizer, encoded) == "So." + END
    assert renderer.decode(encoded.ids[encoded.answer_start :]) == "So."


@pytest.mark.parametrize("template", [NO_END, CHATML.replace("<|im_end|>", "</turn>")])
def test_what_is_written_behind_an_answer_in_letters_is_no_part_of_it(template: str) -> None:
    renderer = Renderer(tiny_tokenizer(template=template))
    ids = answer_ids(renderer, (Message("user", "Why?"),), "So.")
    assert ids[-1] in renderer.stop_ids
    assert renderer.decode(ids) == "So."


def test_a_model_that_can_think_is_asked_not_to() -> None:
    """As Qwen3's template does it; the answers it is trained on hold no thoughts."""
    empty = "<think>\n\n</think>\n\n"
    template = (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
        "{% if loop.last and m['role'] == 'assistant' %}{{ '" + empty + "' }}{% endif %}"
        "{{ m['content'] + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
        "{% if enable_thinking is defined and not enable_thinking %}{{ '"
        + empty
        + "' }}{% endif %}"
        "{% endif %}"
    ).replace("\n", "\\n")
    renderer = Renderer(tiny_tokenizer(template=template))
    messages = (Message("user", "Why?"),)
    assert renderer.prompt_text(messages).endswith(f"{START}assistant\n{empty}")
    assert renderer.decode(answer_ids(renderer, messages, "So.")) == "So."


def test_a_template_that_writes_the_date_writes_the_same_on_every_day() -> None:
    """Llama 3.2's does: what a model learned in one week is asked in another."""
    renderer = Renderer(tiny_tokenizer(template="{{ strftime_now('%d %b %Y') }}" + CHATML))
    assert renderer.prompt_text((Message("user", "Why?"),)).startswith("26 Jul 2024<|im_start|>")


def test_what_a_template_refuses_is_said_with_its_place() -> None:
    strict = (
        "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('roles must alternate') }}{% endif %}{% endfor %}"
    ) + CHATML
    renderer = Renderer(tiny_tokenizer(template=strict))
    twice = Example((Message("user", "a"), Message("user", "b")), "c", place="rows.jsonl:7")
    for ask in (renderer.examples, renderer.prompts):
        with pytest.raises(ModelError, match="roles must alternate") as caught:
            ask([twice])
        assert "rows.jsonl:7" in caught.value.message
        assert "user, user" in caught.value.message
    with pytest.raises(ModelError, match=r"chat template of .* cannot be used"):
        Renderer(tiny_tokenizer(template="{% for m in messages %}"))


def test_a_prompt_that_is_not_the_beginning_of_the_whole_is_refused() -> None:
    renderer = Renderer(tiny_tokenizer(template=THINKING))
    example = Example((Message("user", "Why?"),), "So.", place="rows.jsonl:7")
    with pytest.raises(ModelError, match="not the beginning of the whole conversation") as caught:
        renderer.example(example)
    assert "rows.jsonl:7" in caught.value.message
    assert "model.chat_template" in caught.value.hint


def test_a_tokenizer_without_a_template_or_an_end_is_refused() -> None:
    with pytest.raises(ModelError, match="has no chat template") as caught:
        Renderer(tiny_tokenizer(template=None))
    assert "model.chat_template" in caught.value.hint
    endless = tiny_tokenizer(template=NO_END)
    endless.eos_token = None
    with pytest.raises(ModelError, match="names no end-of-turn token") as caught:
        Renderer(endless)
    assert "eos_token" in caught.value.hint


@settings(max_examples=60, deadline=None)
@given(answer=texts)
def test_decoding_an_answer_gives_its_text_back(answer: str) -> None:
    renderer = Renderer(PLAIN)
    messages = (Message("user", "Say it."),)
    ids = answer_ids(renderer, messages, answer)
    assert ids[-1] == PLAIN.eos_token_id
    assert renderer.decode(ids) == answer


def test_an_answer_that_could_merge_with_the_prompt_is_cut_where_serving_cuts_it() -> None:
    """The prompt ends in a blank that byte-level BPE would pull into the answer's first word."""
    glued = NO_END.replace("'assistant: '", "'assistant:'").replace(
        "{{ m['role'] + ': ' + m['content']", "{{ m['role'] + ':' + m['content']"
    )
    tokenizer = tiny_tokenizer(template=glued)
    renderer = Renderer(tokenizer)
    example = Example((Message("user", "the"),), "e manager")
    encoded = renderer.example(example)
    assert list(encoded.ids[: encoded.answer_start]) == renderer.prompt_ids(example.messages)
    assert supervised(tokenizer, encoded).startswith("e manager")
