"""A study of two methods, one task, two trials and two seeds on a tiny base."""

from __future__ import annotations

from pathlib import Path

from small_topics import write_topics

METHODS = "  lora:\n  rslora: {method: lora, training: {use_rslora: true}}\n"


def write_study(folder: Path, *, methods: str = METHODS, more: str = "") -> Path:
    """The study's file with its recipe, base and rows beside it; returns its place."""
    write_topics(folder)
    file = folder / "small.yaml"
    file.write_text(
        "name: small\n"
        "tasks:\n"
        "  colours:\n"
        "    recipe: topics.yaml\n"
        "    set: {data.sources.two: null, data.sources.three: null, data.validation: 0.2}\n"
        "training: {max_steps: 4, eval_strategy: 'no'}\n"
        f"methods:\n{methods}"
        "search:\n"
        "  trials: 2\n"
        "  learning_rate: {low: 1.0e-3, high: 1.0e-1}\n"
        "seeds: [1, 2]\n"
        f"split: fixed\n{more}"
    )
    return file
