"""The plan of each variant: facts about data, model and machine, and what follows from them."""

from __future__ import annotations

from tunesmith.pipeline.context import Desk, Prepared
from tunesmith.records import ChoiceSource, DataFacts, Plan


def check_methods(desk: Desk) -> None:
    """Refuse modules to train that the base does not have, before hours are spent on the rest."""
    recipe = desk.recipe
    for variant in recipe.methods:
        settings = recipe.method_settings(variant)
        if settings.target_modules != "all-linear":  # which fits every model
            from tunesmith.train.lora import check_attachable

            check_attachable(recipe.model, settings)


def plan_variant(desk: Desk, data: Prepared, variant: str) -> Plan:
    """Every hyperparameter of one variant with its reason, and what the training will need."""
    from tunesmith.models.load import DTYPES, choose_dtype, load_renderer, model_facts
    from tunesmith.plan import Facts, make_plan

    recipe = desk.recipe
    encoded = load_renderer(recipe.model).examples(data.splits.train)
    lengths = sorted(len(e.ids) for e in encoded)
    dtype = choose_dtype(recipe.model.dtype, desk.hardware)
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
        hardware=desk.hardware,
        bytes_per_weight=width,
        four_bit=recipe.four_bit(variant),
    )
    plan = make_plan(recipe.method_settings(variant), facts, _choice_origins(desk, variant))
    if not plan.fits:
        desk.listener.say(
            f"{variant}: about {plan.memory_bytes / 2**30:.1f} GiB are needed, this machine has "
            f"{desk.hardware.device_memory / 2**30:.1f}; load_in_4bit, a smaller "
            "per_device_train_batch_size or gradient_checkpointing would help"
        )
    return plan


def _choice_origins(desk: Desk, variant: str) -> dict[str, ChoiceSource]:
    kinds: dict[str, ChoiceSource] = {"set": "set", "default": "default"}
    origins: dict[str, ChoiceSource] = {}
    own = desk.recipe.methods[variant].training
    for name in desk.recipe.training.model_dump():
        key = f"methods.{variant}.training.{name}" if name in own else f"training.{name}"
        origins[name] = kinds.get(desk.resolved.origin(key).kind, "recipe")
    return origins
