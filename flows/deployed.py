"""The flow `curate` as it is deployed and started: light to load; the work is imported when it begins."""

import logging
import os
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.runtime import flow_run
from prefect.states import Failed

from flows.failure import tell_how_to_resume
from flows.resources import Resources
from infra_core.errors import InfraError
from infra_core.recipe import Recipe

DEFAULT_STORE = "file://./store"
ALONE = Resources()


def run_name() -> str:
    """Name a run after its recipe and the mixtures it makes; after the file alone if that cannot be read."""
    asked = flow_run.parameters
    rehearsal = " (rehearsal)" if asked.get("rehearse") else ""
    try:
        given = Recipe.load(asked["recipe"])
    except InfraError:
        return f"{Path(asked['recipe']).stem}{rehearsal}"
    return f"{given.name}: {', '.join(given.mixtures)}{rehearsal}"


@flow(
    name="curate",
    flow_run_name=run_name,
    persist_result=False,
    on_failure=[tell_how_to_resume],
    on_crashed=[tell_how_to_resume],
    on_cancellation=[tell_how_to_resume],
)
def curate(recipe: str, store: str = "", rehearse: bool = False, resources: Resources = ALONE) -> Any:
    """Run a recipe from raw corpus to report; whatever the store already holds is reused.

    Parameters
    ----------
    recipe
        Path of a recipe file.
    store
        Where artifacts live: ``file://``, ``s3://``, ``gs://``. By default what ``INFRA_STORE`` says on the
        machine that runs it, else ``file://./store``.
    rehearse
        Run the same stages with shrunk widths and stand-in rows, to try a recipe before it costs anything.
    resources
        Devices, processes, workers and time.
    """
    for name in ("flows", "tasks", "infra_core"):
        logging.getLogger(name).setLevel(logging.INFO)
    from flows.curate import run
    from flows.monitor import show
    from tasks._stage import placed

    try:
        result = run(recipe, store or os.environ.get("INFRA_STORE", DEFAULT_STORE), rehearse, resources)
    except InfraError as error:  # meant for people: a state with a message, not a traceback
        return Failed(message=placed(error), data=error)
    show(result, resources.price_per_hour)
    return result
