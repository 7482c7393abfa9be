"""The story, to be read from top to bottom: which stage runs when, and with what.

    data ──▶ plan ──▶ train (once per method) ──▶ evaluate (once per variant) ──▶ compare ──▶ report

This is the only module that knows several stages. A stage whose inputs did not change is not run
again: its artefact is found by a fingerprint of all that went into it. What the stages find out is
written into the store as they go, and the report reads it from there.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from tunesmith.errors import DataError, Interrupted, StoreError
from tunesmith.records import (
    Adapter,
    Answer,
    ChoiceSource,
    Comparison,
    DataFacts,
    Hardware,
    Metric,
    Plan,
    Quality,
    Run,
    Splits,
    TrainingStep,
)
from tunesmith.store.files import (
    read_adapter,
    read_answers,
    read_quality,
    read_rejects,
    read_steps,
)
from tunesmith.store.provenance import code_hash

if TYPE_CHECKING:
    from tunesmith.config import Recipe, Resolved
    from tunesmith.data.source import Source
    from tunesmith.models.load import Loaded
    from tunesmith.store.artefacts import Artefacts
    from tunesmith.store.store import Store
    from tunesmith.tasks.base import Task

BASELINE = "baseline"


class Listener(Protocol):
    """Whoever watches a run; the command line draws it."""

    def stage(self, name: str) -> None:
        """A stage begins."""
        ...

    def say(self, line: str) -> None:
        """One line worth reading."""
        ...

    def progress(self, what: str, done: int, total: int, note: str = "") -> None:
        """Work in hand: `done` of `total`."""
        ...


class Silent:
    """Nobody watches."""

    def stage(self, name: str) -> None:
        """Nothing."""

    def say(self, line: str) -> None:
        """Nothing."""

    def progress(self, what: str, done: int, total: int, note: str = "") -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The data stage's result: the parts, what was found, and whose prompts stand in training."""

    key: str
    directory: Path
    splits: Splits
    quality: Quality
    twins: frozenset[str]


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that came to its end."""

    id: str
    recipe: str
    report: Path
    seconds: float
    metrics: tuple[Metric, ...]
    comparisons: tuple[Comparison, ...]


@dataclass(slots=True)
class Context:
    """What every stage of one run has at hand."""

    resolved: Resolved
    task: Task
    store: Store
    artefacts: Artefacts
    run: Run
    hardware: Hardware
    listener: Listener

    @property
    def recipe(self) -> Recipe:
        """The recipe itself."""
        return self.resolved.recipe


def run_recipe(
    resolved: Resolved, *, home: Path, listener: Listener | None = None, resume: bool = False
) -> Finished:
    """A recipe from its files to its report.

    With `resume` the recipe's last unfinished run is taken up under its own id; without, a new
    run begins, which still finds every stage that is done, and goes on inside one that was
    interrupted. Whatever is raised, the run's state in the store says what became of it.
    """
    from tunesmith.models.hardware import find_hardware
    from tunesmith.store.artefacts import Artefacts
    from tunesmith.store.nouns import Status
    from tunesmith.store.store import Store
    from tunesmith.tasks.base import get_task

    listener = listener or Silent()
    for note in resolved.notes:
        listener.say(note)
    recipe = resolved.recipe
    task = get_task(recipe.task, recipe.task_options)
    with Store.open(home) as store:
        hardware = find_hardware()
        run = _begin(store, resolved, home, hardware, resume=resume)
        context = Context(resolved, task, store, Artefacts(home), run, hardware, listener)
        try:
            return _story(context)
        except (Interrupted, KeyboardInterrupt):
            store.finish_run(run.id, Status.INTERRUPTED)
            raise
        except BaseException as error:
            store.finish_run(run.id, Status.FAILED, error=str(error))
            raise


def _story(context: Context) -> Finished:
    """The whole way, once."""
    from tunesmith.store.nouns import Status

    listener, recipe = context.listener, context.recipe
    listener.stage("data")
    data = prepare(context)
    listener.stage("plan")
    for variant in recipe.methods:
        context.store.record_plan(context.run.id, variant, plan_variant(context, data, variant))
    listener.stage("baselines")
    bases = Bases(context)
    answers = dict(cheap_answers(context, data))
    answers[BASELINE] = model_answers(context, data, bases, BASELINE, None)
    for variant in recipe.methods:
        listener.stage(variant)
        adapter = train_variant(context, data, bases, variant)
        answers[variant] = model_answers(context, data, bases, variant, adapter)
        note_change(context, adapter, answers[BASELINE], answers[variant])
    bases.release()
    listener.stage("compare")
    metrics, comparisons = judge(context, data, answers)
    experiment = context.store.finish_run(context.run.id, Status.DONE)
    listener.stage("report")
    page = write_report(context.store, context.run.id, context.task.name)
    return Finished(
        id=context.run.id,
        recipe=recipe.name,
        report=page,
        seconds=experiment.seconds or 0.0,
        metrics=tuple(metrics),
        comparisons=tuple(comparisons),
    )


# --- data ------------------------------------------------------------------------------------


def prepare(context: Context) -> Prepared:
    """Read, clean, sample, bound, divide; freeze the parts as an artefact."""
    from tunesmith.data.freeze import read_splits
    from tunesmith.data.read import resolve
    from tunesmith.store.artefacts import fingerprint
    from tunesmith.store.nouns import Dataset

    recipe = context.recipe
    sources = _sources(context)
    key = fingerprint(
        {
            "pins": [resolve(source) for source in sources],
            "data": recipe.data.model_dump(),
            "task": [recipe.task, recipe.task_options],
            "model": [recipe.model.name, recipe.model.revision, recipe.model.chat_template],
            "max_length": recipe.training.max_length,
            "eval_rows": recipe.evaluation.rows,
            "seed": recipe.seed,
            "code": code_hash("data", "tasks", "models/render.py"),
        }
    )
    found = context.artefacts.get("data", key)
    directory = context.artefacts.publish("data", key, lambda d: _build_data(context, sources, d))
    _note_artefact(context, "data", key, directory, reused=found is not None)
    facts = json.loads((directory / "facts.json").read_text("utf-8"))
    splits = read_splits(directory)
    quality = read_quality(facts["quality"])
    context.store.record_dataset(
        context.run.id,
        Dataset(
            name=recipe.name,
            fingerprint=key,
            splits=splits.sizes(),
            quality=quality,
            rejects=tuple(read_rejects(directory / "rejects.jsonl")),
            reject_reasons=facts["reject_reasons"],
            manifest=facts["pins"],
        ),
    )
    twins = frozenset(facts["twins"])
    context.store.record_examples(context.run.id, splits.test, twins=twins)
    context.listener.say(
        f"{quality.rows:,} rows: {quality.usable:,} usable, {quality.rejected:,} set aside; "
        + ", ".join(f"{n:,} {part}" for part, n in splits.sizes().items())
        + (f"; {len(twins):,} test prompts have a twin in training" if twins else "")
    )
    return Prepared(key, directory, splits, quality, twins)


def _build_data(context: Context, sources: Sequence[Source], directory: Path) -> dict[str, Any]:
    from tunesmith.data.check import check
    from tunesmith.data.clean import clean, write_rejects
    from tunesmith.data.freeze import write_splits
    from tunesmith.data.sample import sample, within
    from tunesmith.data.split import crossing, split, twins, withheld
    from tunesmith.models.load import load_renderer

    recipe = context.recipe
    cleaned = clean(sources, context.task)
    quality = check(cleaned, task=context.task)
    divided = [e for e in cleaned.examples if e.meta.get("role") != "test"]
    fixed = [e for e in cleaned.examples if e.meta.get("role") == "test"]
    if recipe.data.rows is not None:
        divided = list(sample(divided, recipe.data.rows, seed=recipe.seed))
    examples = [*divided, *fixed]
    lengths = load_renderer(recipe.model).lengths(examples)
    bounded = within(examples, lengths, recipe.training.max_length)
    if bounded.overlong and recipe.data.overlong == "keep":
        first = bounded.overlong[0]
        raise DataError(
            f"{len(bounded.overlong)} examples are over training.max_length "
            f"({recipe.training.max_length} tokens), the first is {first.place}",
            hint="raise training.max_length, or let data.overlong: drop set them aside",
        )
    aside = withheld(bounded.examples)
    parts = split(
        bounded.examples,
        validation=recipe.data.validation,
        test=recipe.data.test,
        seed=recipe.seed,
    )
    if recipe.evaluation.rows is not None:
        parts = replace(parts, test=sample(parts.test, recipe.evaluation.rows, seed=recipe.seed))
    rejects = [*cleaned.rejects, *bounded.overlong, *aside]
    write_splits(directory, parts)
    write_rejects(directory / "rejects.jsonl", rejects)
    extra = crossing(aside)
    quality = replace(
        quality,
        tokens=_length_facts(bounded.lengths),
        findings=quality.findings + ((extra,) if extra else ()),
    )
    facts = {
        "quality": asdict(quality),
        "reject_reasons": dict(Counter(r.reason.split(" (")[0] for r in rejects)),
        "twins": sorted(twins(parts.train, parts.test)),
        "pins": {s.name: _pin(cleaned.resolved, s.name) for s in sources},
    }
    (directory / "facts.json").write_text(json.dumps(facts, default=str), "utf-8")
    return {"sizes": parts.sizes(), "rejected": len(rejects)}


def _sources(context: Context) -> list[Source]:
    """The recipe's sources; a generated one is written to a file first, and read like any other."""
    from tunesmith.data.generate import generate_rows
    from tunesmith.data.source import Source
    from tunesmith.store.artefacts import fingerprint

    seed = context.recipe.seed
    sources: list[Source] = []
    for name, settings in context.recipe.data.sources.items():
        if settings is None:
            continue
        path, rows = settings.path, settings.rows
        if settings.generate is not None:
            generator = settings.generate
            part: Literal["train", "test"] = "test" if settings.role == "test" else "train"
            count = rows or 1000
            key = fingerprint([generator, part, count, seed, code_hash("data/generate")])

            def build(
                directory: Path, generator: str = generator, count: int = count, part: Any = part
            ) -> dict[str, Any]:
                with (directory / "rows.jsonl").open("w", encoding="utf-8") as file:
                    for row in generate_rows(generator, count, seed, part):
                        file.write(json.dumps(row, ensure_ascii=False) + "\n")
                return {"rows": count}

            path = str(context.artefacts.publish("generated", key, build) / "rows.jsonl")
        elif path is not None:
            path = _beside(context.resolved, path)
        sources.append(
            Source(
                name=name,
                path=path,
                split=settings.split,
                revision=settings.revision,
                fields=settings.fields,
                licence=settings.licence,
                role=settings.role,
                rows=rows,
            )
        )
    return sources


# --- plan ------------------------------------------------------------------------------------


def plan_variant(context: Context, data: Prepared, variant: str) -> Plan:
    """Every hyperparameter of one variant with its reason, and what the training will need."""
    from tunesmith.models.load import DTYPES, choose_dtype, load_renderer, model_facts
    from tunesmith.plan import Facts, make_plan

    recipe = context.recipe
    encoded = load_renderer(recipe.model).examples(data.splits.train)
    lengths = sorted(len(e.ids) for e in encoded)
    dtype = choose_dtype(recipe.model.dtype, context.hardware)
    width = next(4 if name == "float32" else 2 for name, known in DTYPES.items() if known == dtype)
    facts = Facts(
        data=DataFacts(
            examples=len(encoded),
            length_mean=sum(lengths) / len(lengths),
            length_p99=lengths[min(len(lengths) - 1, int(0.99 * len(lengths)))],
            length_max=lengths[-1],
            answer_mean=sum(e.answer_tokens for e in encoded) / len(encoded),
        ),
        model=model_facts(recipe.model),
        hardware=context.hardware,
        bytes_per_weight=width,
        four_bit=recipe.four_bit(variant),
    )
    plan = make_plan(recipe.method_settings(variant), facts, _choice_origins(context, variant))
    if not plan.fits:
        context.listener.say(
            f"{variant}: about {plan.memory_bytes / 2**30:.1f} GiB are needed, this machine has "
            f"{context.hardware.device_memory / 2**30:.1f}; load_in_4bit, a smaller "
            "per_device_train_batch_size or gradient_checkpointing would help"
        )
    return plan


def _choice_origins(context: Context, variant: str) -> dict[str, ChoiceSource]:
    kinds: dict[str, ChoiceSource] = {"set": "set", "default": "default"}
    origins: dict[str, ChoiceSource] = {}
    own = context.recipe.methods[variant].training
    for name in context.recipe.training.model_dump():
        key = f"methods.{variant}.training.{name}" if name in own else f"training.{name}"
        origins[name] = kinds.get(context.resolved.origin(key).kind, "recipe")
    return origins


# --- train -----------------------------------------------------------------------------------


class Bases:
    """The base model in memory, one at a time: a 4-bit one and a full one need not stand together."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._loaded: Loaded | None = None

    def get(self, four_bit: bool) -> Loaded:
        """The base, loaded now or earlier."""
        from tunesmith.models.load import load

        if self._loaded is None or self._loaded.quantised != four_bit:
            self.release()
            recipe = self.context.recipe
            what = f"{recipe.model.name}{' in 4 bits' if four_bit else ''}"
            self.context.listener.say(f"loading {what}")
            self._loaded = load(recipe.model, four_bit=four_bit, hardware=self.context.hardware)
        return self._loaded

    def release(self) -> None:
        """Let go of the base."""
        self._loaded = None


def train_variant(context: Context, data: Prepared, bases: Bases, variant: str) -> Adapter:
    """Train one adapter, or find the one that an earlier run trained from the same inputs."""
    from tunesmith.models.load import load_renderer
    from tunesmith.train.loop import TrainingJob, count_steps, train
    from tunesmith.train.method import get_method
    from tunesmith.train.trackers import Trackers

    recipe = context.recipe
    settings = recipe.method_settings(variant)
    method = get_method(recipe.methods[variant].method)
    key = _training_key(context, data, variant)
    found = context.artefacts.get("adapter", key)
    steps_file = "steps.jsonl"

    def build(directory: Path) -> dict[str, Any]:
        loaded = bases.get(recipe.four_bit(variant))
        renderer = load_renderer(recipe.model)
        total = count_steps(len(data.splits.train), settings)
        trackers = Trackers(
            settings.report_to,
            run=f"{context.run.id}-{variant}",
            directory=context.run.directory / "trackers",
            settings=settings.model_dump(),
            say=context.listener.say,
        )
        with (directory / steps_file).open("a", encoding="utf-8") as log:

            def on_step(step: TrainingStep) -> None:
                log.write(json.dumps(asdict(step)) + "\n")
                log.flush()
                context.store.record_training_steps(context.run.id, variant, [step])
                if step.step % settings.logging_steps == 0:
                    trackers.log(step)
                context.listener.progress(f"train {variant}", step.step, total, _step_note(step))

            job = TrainingJob(
                name=variant,
                train=renderer.examples(data.splits.train),
                validation=renderer.examples(data.splits.validation),
                settings=settings,
                seed=recipe.seed,
                directory=directory,
                on_step=on_step,
                say=context.listener.say,
            )
            try:
                adapter = train(loaded, method, job)
            finally:
                trackers.close()
        for checkpoint in directory.glob("checkpoint-*"):
            shutil.rmtree(checkpoint)
        facts = asdict(replace(adapter, method=recipe.methods[variant].method))
        facts["directory"] = "adapter"
        (directory / "adapter.json").write_text(json.dumps(facts), "utf-8")
        return facts

    directory = context.artefacts.publish("adapter", key, build, resumable=True)
    _note_artefact(context, f"adapter {variant}", key, directory, reused=found is not None)
    adapter = read_adapter(directory, variant)
    steps = list(read_steps(directory / steps_file))
    context.store.record_training_steps(context.run.id, variant, steps)
    context.store.record_adapter(context.run.id, adapter)
    if found is not None:
        context.listener.say(f"{variant}: trained before from the same inputs; taken as it is")
    return adapter


# --- evaluate --------------------------------------------------------------------------------


def cheap_answers(context: Context, data: Prepared) -> Iterator[tuple[str, list[Answer]]]:
    """The answers of majority, lookup, TF-IDF and the like: variants like any other."""
    from tunesmith.evaluate.cheap import cheap_baselines
    from tunesmith.store.nouns import Variant

    if not context.recipe.evaluation.cheap_baselines:
        return
    responders = cheap_baselines(context.task, data.splits.train, seed=context.recipe.seed)
    for name, responder in responders.items():
        about = (type(responder).__doc__ or "").strip().splitlines()[0]
        context.store.record_variant(context.run.id, Variant(name, "cheap", about))
        yield name, _answer(context, data, name, responder, {})


def model_answers(
    context: Context, data: Prepared, bases: Bases, variant: str, adapter: Adapter | None
) -> list[Answer]:
    """The answers of the base (`adapter` None) or of the base with an adapter on it.

    They are written down as they come: an interrupted evaluation goes on where it was.
    """
    from tunesmith.evaluate.answer import ModelResponder
    from tunesmith.models.load import with_adapter, without_adapter
    from tunesmith.store.artefacts import fingerprint

    recipe = context.recipe
    settings = recipe.evaluation
    four_bit = recipe.four_bit(variant if adapter is not None else None)
    decoding = settings.decoding
    if decoding == "auto":
        decoding = "label_likelihood" if context.task.labels else "generate"
    key = fingerprint(
        {
            "data": data.key,
            "base": _base_identity(context),
            "four_bit": four_bit,
            "adapter": None if adapter is None else _training_key(context, data, variant),
            "decoding": decoding,
            "max_new_tokens": settings.max_new_tokens or context.task.max_new_tokens,
            "code": code_hash("evaluate", "tasks", "models"),
        }
    )
    found = context.artefacts.get("answers", key)

    def build(directory: Path) -> dict[str, Any]:
        file = directory / "answers.jsonl"
        done = {answer.example_id: answer for answer in read_answers(file)}
        if done:
            context.listener.say(f"{variant}: {len(done):,} answers are there already")
        loaded = bases.get(four_bit)
        ready = loaded if adapter is None else with_adapter(loaded, adapter.directory)
        try:
            responder = ModelResponder(
                ready,
                context.task,
                mode=decoding,
                max_new_tokens=settings.max_new_tokens or context.task.max_new_tokens,
                batch_size=settings.per_device_eval_batch_size,
            )
            with file.open("a", encoding="utf-8") as log:

                def keep(answers: Sequence[Answer]) -> None:
                    log.writelines(json.dumps(asdict(a)) + "\n" for a in answers)
                    log.flush()

                answers = _answer(context, data, variant, responder, done, keep)
        finally:
            if adapter is not None:
                without_adapter(ready)
        return {"answers": len(answers)}

    directory = context.artefacts.publish("answers", key, build, resumable=True)
    _note_artefact(context, f"answers {variant}", key, directory, reused=found is not None)
    answers = list(read_answers(directory / "answers.jsonl"))
    context.store.record_answers(context.run.id, variant, answers)
    return answers


def _answer(
    context: Context,
    data: Prepared,
    variant: str,
    responder: Any,
    done: Mapping[str, Answer],
    keep: Callable[[Sequence[Answer]], None] = lambda _: None,
) -> list[Answer]:
    from tunesmith.evaluate.answer import evaluate

    def sink(answers: Sequence[Answer]) -> None:
        keep(answers)
        context.store.record_answers(context.run.id, variant, answers)

    return list(
        evaluate(
            data.splits.test,
            responder,
            context.task,
            done=done,
            sink=sink,
            progress=lambda n, total: context.listener.progress(f"ask {variant}", n, total),
        )
    )


def note_change(
    context: Context, adapter: Adapter, before: Sequence[Answer], after: Sequence[Answer]
) -> None:
    """Say whether the adapter changed the model's answers; one that does not was not applied."""
    old = {answer.example_id: answer.response for answer in before}
    changed = [a for a in after if old.get(a.example_id) != a.response]
    share = len(changed) / len(after) if after else 0.0
    context.store.record_adapter(context.run.id, replace(adapter, changed_answers=share))
    if share == 0.0:
        context.listener.say(
            f"{adapter.name}: the adapter changes none of {len(after)} answers; it has learned "
            "nothing that shows, or it is not applied"
        )


# --- compare and report ----------------------------------------------------------------------


def judge(
    context: Context, data: Prepared, answers: Mapping[str, Sequence[Answer]]
) -> tuple[list[Metric], list[Comparison]]:
    """Metrics of every variant, comparisons of every pair worth comparing; both into the store."""
    from tunesmith.compare import CompareSettings, TaskFacts, Weaknesses, compare, estimates
    from tunesmith.store.nouns import GoldCheck
    from tunesmith.tasks.base import gold_check

    task, settings, quality = context.task, context.recipe.evaluation, data.quality
    test = data.splits.test
    checks = gold_check(task, test)
    context.store.record_gold_checks(
        context.run.id,
        [GoldCheck(c.metric, c.n, c.full_marks / max(c.n, 1), 1.0, c.failures) for c in checks],
    )
    facts = TaskFacts(metrics=task.metrics, labels=task.labels, primary=task.primary)
    options = CompareSettings(
        alpha=settings.alpha,
        margin=settings.equivalence_margin,
        replicates=settings.replicates,
        seed=context.recipe.seed,
    )
    weaknesses = Weaknesses(
        rows=quality.rows,
        test_rows=len(test),
        twins=len(data.twins),
        duplicate_prompts=quality.duplicate_prompts,
        contradicting_prompts=quality.contradicting_prompts,
        dirty_labels=sum(quality.repaired_labels.values()) + sum(quality.unknown_labels.values()),
    )
    metrics = estimates(answers, test, facts, slice_by=settings.slice_by, twins=data.twins)
    comparisons = compare(
        answers,
        test,
        facts,
        options,
        weaknesses=weaknesses,
        slice_by=settings.slice_by,
        twins=data.twins,
    )
    context.store.record_metrics(context.run.id, metrics)
    context.store.record_comparisons(context.run.id, comparisons)
    return metrics, comparisons


def write_report(store: Store, run_id: str, task: str, out: Path | None = None) -> Path:
    """Draw the report of a run from the store alone."""
    from tunesmith.compare import plain_words
    from tunesmith.report.drawing import draw_dot
    from tunesmith.report.page import render
    from tunesmith.report.tables import write
    from tunesmith.tasks.dot import extract_graph

    def draw(answer: str) -> str | None:
        graph = extract_graph(answer)
        return None if graph is None else draw_dot(graph)

    page = out or store.run(run_id).directory / "report.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    render(store, run_id, page, sentence=plain_words, draw=draw if task == "dot_graph" else None)
    write(store, run_id, page.parent / "tables")
    return page


# --- what the stages share -------------------------------------------------------------------


def _begin(
    store: Store, resolved: Resolved, home: Path, hardware: Hardware, *, resume: bool
) -> Run:
    """A new run, or the recipe's last unfinished one."""
    from tunesmith.store.nouns import Provenance, Status
    from tunesmith.store.provenance import command_line, git_state, versions

    recipe = resolved.recipe
    values = recipe.model_dump(mode="json")
    if resume:
        unfinished = [r for r in store.runs(recipe=recipe.name) if r.status != Status.DONE]
        if not unfinished:
            raise StoreError(
                f"no run of {recipe.name} waits to be resumed", hint="run it without --resume"
            )
        if dict(unfinished[0].resolved) != values:
            raise StoreError(
                f"the recipe is not that of {unfinished[0].id} any more",
                hint="run it without --resume: stages that did not change are found again",
            )
        return store.resume_run(unfinished[0].id)
    revision, dirty = git_state()
    return store.start_run(
        recipe.name,
        runs=home / "runs",
        recipe_text=resolved.text,
        resolved=values,
        provenance=Provenance(
            command=command_line(),
            git_revision=revision,
            git_dirty=dirty,
            versions=versions(),
            hardware=asdict(hardware),
            seed=recipe.seed,
        ),
    )


def _note_artefact(
    context: Context, stage: str, key: str, directory: Path, *, reused: bool
) -> None:
    from tunesmith.store.nouns import StageArtefact

    artefact = StageArtefact(stage=stage, key=key, directory=directory, reused=reused)
    context.store.record_artefact(context.run.id, artefact)


def _base_identity(context: Context) -> dict[str, Any]:
    """What tells one base from another: the settings, and the files where they are local."""
    from tunesmith.models.load import base_path
    from tunesmith.store.artefacts import hash_file

    settings = context.recipe.model
    folder = Path(base_path(settings.name))
    files = sorted(folder.glob("*.safetensors")) + sorted(folder.glob("*.json"))
    hashes = {f.name: hash_file(f) for f in files} if folder.is_dir() else {}
    return {"settings": settings.model_dump(), "files": hashes}


def _training_key(context: Context, data: Prepared, variant: str) -> str:
    from tunesmith.store.artefacts import fingerprint

    recipe = context.recipe
    return fingerprint(
        {
            "data": data.key,
            "base": _base_identity(context),
            "four_bit": recipe.four_bit(variant),
            "method": recipe.methods[variant].method,
            "settings": recipe.method_settings(variant).model_dump(exclude={"report_to"}),
            "seed": recipe.seed,
            "code": code_hash("train", "models"),
        }
    )


def _beside(resolved: Resolved, path: str) -> str:
    """A path as given; where nothing is there, as seen from the recipe's own folder."""
    if Path(path).exists() or resolved.path is None:
        return path
    beside = resolved.path.parent / path
    return str(beside) if beside.exists() else path


def _pin(resolved: Sequence[Any], name: str) -> Any:
    return next((asdict(pin) for pin in resolved if pin.source.name == name), None)


def _length_facts(lengths: Sequence[int]) -> dict[str, float]:
    ordered = sorted(lengths)
    if not ordered:
        return {}
    return {
        "mean": sum(ordered) / len(ordered),
        "p50": float(ordered[len(ordered) // 2]),
        "p99": float(ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]),
        "max": float(ordered[-1]),
    }


def _step_note(step: TrainingStep) -> str:
    rate = step.tokens / max(step.seconds, 1e-9)
    return f"loss {step.loss:.3f}, {rate:,.0f} tokens/s, {step.memory_bytes / 2**30:.1f} GiB"
