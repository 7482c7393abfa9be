"""What is said of two recipes that differ."""

from __future__ import annotations

from tunesmith.config import load_recipe
from tunesmith.config.changes import changes


def test_each_changed_value_is_one_line() -> None:
    before, now = (
        load_recipe("anecdot", sets=sets).recipe.model_dump(mode="json")
        for sets in ((), ("training.learning_rate=0.5", "methods.extra.method=lora"))
    )
    assert changes(before, before) == []
    said = changes(before, now)
    rate = before["training"]["learning_rate"]
    assert f"training.learning_rate was {rate}, is 0.5" in said
    assert "methods.extra.method was not there, is lora" in said
    assert all(line.startswith(("training.learning_rate ", "methods.extra.")) for line in said)
    back = changes(now, before)
    assert "methods.extra.method was lora, is not there" in back
