"""What goes into each artefact: its fingerprint is taken of this, and its manifest shows it.

A change of anything named here makes another artefact; what is not named here must not change what
a stage gives.
"""

from __future__ import annotations

import importlib.metadata
import inspect
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.pipeline.context import Context, Desk, Prepared
from tunesmith.store.provenance import code_hash

if TYPE_CHECKING:
    from tunesmith.config import ModelSettings
    from tunesmith.data.source import ResolvedSource
    from tunesmith.tasks.base import Task

Inputs = dict[str, Any]
COMPUTES = ("torch", "transformers", "peft", "bitsandbytes")  # versions that change what comes out


def data_inputs(desk: Desk, pins: Sequence[ResolvedSource]) -> Inputs:
    """Files by their hashes or the hub's commit, settings, task, tokenizer, code."""
    recipe = desk.recipe
    return {
        "sources": [_source(pin) for pin in pins],
        "data": recipe.data.model_dump(),
        "task": _task(desk.task, recipe.task_options),
        "tokenizer": _model(recipe.model, weights=False),
        "max_length": recipe.training.max_length,
        "evaluated_rows": recipe.evaluation.rows,
        "seed": recipe.seed,
        "code": code_hash("data", "tasks", "models/render.py"),
    }


def training_inputs(context: Context, data: Prepared, variant: str) -> Inputs:
    """The examples it sees, the base, the method with its settings, the libraries, the code.

    Not the data's own key: other test rows, or another scorer, are no reason to train again.
    """
    from tunesmith.store.artefacts import fingerprint

    recipe = context.recipe
    settings = recipe.method_settings(variant)
    scored = {  # what the scores of validation prompts along the way depend on besides
        "evaluation": recipe.evaluation.model_dump(include={"decoding", "max_new_tokens"}),
        "judge": context.task.judge,
        "code": code_hash("evaluate", "tasks"),
    }
    seen = {"train": data.splits.train, "validation": data.splits.validation}
    return {
        "examples": {part: fingerprint({"ids": [e.id for e in es]}) for part, es in seen.items()},
        "base": _model(recipe.model, weights=True),
        "computed_in": _computed_in(context),
        "four_bit": recipe.four_bit(variant),
        "scored": scored if settings.eval_prompts else None,
        "method": recipe.methods[variant].method,
        "settings": settings.model_dump(exclude={"report_to"}),
        "seed": recipe.seed,
        "versions": _versions(),
        "code": code_hash("train", "models"),
    }


def answers_inputs(
    context: Context, data: Prepared, *, trained: str | None, four_bit: bool, decoding: str
) -> Inputs:
    """The data, the base, the adapter (its training), how answers are asked for, the code."""
    from tunesmith.store.artefacts import fingerprint

    settings = context.recipe.evaluation
    adapter = None if trained is None else fingerprint(training_inputs(context, data, trained))
    return {
        "data": data.key,
        "base": _model(context.recipe.model, weights=True),
        "computed_in": _computed_in(context),
        "four_bit": four_bit,
        "adapter": adapter,
        "decoding": decoding,
        "perplexity": settings.perplexity,
        "max_new_tokens": settings.max_new_tokens or context.task.max_new_tokens,
        "judge": context.task.judge,
        "versions": _versions(),
        "code": code_hash("evaluate", "tasks", "models"),
    }


def _source(pin: ResolvedSource) -> Inputs:
    """A source by what was read from it, wherever that lies."""
    settings = {k: v for k, v in asdict(pin.source).items() if k not in {"path", "revision"}}
    files = [{"name": Path(f.path).name, "sha256": f.sha256} for f in pin.files]
    hub = None if pin.kind != "hub" else {"id": pin.source.path, "revision": pin.revision}
    return settings | {"files": files, "hub": hub}


def _task(task: Task, options: dict[str, Any]) -> Inputs:
    """A task by its source: one of the recipe's own may change under the same path."""
    source = Path(inspect.getfile(type(task)))
    return {"name": task.name, "options": options, "source": _hash(source)}


def _model(settings: ModelSettings, *, weights: bool) -> Inputs:
    """A model by its settings, and by its files where they are local."""
    from tunesmith.models.load import base_path

    folder = Path(base_path(settings.name))
    wanted = ("*.json", "*.jinja", "*.model", *(("*.safetensors",) if weights else ()))
    files = sorted(f for pattern in wanted for f in folder.glob(pattern)) if folder.is_dir() else []
    template = settings.chat_template
    return {
        "settings": settings.model_dump(exclude={"adapters"})
        if weights
        else {"name": settings.name},
        "adapters": [_hash(Path(f) / "adapter_model.safetensors") for f in settings.adapters]
        if weights
        else [],
        "revision": settings.revision if folder.is_dir() else _commit(settings),
        "files": {f.name: _hash(f) for f in files},
        "chat_template": template and (_hash(Path(template)) if Path(template).is_file() else None),
    }


def _commit(settings: ModelSettings) -> str | None:
    """The commit that a hub model's name and revision stand for just now."""
    from tunesmith.models.load import load_config

    return getattr(load_config(settings), "_commit_hash", None) or settings.revision


def _computed_in(context: Context) -> str:
    """Number format and device: a home may be shared by machines that differ in them."""
    from tunesmith.models.load import choose_dtype

    dtype = choose_dtype(context.recipe.model.dtype, context.hardware)
    return f"{str(dtype).removeprefix('torch.')} on {context.hardware.device}"


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in COMPUTES}


def _hash(file: Path) -> str:
    at = file.stat()
    return _hash_once(file, at.st_size, at.st_mtime_ns)


@lru_cache(maxsize=256)
def _hash_once(file: Path, size: int, changed: int) -> str:
    """A file's hash, taken once in a process while its size and time stand still."""
    from tunesmith.store.artefacts import hash_file

    return hash_file(file)
