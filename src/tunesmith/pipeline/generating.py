"""A generation of a recipe: its documents, its endpoint, the store's answers, and its folder.

It stands outside a run: rows that were paid for are not made again because a recipe's training
changed, and a run that needs them names the generation.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.errors import ConfigError, DataError, EndpointError, Interrupted, TunesmithError
from tunesmith.pipeline.context import Listener

if TYPE_CHECKING:
    from tunesmith.config import Recipe, Resolved
    from tunesmith.config.generate import EndpointSettings, GenerationSettings
    from tunesmith.data.generate.endpoint import Completion, Request
    from tunesmith.data.generate.job import Product
    from tunesmith.data.generate.ledger import Ledger
    from tunesmith.data.generate.runner import Progress

FOLDER = "generated"  # in the home, one folder for each generation
LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class GeneratedRows:
    """A finished or stopped generation: where its rows are, and the facts that state.json holds."""

    file: Path
    complete: bool
    facts: Mapping[str, Any]


def generate_named(
    resolved: Resolved,
    name: str,
    *,
    home: Path,
    listener: Listener,
    out: Path | None = None,
    budget: float | None = None,
    limit: int | None = None,
) -> GeneratedRows:
    """Make the rows of `data.generate.NAME`; from the store what was answered before.

    `out`, `budget` and `limit` take the place of the recipe's. Where the budget ends it, the rows
    so far are there and `complete` is false. Raises EndpointError or Interrupted, naming what was
    saved, where something else ends it.
    """
    from filelock import FileLock, Timeout

    settings = generation(resolved.recipe, name)
    said = {"budget": budget, "limit": limit}
    settings = settings.model_copy(update={k: v for k, v in said.items() if v is not None})
    folder = (out or generation_folder(home, resolved.recipe, name)).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / LOCK, timeout=0):
            return _generate(resolved, name, settings, home, folder, listener)
    except Timeout as error:
        raise DataError(
            f"another process is at work in {folder}", hint="wait for it, or name another --out"
        ) from error


def generation(recipe: Recipe, name: str) -> GenerationSettings:
    """The generation of that name; ConfigError where the recipe has none."""
    known = recipe.data.generate
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    raise ConfigError(
        f"the recipe {recipe.name} has no generation {name!r}",
        hint=(f"did you mean {near[0]}? " if near else "")
        + (f"it has {', '.join(known)}" if known else "add it under data.generate"),
    )


def generation_folder(home: Path, recipe: Recipe, name: str) -> Path:
    """Where the rows of a recipe's generation are, unless another place is named."""
    return home / FOLDER / re.sub(r"[^\w.-]+", "_", f"{recipe.name}-{name}")


def generated_rows(recipe: Recipe, name: str, home: Path, listener: Listener) -> Path:
    """The rows that a source says `generate: NAME` for; a run never spends money by itself.

    DataError where they have not been made.
    """
    from tunesmith.data.generate.job import ROWS, STATE

    folder = generation_folder(home, recipe, name)
    if not (folder / ROWS).is_file():
        raise DataError(
            f"the rows of the generation {name} are not there yet",
            hint=f"make them first: tunesmith data generate {name} --recipe FILE --budget USD",
        )
    state = json.loads((folder / STATE).read_text("utf-8"))
    if not state["complete"]:
        listener.say(
            f"generation {name} is not complete: {state['rows']:,} of {state['asked']:,} rows"
        )
    return folder / ROWS


def _generate(
    resolved: Resolved,
    name: str,
    settings: GenerationSettings,
    home: Path,
    folder: Path,
    listener: Listener,
) -> GeneratedRows:
    from tunesmith.data.generate.job import ROWS, documents_of, produce, write_product
    from tunesmith.data.generate.ledger import Ledger, price_of
    from tunesmith.data.generate.opening import open_endpoint
    from tunesmith.data.generate.runner import Runner
    from tunesmith.store.home import store_of
    from tunesmith.store.store import Store

    began = time.monotonic()
    listener.stage(f"generate {name}")
    documents = documents_of(_documents(resolved, settings.source, home), settings.limit)
    local = _local(settings.endpoint) if settings.endpoint.kind == "local" else None
    endpoint = open_endpoint(settings.endpoint, local=local)
    price = price_of(settings.endpoint, endpoint.host)
    job = f"{name[:64]}-{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"
    with closing(endpoint), Store.open(store_of(home)) as store:
        before = store.job_cost(job)
        ledger = Ledger(
            price, budget=settings.budget, spent=before.spent_usd, unsure=before.unsure_usd
        )
        runner = Runner(endpoint, ledger, store, job=job, settings=settings.endpoint)
        listener.say(
            f"{len(documents):,} documents, {settings.endpoint.model} at {endpoint.host}"
            + (f", ${ledger.spending().before:.4f} spent before" if before.answered else "")
        )

        def heard(progress: Progress, rows: int) -> None:
            listener.progress("documents", progress.done, progress.total, _note(progress, rows))

        product = produce(documents, settings, runner, heard)
    state = _state(name, settings, product, ledger, time.monotonic() - began)
    write_product(folder, product, state)
    _raise_for(product, folder)
    return GeneratedRows(folder / ROWS, product.complete, state)


def _documents(resolved: Resolved, source: str, home: Path) -> Path:
    """The file of documents: that of a collection of the recipe, else as given, or beside it."""
    collections = resolved.recipe.data.collect
    if source in collections:
        from tunesmith.data.collect.journal import DOCUMENTS, key_of

        place = home / "collected" / f"{source}-{key_of(collections[source])}" / DOCUMENTS
        if place.is_file():
            return place
        raise DataError(
            f"the collection {source} has no documents yet",
            hint=f"collect them first: tunesmith data collect {source} --recipe FILE",
        )
    beside = resolved.path.parent / source if resolved.path else Path(source)
    for place in (Path(source), beside):
        if place.is_dir() and (place / "documents.jsonl").is_file():
            return place / "documents.jsonl"
        if place.is_file():
            return place
    near = difflib.get_close_matches(source, collections, n=1)
    raise DataError(
        f"there are no documents {source!r}: no such file, and no collection of that name",
        hint=(f"did you mean {near[0]}? " if near else "")
        + f"data.collect has {', '.join(collections) or 'none'}",
    )


def _local(settings: EndpointSettings) -> Callable[[Request], Completion]:
    """A model of ours as a function; loaded when it is first asked for something."""
    from tunesmith.config import ModelSettings
    from tunesmith.data.generate.endpoint import Completion, Stop
    from tunesmith.models.load import Loaded, load

    loaded: list[Loaded] = []

    def answer(request: Request) -> Completion:
        from tunesmith.models.generate import generate

        if not loaded:
            loaded.append(load(ModelSettings(name=settings.model), four_bit=False))
        renderer = loaded[0].renderer
        prompt = renderer.prompt_ids(request.messages)
        [[written]] = generate(loaded[0], [prompt], max_new_tokens=request.max_tokens, batch_size=1)
        if written.failure:
            raise EndpointError(f"{settings.model}: {written.failure}")
        return Completion(
            text=renderer.decode(written.ids),
            tokens_in=len(prompt),
            tokens_out=len(written.ids),
            model=settings.model,
            stop=Stop.DONE if written.ended else Stop.LENGTH,
        )

    return answer


def _note(progress: Progress, rows: int) -> str:
    """Money, rows and calls beside the bar."""
    spending = progress.spending
    money = f"${spending.spent:.4f} spent"
    if progress.projected is not None:
        money += f", ${progress.projected:.4f} projected"
    cached = f" (+{spending.cached:,} kept)" if spending.cached else ""
    return f"{rows:,} rows, {spending.calls:,} calls{cached}, {money}"


def _state(
    name: str,
    settings: GenerationSettings,
    product: Product,
    ledger: Ledger,
    seconds: float,
) -> dict[str, Any]:
    spending = ledger.spending()
    rows = len(product.rows)
    return {
        "name": name,
        "settings": settings.model_dump(mode="json", by_alias=True),
        "complete": product.complete,
        "stopped": _why(product.stopped),
        "message": getattr(product.stopped, "message", ""),
        "documents": {
            "asked": product.documents,
            "answered": product.done,
            "failed": product.failed,
            "refused": product.refused,
            "repaired": product.repaired,
        },
        "rows": rows,
        "asked": product.asked,
        "types": product.types(),
        "dropped": settings.per_document * (product.done + product.failed) - rows,
        "calls": {"made": spending.calls, "kept": spending.cached},
        "tokens": {"in": spending.tokens_in, "out": spending.tokens_out},
        "cost_usd": {
            "spent": spending.spent,
            "before": spending.before,
            "unsure": spending.unsure,
            "per_row": spending.spent / rows if rows else None,
            "budget": settings.budget,
        },
        "seconds": seconds,
    }


def _why(stopped: BaseException | None) -> str | None:
    from tunesmith.data.generate.ledger import BudgetReachedError

    if stopped is None:
        return None
    if isinstance(stopped, BudgetReachedError):
        return "budget"
    return "interrupted" if isinstance(stopped, KeyboardInterrupt) else "error"


def _raise_for(product: Product, folder: Path) -> None:
    """What ended the work, with what was saved; nothing for a spent budget, which was a wish."""
    why = _why(product.stopped)
    saved = (
        f"{len(product.rows):,} rows of {product.done:,} documents are saved in {folder}, and "
        "every answer in the store"
    )
    if why == "interrupted":
        raise Interrupted(f"stopped: {saved}", hint="the same command goes on from there")
    if isinstance(product.stopped, TunesmithError) and why == "error":
        kind = (
            EndpointError if isinstance(product.stopped, EndpointError) else type(product.stopped)
        )
        nothing = not product.done
        message = product.stopped.message + ("" if nothing else f". {saved}")
        raise kind(message, hint=product.stopped.hint) from product.stopped
    if why == "error" and product.stopped is not None:
        raise product.stopped
    if not product.rows and why is None:
        first = product.dropped[0]["reasons"][0] if product.dropped else "nothing was written"
        raise DataError(
            f"not one of {product.asked:,} rows passed the checks; the first reason: {first}",
            hint=f"all reasons are in {folder / 'dropped.jsonl'}; a larger model, fewer rows a "
            "document, or a higher endpoint.max_tokens may help",
        )
