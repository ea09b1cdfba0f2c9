"""A run without Prefect in a process of its own, which says when it begins to work; run by the tests."""

import sys

from flows.curate import run_stages
from infra_core.errors import InfraError
from infra_core.recipe import Recipe
from tasks._stage import RunContext
from tests.faults import sleep_in_another_time


def main(recipe: str, store: str) -> None:
    """Run a recipe and print the key of its report, or why there is none."""
    sleep_in_another_time()
    ctx = RunContext.here(store, "cpu")
    print("begun", flush=True)  # noqa: T201 - to the test
    try:
        print(run_stages(Recipe.load(recipe), ctx).key, flush=True)  # noqa: T201
    except InfraError as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
