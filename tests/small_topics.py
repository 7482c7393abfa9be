"""Three topics on a tiny base, for what is learned one after another."""

from __future__ import annotations

import json
from pathlib import Path

from tiny_models import write_base

COLOURS = {"one": "red", "two": "green", "three": "blue"}
TOPICS = tuple(COLOURS)


def write_topics(folder: Path) -> Path:
    """A recipe of three topics of 24 rows each, with its base and its files; returns its place."""
    write_base(folder / "base")
    for topic, colour in COLOURS.items():
        rows = [
            {"question": f"{topic} {number}: which colour?", "answer": f"{colour} {number % 3}"}
            for number in range(24)
        ]
        (folder / f"{topic}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sources = "".join(f"    {topic}: {{path: {folder}/{topic}.jsonl}}\n" for topic in COLOURS)
    file = folder / "topics.yaml"
    file.write_text(
        f"name: topics\ntask: question_answer\ndata:\n  sources:\n{sources}  test: 0.25\n"
        f"model: {{name: {folder}/base, dtype: float32}}\n"
        "training: {max_steps: 4, learning_rate: 0.02, lora_r: 4, lora_alpha: 8, max_length: 128}\n"
        "evaluation: {max_new_tokens: 4, replicates: 200, cheap_baselines: false,"
        " general_text: nano}\n"
    )
    return file
