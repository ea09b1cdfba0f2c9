"""Flows as they are deployed and started: light to load; the work is imported when it begins."""

import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from flows.failure import tell_how_to_resume
from flows.resources import Resources
from infra_core.errors import InfraError
from infra_core.recipe import Recipe
from infra_core.runtime.redaction import redact_logs

DEFAULT_STORE = "file://./store"
ALONE = Resources()


def run_name() -> str:
    """Name a run after its recipe and what it makes; after the file alone if that cannot be read."""
    asked = flow_run.parameters
    rehearsal = " (rehearsal)" if asked.get("rehearse") else ""
    try:
        given = Recipe.load(asked["recipe"])
    except InfraError:
        return f"{Path(asked['recipe']).stem}{rehearsal}"
    made: Iterable[str] = given.mixtures
    if flow_run.flow_name == "validate" and given.validity is not None:
        made = given.validity.subsets
    return f"{given.name}: {', '.join(made)}{rehearsal}"


RESUMABLE: dict[str, Any] = {
    "persist_result": False,
    "on_failure": [tell_how_to_resume],
    "on_crashed": [tell_how_to_resume],
    "on_cancellation": [tell_how_to_resume],
}


@flow(name="curate", flow_run_name=run_name, **RESUMABLE)
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
    from flows.curate import run

    return _ended(run, recipe, store, rehearse, resources)


@flow(name="validate", flow_run_name=run_name, **RESUMABLE)
def validate(recipe: str, store: str = "", rehearse: bool = False, resources: Resources = ALONE) -> Any:
    """Put the scores of a recipe to the test by retraining on subsets; parameters are those of `curate`."""
    from flows.validate import run

    return _ended(run, recipe, store, rehearse, resources)


def _ended(run: Callable[..., Any], recipe: str, store: str, rehearse: bool, resources: Resources) -> Any:
    """Run, and leave on the run's page what came of it."""
    redact_logs()
    for name in ("flows", "tasks", "infra_core"):
        logging.getLogger(name).setLevel(logging.INFO)
    from flows.monitor import show
    from tasks._stage import failed

    try:
        result = run(recipe, store or os.environ.get("INFRA_STORE", DEFAULT_STORE), rehearse, resources)
    except Exception as error:  # noqa: BLE001 - told by the state
        return failed(error)
    show(result, resources.price_per_hour)
    return result
