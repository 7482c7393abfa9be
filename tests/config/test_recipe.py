"""Resolving a recipe: what is stronger than what, and where every value came from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tunesmith.config import Origin, Resolved, load_recipe, resolved_rows, shipped_recipes

Read = Callable[..., Resolved]


def test_every_value_is_listed_with_where_it_came_from(read: Read) -> None:
    resolved = read(
        """\
        training:
          lora_r: 8
          warmup_ratio: 0.1
        profiles:
          big:
            training: {lora_alpha: 64}
        """,
        profile="big",
        sets=["training.learning_rate=1e-3", "data.test=0.5"],
    )
    rows = {key: (value, origin) for key, value, origin in resolved_rows(resolved)}
    assert rows["name"] == ("mine", "recipe, line 1")
    assert rows["data.sources.rows.path"] == ("rows.jsonl", "recipe, line 5")
    assert rows["training.lora_r"] == (8, "recipe, line 7")
    assert rows["training.warmup_steps"] == (0.1, "translated, line 8 (from training.warmup_ratio)")
    assert rows["training.lora_alpha"] == (64, "profile (big)")
    assert rows["training.learning_rate"] == (1e-3, "set (--set)")
    assert rows["data.test"] == (0.5, "set (--set)")
    assert rows["training.weight_decay"] == (0.0, "default")
    assert rows["model.name"] == ("nano", "default")
    assert resolved.notes == ("training.warmup_ratio is called training.warmup_steps now",)


def test_strength_grows_from_base_to_file_to_profile_to_set(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(
        "name: base\ntask: text\ndata: {sources: {a: {path: a.jsonl}}}\n"
        "training: {lora_r: 1, lora_alpha: 1, max_length: 1, seed_: 0}\n".replace(", seed_: 0", "")
        + "profiles: {p: {training: {lora_r: 5}}}\n"
    )
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "extends: base.yaml\nname: mine\ntraining:\n  lora_alpha: 2\n  max_length: 2\n"
        "profiles:\n  q: {training: {max_length: 3}}\n"
    )
    plain = load_recipe(mine)
    assert plain.recipe.name == "mine"
    assert plain.origin("training.lora_r") == Origin("recipe", 4, "base.yaml")
    assert plain.origin("training.lora_alpha") == Origin("recipe", 4, "mine.yaml")
    tried = {
        (None, ()): (1, 2, 2),
        ("p", ()): (5, 2, 2),
        ("q", ()): (1, 2, 3),
        ("q", ("training.max_length=4",)): (1, 2, 4),
    }
    for (profile, sets), expected in tried.items():
        training = load_recipe(mine, profile=profile, sets=sets).recipe.training
        assert (training.lora_r, training.lora_alpha, training.max_length) == expected


@pytest.mark.parametrize(
    ("item", "key", "value"),
    [
        ("training.lora_r=4", "lora_r", 4),
        ("training.learning_rate=2e-4", "learning_rate", 2e-4),
        ("training.learning_rate= .5 ", "learning_rate", 0.5),
        ("training.packing=false", "packing", False),
        ("training.packing=auto", "packing", "auto"),
        ("training.eval_strategy=no", "eval_strategy", "no"),
        ("training.max_steps=7", "max_steps", 7),
        ("training.max_steps=null", "max_steps", None),
        ("training.target_modules=[q_proj, v_proj]", "target_modules", ("q_proj", "v_proj")),
        ("training.report_to=none", "report_to", ()),
        ("training.report_to=wandb", "report_to", ("wandb",)),
    ],
)
def test_set_takes_yaml_values_of_every_type(
    read: Read, item: str, key: str, value: object
) -> None:
    resolved = read(sets=[item])
    assert getattr(resolved.recipe.training, key) == value
    assert resolved.origin(f"training.{key}").kind == "set"


def test_set_reaches_into_sources_and_variants(read: Read) -> None:
    resolved = read(
        "methods: {lora: {training: {lora_r: 4}}, qlora: }",
        sets=[
            "data.sources.rows.path=other=name.jsonl",
            "data.sources.more={generate: machines, rows: 5}",
            "methods.lora.training.lora_alpha=9",
            "methods.deep={method: lora, training: {lora_r: 64}}",
        ],
    )
    recipe = resolved.recipe
    sources = {name: s.path or s.generate for name, s in recipe.data.sources.items() if s}
    assert sources == {"rows": "other=name.jsonl", "more": "machines"}
    assert recipe.method_settings("lora").lora_r == 4
    assert recipe.method_settings("lora").lora_alpha == 9
    assert recipe.method_settings("deep").lora_r == 64
    assert list(recipe.methods) == ["lora", "qlora", "deep"]


def test_a_path_replaces_a_generator_and_null_leaves_a_source_out(read: Read) -> None:
    head = (
        "name: x\ntask: text\ndata:\n  sources:\n    a: {generate: machines, rows: 5}\n"
        "    b: {path: b.jsonl}\n"
    )
    resolved = read(head=head, sets=["data.sources.a.path=a.jsonl", "data.sources.b=null"])
    (name, source), *others = resolved.recipe.data.sources.items()
    assert not others
    assert source is not None
    assert (name, source.path, source.generate, source.rows) == ("a", "a.jsonl", None, 5)


def test_a_bare_variant_is_its_method_and_null_over_it_leaves_it_out(
    read: Read, tmp_path: Path
) -> None:
    body = "methods:\n  lora:\n  qlora:\n    training: {lora_r: 4}\n"
    recipe = read(body).recipe
    assert {n: m.method for n, m in recipe.methods.items()} == {"lora": "lora", "qlora": "qlora"}
    assert list(read(body, sets=["methods.qlora=null"]).recipe.methods) == ["lora"]
    assert list(read(body, sets=["methods.x=null"]).recipe.methods) == ["lora", "qlora"]
    both = ["methods.qlora=null", "methods.lora=null"]
    assert list(read(body, sets=both).recipe.methods) == []
    profile = body + "profiles: {p: {methods: {lora: null}}}\n"
    assert list(read(profile, profile="p").recipe.methods) == ["qlora"]
    (tmp_path / "child.yaml").write_text("extends: mine.yaml\nmethods: {qlora: null}\n")
    read(body)
    assert list(load_recipe(tmp_path / "child.yaml").recipe.methods) == ["lora"]


def test_empty_parts_stand_at_their_defaults_and_wipe_out_nothing(
    read: Read, tmp_path: Path
) -> None:
    body = "training:\nmodel:\nmethods:\nevaluation: {}\nreport:\n"
    assert read(body).recipe == read().recipe
    read("training: {lora_r: 3}\n")
    child = tmp_path / "child.yaml"
    child.write_text("extends: mine.yaml\ntraining:\n")
    assert load_recipe(child).recipe.training.lora_r == 3
    child.write_text("extends: mine.yaml\ntraining: {}\n")
    assert load_recipe(child).recipe.training.lora_r == 3


BODY = """\
training: {lora_r: 3, lora_alpha: 6, max_steps: 9}
methods:
  lora: {training: {lora_r: 4, max_steps: 5}}
  qlora:
profiles:
  open:
    training: {mode: adaptive, lora_r: null, r: null}
    methods: {lora: {training: {lora_r: null, max_steps: null}}}
"""


def test_null_takes_a_training_value_back(read: Read, tmp_path: Path) -> None:
    read(BODY)
    child = tmp_path / "child.yaml"
    child.write_text("extends: mine.yaml\ntraining:\n  lora_r: null\n  lora_alpha: 7\n")
    over = (
        load_recipe(child),
        read(BODY, profile="open"),
        read(BODY, sets=["training.lora_r=null"]),
        read(BODY, sets=["training.r=null"]),
    )
    for resolved in over:
        assert resolved.recipe.training.lora_r == 16
        assert resolved.origin("training.lora_r") == Origin("default")
    assert load_recipe(child).recipe.training.lora_alpha == 7
    assert over[2].recipe.training.lora_alpha == 6
    again = read(BODY, profile="open", sets=["training.lora_r=5"])
    assert again.recipe.training.lora_r == 5


def test_null_in_a_method_takes_back_what_training_says(read: Read) -> None:
    found = read(BODY, profile="open", sets=["training.lora_r=8"])
    settings = found.recipe.method_settings("lora")
    assert (settings.lora_r, settings.lora_alpha, settings.max_steps) == (16, 6, None)
    assert found.recipe.method_settings("qlora").lora_r == 8


def test_an_empty_part_states_nothing(read: Read) -> None:
    for body in ("training: {}\n", "training:\n"):
        resolved = read(body, sets=["training.mode=adaptive"])
        assert resolved.origin("training.lora_r") == Origin("default")


def test_words_that_yaml_1_1_took_for_truth_values_are_words(read: Read) -> None:
    resolved = read("training:\n  eval_strategy: no\nreport:\n  title: on\n")
    assert resolved.recipe.training.eval_strategy == "no"
    assert resolved.recipe.report.title == "on"


def test_anchors_and_merges_work_and_own_keys_win(read: Read) -> None:
    body = """\
    methods:
      lora:
        training: &common {lora_r: 4, lora_alpha: 4}
      qlora:
        training:
          <<: *common
          lora_alpha: 9
    """
    recipe = read(body).recipe
    assert recipe.method_settings("qlora").lora_r == 4
    assert recipe.method_settings("qlora").lora_alpha == 9


@pytest.mark.parametrize(
    ("older", "key", "value", "note"),
    [
        ("evaluation_strategy: steps", "training.eval_strategy", "steps", "eval_strategy now"),
        ("warmup_ratio: 0.2", "training.warmup_steps", 0.2, "training.warmup_steps now"),
        ("max_seq_length: 99", "training.max_length", 99, "training.max_length now"),
        ("bf16: true", "model.dtype", "bfloat16", "model.dtype: bfloat16 now"),
        ("bf16: 'True'", "model.dtype", "bfloat16", "model.dtype: bfloat16 now"),
        ("fp16: false", "model.dtype", "auto", "says nothing here"),
        ("bf16: auto", "model.dtype", "auto", "model.dtype: auto"),
        ("group_by_length: true", "training.packing", "auto", "left out"),
        ("max_steps: -1", "training.max_steps", None, "no limit"),
    ],
)
def test_older_spellings_are_translated_and_said(
    read: Read, older: str, key: str, value: object, note: str
) -> None:
    resolved = read(f"training:\n  {older}\n")
    assert len(resolved.notes) == 1
    assert note in resolved.notes[0]
    part, _, name = key.partition(".")
    assert getattr(getattr(resolved.recipe, part), name) == value
    if "left out" not in note and "says nothing" not in note:
        origin = resolved.origin(key)
        assert (origin.kind, origin.line) == ("translated", 7)


def test_an_older_spelling_in_the_file_is_weaker_than_set(read: Read) -> None:
    body = "training: {warmup_ratio: 0.2, max_seq_length: 10}\n"
    resolved = read(body, sets=["training.warmup_steps=5", "training.max_seq_length=20"])
    assert resolved.recipe.training.warmup_steps == 5
    assert resolved.recipe.training.max_length == 20


def test_a_variant_may_use_older_spellings_too(read: Read) -> None:
    resolved = read("methods: {lora: {training: {warmup_ratio: 0.2}}}\n")
    assert resolved.recipe.method_settings("lora").warmup_steps == 0.2
    assert resolved.notes == (
        "methods.lora.training.warmup_ratio is called training.warmup_steps now",
    )


def test_four_bits_follow_method_variant_and_model(read: Read) -> None:
    body = """\
    methods:
      lora: {}
      qlora: {}
      full: {method: qlora, load_in_4bit: false}
      packed: {method: lora, load_in_4bit: true}
    """
    recipe = read(body).recipe
    four = {name: recipe.four_bit(name) for name in recipe.methods}
    assert four == {"lora": False, "qlora": True, "full": False, "packed": True}
    assert recipe.four_bit(None) is False
    every = read(body, sets=["model.load_in_4bit=true"]).recipe
    assert every.four_bit("lora")
    assert every.four_bit(None)
    assert not every.four_bit("full")


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_shipped_recipes_resolve_with_every_profile(name: str) -> None:
    assert load_recipe(name).recipe.name == name
    assert load_recipe(name).notes == ()


def test_the_real_profile_of_anecdot_resolves() -> None:
    recipe = load_recipe("anecdot", profile="real").recipe
    assert list(recipe.data.sources) == ["pairs"]


def test_the_real_profile_of_campus_leaves_all_that_size_decides_to_the_plan() -> None:
    resolved = load_recipe("campus", profile="real")
    assert resolved.recipe.training.mode == "adaptive"
    by_size = ("lora_r", "lora_alpha", "num_train_epochs", "max_length", "warmup_steps")
    batch = ("per_device_train_batch_size", "gradient_accumulation_steps", "learning_rate")
    kinds = {resolved.origin(f"training.{key}").kind for key in (*by_size, *batch)}
    assert kinds == {"default"}
