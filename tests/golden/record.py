"""Record golden numbers: `make golden` for all stages, `make golden STAGE=score` for one."""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from flows.curate import run_stages
from infra_core.recipe import Recipe
from tasks._stage import STAGES, RunContext
from tests.flows.shrunk import shrunk_tiny
from tests.golden.numbers import built_beside, golden_file, recipe_hash, stage_numbers


def main(only: str | None) -> None:
    """Run the shrunk job in a store of its own and file what each stage came to."""
    with TemporaryDirectory() as folder:
        recipe = shrunk_tiny(Path(folder))
        ctx = RunContext.here(str(Path(folder, "store")), "cpu")
        report = run_stages(Recipe.load(recipe), ctx)
        found = stage_numbers(ctx.store, report, *built_beside(recipe, ctx))
        for stage, numbers in sorted(found.items()):
            if only in (None, stage):
                filed = {"recipe": recipe_hash(recipe), "numbers": dict(sorted(numbers.items()))}
                golden_file(stage, STAGES[stage].version).write_text(json.dumps(filed, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
