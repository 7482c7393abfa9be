"""`tunesmith demo`: a shipped recipe on the embedded base, in minutes."""

from __future__ import annotations

from tunesmith.cli.options import Home, Json, RecipeName, Sets
from tunesmith.cli.output import verb
from tunesmith.cli.run import show_finished
from tunesmith.cli.watch import Watch


@verb
def demo(
    recipe: RecipeName = "anecdot",
    sets: Sets = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Run a shipped recipe on the embedded base: data, LoRA, QLoRA, verdict, report.

    Needs no network and no GPU; about five minutes on two cores.

    Example: `tunesmith demo`, then open the report it names.
    """
    from tunesmith.config import load_recipe
    from tunesmith.pipeline import home_of, run_recipe

    resolved = load_recipe(recipe, sets=sets or ())
    with Watch() as watch:
        finished = run_recipe(resolved, home=home_of(home), listener=watch)
    show_finished(finished, as_json=as_json)
