"""Words and signs against the regular expression that says the same for ASCII."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.lengths import count, estimate
from tunesmith.records import Example, Message

ASCII = st.text(alphabet=st.characters(max_codepoint=127))


@given(st.lists(ASCII, max_size=6))
def test_ascii_is_counted_as_the_regular_expression_counts_it(texts: list[str]) -> None:
    assert count(texts) == [len(re.findall(r"\w+|[^\w\s]", text)) for text in texts]


@given(st.lists(st.text(), max_size=6))
def test_texts_never_run_into_one_another(texts: list[str]) -> None:
    assert count(texts) == [count([text])[0] for text in texts]


def test_other_scripts() -> None:
    assert count(["Größe über Ωμέγα", "私は猫です", "ok 👍 done", ""]) == [3, 5, 3, 0]


def test_an_example_is_its_prompt_and_answer() -> None:
    system = Message("system", "Be brief.")
    one = Example((system, Message("user", "Why, then?")), "No reason")
    two = Example((Message("user", "a b"), Message("assistant", "c"), Message("user", "d")), "e")
    assert estimate([one, two] * 600) == [3 + 4 + 2, 5] * 600
    assert estimate([]) == []
