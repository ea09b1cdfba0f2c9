"""What cutting wide covariances into diagonal blocks costs: ``python -m benchmarks.cut STORE [RECIPE]``.

Of a recipe that ran in STORE (`tiny` unless told otherwise): factors are fitted anew with the widest
covariance cut into several blocks, all rows are scored with them and held against the scores of the run.
"""

import math
import sys

import polars as pl
from rich.console import Console
from rich.table import Table

from benchmarks.index import BEST, exact_scores
from flows.__main__ import recipe_path
from flows.curate import ALONE, planned_context
from infra_core.influence import correlated, overlap
from infra_core.influence.plan import factor_bytes, module_sizes
from infra_core.lm.published import config_of
from infra_core.recipe import Recipe
from tasks._stage import RunContext

BLOCKS = (2, 4, 8)


def table(given: Recipe, ctx: RunContext) -> Table:
    """Score with covariances cut into ever more blocks; say what they weigh and how far scores are off."""
    config, exact = config_of(given.base.model), exact_scores(given, ctx)
    width = max(max(size.d_out, size.d_in) for size in module_sizes(config, given.factors.modules))
    shown = Table(
        "blocks", "widest", "MB of covariances", "group", "Pearson", "Spearman", f"of the best {BEST}", "n"
    )
    for blocks in (1, *BLOCKS):
        widest = math.ceil(width / blocks)
        sizes = module_sizes(config, given.factors.modules, widest=widest)
        cut = {"factors": given.factors.model_copy(update={"widest": widest if blocks > 1 else None})}
        found = exact_scores(given.model_copy(update=cut), ctx)
        hits = overlap(found, exact, BEST).group_by("group").agg(pl.col("overlap").mean()).sort("group")
        both = [frame.sort("group", "example_id") for frame in (exact, found)]
        megabytes = f"{factor_bytes(sizes).covariance / 1e6:.2f}"
        for row, hit in zip(correlated(*both).to_dicts(), hits.to_dicts(), strict=True):
            numbers = (
                f"{row['pearson']:.4f}",
                f"{row['spearman']:.4f}",
                f"{hit['overlap']:.0%}",
                str(row["n"]),
            )
            shown.add_row(str(blocks), str(widest), megabytes, row["group"], *numbers)
    return shown


def main(arguments: list[str]) -> None:
    """Measure and print."""
    store, name = arguments[0], arguments[1] if len(arguments) > 1 else "tiny"
    given = Recipe.load(recipe_path(name))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    console.print(table(given, planned_context(given, store, ALONE)))


if __name__ == "__main__":
    main(sys.argv[1:])
