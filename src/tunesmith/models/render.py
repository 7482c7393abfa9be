"""Messages to token ids and a loss mask: the only place in Tunesmith that encodes text.

What is trained is what is asked at serving time, so both go through here. The loss stands on the
answer and on the token that ends its turn, and on nothing else. That end must be trained: a model
that never saw it runs on after its answer, a frequent grief of hand-written training scripts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from tunesmith.errors import ModelError
from tunesmith.records import Example, Message

PROBE = "xyzzy"  # stands for a text, to see what a template makes of it
# A prompt must not change from day to day. Llama 3.2's holds the date, 26 July 2024 where none is
# to be had: so it is in every template that asks.
SAME_DAY = (
    "{% macro strftime_now(format) %}{{ format.replace('%d', '26').replace('%b', 'Jul')"
    ".replace('%B', 'July').replace('%m', '07').replace('%Y', '2024') }}{% endmacro %}"
)


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids of a prompt and its answer; `ids[answer_start:]` are the supervised ones."""

    ids: tuple[int, ...]
    answer_start: int

    @property
    def answer_tokens(self) -> int:
        """Number of supervised tokens."""
        return len(self.ids) - self.answer_start


class Renderer:
    """Renders chats with one tokenizer's template.

    Raises ModelError where the tokenizer has no chat template, no token that can end a turn, or a
    template whose prompt is not the beginning of the whole conversation: with such a template
    training and serving would see different prompts. `rows` is how many tokens the model's
    embedding knows, where a model is at hand; a text with another is refused.
    """

    rows: int | None = None

    def __init__(self, tokenizer: Any, *, stop_ids: Iterable[int] = ()) -> None:
        if not tokenizer.chat_template:
            raise ModelError(
                f"the tokenizer of {tokenizer.name_or_path} has no chat template",
                hint="use the model's instruction-tuned version, or set model.chat_template to a "
                "Jinja file",
            )
        self.tokenizer = tokenizer
        self._template = SAME_DAY + str(tokenizer.get_chat_template())
        self._check_template()
        self._tail, end = self._behind_answer()
        stops = {int(i) for i in stop_ids} | end
        if tokenizer.eos_token_id is not None:
            stops.add(int(tokenizer.eos_token_id))
        if not stops:
            raise ModelError(
                f"the tokenizer of {tokenizer.name_or_path} names no end-of-turn token",
                hint="set eos_token in its tokenizer_config.json",
            )
        self.stop_ids: frozenset[int] = frozenset(stops)
        pad = tokenizer.pad_token_id
        # Padding never enters the loss or the attention, so any id will do where none is named.
        self.pad_id: int = int(pad) if pad is not None else min(stops)
        self._merge_system = not self._takes_system()
        self._end = self._end_of_turn()

    def prompt_text(self, messages: Sequence[Message]) -> str:
        """The prompt as text, up to and with the header of the answer's turn."""
        return self._prompt(messages, "")

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of the prompt, up to and with the header of the answer's turn."""
        return self._encode([self.prompt_text(messages)])[0]

    def prompts(self, examples: Sequence[Example]) -> list[list[int]]:
        """Prompt ids of many examples, encoded in one batch."""
        return self._encode([self._prompt(e.messages, e.place) for e in examples])

    def example(self, example: Example) -> Encoded:
        """Ids of one example with its answer and the token that ends its turn."""
        return self.examples([example])[0]

    def examples(self, examples: Sequence[Example]) -> list[Encoded]:
        """Ids of many examples, encoded in one batch."""
        prompts = [self._prompt(e.messages, e.place) for e in examples]
        wholes = [self._whole(e, prompt) for e, prompt in zip(examples, prompts, strict=True)]
        pairs = zip(self._encode(prompts), self._encode(wholes), prompts, wholes, strict=True)
        return [self._encoded(*pair) for pair in pairs]

    def lengths(self, examples: Sequence[Example]) -> list[int]:
        """Tokens of prompt and answer together, for each example."""
        return [len(encoded.ids) for encoded in self.examples(examples)]

    def pieces(self, texts: Sequence[str], longest: int) -> list[list[int]]:
        """Plain texts, with no template around them, in pieces of at most `longest` tokens."""
        return [
            ids[start : start + longest]
            for ids in self._encode(list(texts))
            for start in range(0, len(ids), longest)
        ]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of an answer's ids, less the token that ends the turn; nothing else changes."""
        kept = [i for i in ids if i not in self.stop_ids]
        text = self.tokenizer.decode(
            kept, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return str(text)

    def _prompt(self, messages: Sequence[Message], place: str) -> str:
        return self._applied(self._turns(messages), place, add_generation_prompt=True)

    def _whole(self, example: Example, prompt: str) -> str:
        turns = [*self._turns(example.messages), {"role": "assistant", "content": example.target}]
        whole = self._applied(turns, example.place, add_generation_prompt=False)
        if not whole.startswith(prompt):
            raise ModelError(
                f"the chat template of {self.tokenizer.name_or_path} renders a prompt that is not "
                f"the beginning of the whole conversation ({example.place or 'first example'})",
                hint="training and serving would see different prompts; give another template "
                "with model.chat_template",
            )
        return whole.removesuffix(self._tail)

    def _encoded(
        self, prompt_ids: list[int], whole_ids: list[int], prompt: str, whole: str
    ) -> Encoded:
        start = len(prompt_ids)
        if whole_ids[:start] == prompt_ids:
            answer = whole_ids[start:]
        else:
            # A token straddles the seam. When serving, the prompt is encoded alone: so it is here.
            answer = self._encode([whole[len(prompt) :]])[0]
        # What a template writes after the end of the turn (a newline) is no part of the answer.
        ends = [position for position, token in enumerate(answer) if token in self.stop_ids]
        answer = answer[: ends[-1] + 1] if ends else [*answer, self._end]
        return Encoded(ids=(*prompt_ids, *answer), answer_start=start)

    def _end_of_turn(self) -> int:
        """The id appended where a template itself does not end the turn."""
        eos = self.tokenizer.eos_token_id
        return int(eos) if eos is not None else min(self.stop_ids)

    def _encode(self, texts: list[str]) -> list[list[int]]:
        if not texts:  # an empty validation part, say; tokenizers fail on an empty batch
            return []
        # The template has written every special token already: adding them again would double BOS.
        encoded = self.tokenizer(texts, add_special_tokens=False, return_attention_mask=False)
        found = [list(ids) for ids in encoded["input_ids"]]
        highest = max((max(ids) for ids in found if ids), default=0)
        if self.rows is not None and highest >= self.rows:
            raise ModelError(
                f"the token {self.tokenizer.convert_ids_to_tokens(highest)!r} has no place in the "
                f"model, which knows {self.rows} tokens",
                hint="take it out of the data, or use a model that was made for it",
            )
        return found

    def _turns(self, messages: Sequence[Message]) -> list[dict[str, str]]:
        turns = [{"role": m.role, "content": m.content} for m in messages]
        if self._merge_system and turns and turns[0]["role"] == "system":
            system, first, *rest = (
                turns if len(turns) > 1 else [*turns, {"role": "user", "content": ""}]
            )
            merged = f"{system['content']}\n\n{first['content']}".strip()
            return [{"role": first["role"], "content": merged}, *rest]
        return turns

    def _check_template(self) -> None:
        try:
            self._apply([{"role": "user", "content": PROBE}], add_generation_prompt=True)
        except TemplateError as error:
            raise ModelError(
                f"the chat template of {self.tokenizer.name_or_path} cannot be used: {error}",
                hint="set model.chat_template to a Jinja file that takes a user's turn",
            ) from error

    def _takes_system(self) -> bool:
        """Some templates refuse a system turn (Gemma 2's), some leave it out without a word: it
        then goes before the first question."""
        turns = [{"role": "system", "content": PROBE}, {"role": "user", "content": "u"}]
        try:
            return PROBE in self._apply(turns, add_generation_prompt=True)
        except TemplateError:
            return False

    def _behind_answer(self) -> tuple[str, set[int]]:
        """What the template writes behind an answer: as a text that is no part of it, or as the
        special token that ends the turn, which the tokenizer need not name as its end (Qwen's base
        models name <|endoftext|>, and their template writes <|im_end|>)."""
        turns = [{"role": "user", "content": "u"}, {"role": "assistant", "content": PROBE}]
        try:
            _, probe, tail = self._apply(turns, add_generation_prompt=False).rpartition(PROBE)
        except TemplateError:
            probe, tail = "", ""
        if not probe:  # the template takes no answer, or changes it
            return "", set()
        known = self.tokenizer.added_tokens_decoder
        special = (i for i in self._encode([tail])[0] if i in known and known[i].special)
        end = next(special, None)
        return (tail, set()) if end is None else ("", {end})

    def _applied(
        self, turns: list[dict[str, str]], place: str, *, add_generation_prompt: bool
    ) -> str:
        try:
            return self._apply(turns, add_generation_prompt=add_generation_prompt)
        except TemplateError as error:
            roles = ", ".join(turn["role"] for turn in turns)
            raise ModelError(
                f"{place or 'a conversation'}: the chat template of {self.tokenizer.name_or_path} "
                f"refuses these turns ({roles}): {error}",
                hint="put the turns into an order that it takes, or give another template with "
                "model.chat_template",
            ) from error

    def _apply(self, turns: list[dict[str, str]], *, add_generation_prompt: bool) -> str:
        text = self.tokenizer.apply_chat_template(
            turns,
            chat_template=self._template,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            enable_thinking=False,  # Qwen3 and others: trained answers hold no thoughts
        )
        return str(text)
