"""`tunesmith learn`: one topic more, on top of what was learned before."""

from __future__ import annotations

from typing import Annotated

import typer

from tunesmith.cli.lineage import LineageName, chain_json, show_chain
from tunesmith.cli.options import Home, Json, Profile, RecipeName, Sets
from tunesmith.cli.output import out, print_json, verb
from tunesmith.cli.watch import Watch
from tunesmith.errors import ConfigError


@verb
def learn(
    recipe: RecipeName,
    topic: Annotated[
        str | None,
        typer.Option("--topic", help="A source of the recipe; default: the next not learned yet."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All topics that are left, one session each.")
    ] = False,
    strategy: Annotated[
        str | None,
        typer.Option(
            "--strategy",
            metavar="merge|continue|beside",
            help="Where the next session stands (lineage.strategy).",
        ),
    ] = None,
    replay: Annotated[
        float | None,
        typer.Option(
            "--replay", min=0, max=1, help="Share of older rows trained again (lineage.replay)."
        ),
    ] = None,
    lineage: LineageName = None,
    sets: Sets = None,
    profile: Profile = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Learn the recipe's next topic, and say what became of the earlier ones.

    Each source of the recipe is a topic. The new adapter stands on the session before it, every
    earlier topic is tested again, and nothing that is there is changed. After an interruption the
    same command goes on.

    Examples:

    - `tunesmith learn campus`
    - `tunesmith learn campus --all --strategy beside --lineage campus-beside`
    - `tunesmith learn campus --topic dining --replay 0.1`
    """
    from tunesmith.config import load_recipe
    from tunesmith.pipeline import home_of
    from tunesmith.pipeline.learning import learn as add_session
    from tunesmith.pipeline.learning import topics_left

    if every and topic is not None:
        raise ConfigError("--all and --topic exclude one another", hint="leave one of them out")
    more = {"name": lineage, "strategy": strategy, "replay": replay}
    said = [f"lineage.{key}={value}" for key, value in more.items() if value is not None]
    resolved = load_recipe(recipe, sets=[*(sets or ()), *said], profile=profile)
    place = home_of(home)
    todo = topics_left(resolved, place) if every else [topic]
    with Watch() as watch:
        for name in todo:
            learned = add_session(resolved, home=place, topic=name, listener=watch)
    if as_json:
        print_json({"run": learned.finished.id, **chain_json(learned.chain)})
        return
    show_chain(learned.chain)
    out.print(f"\nreport {learned.finished.report}", markup=False, highlight=False, soft_wrap=True)
