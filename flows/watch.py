"""watch: look at every source of a recipe, and start its deployment once when one of them has changed."""

import hashlib
import json
from pathlib import Path
from typing import Any, cast

from prefect import flow, get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.events import emit_event
from prefect.runtime import flow_run
from prefect.states import Failed

from infra_core.errors import InfraError
from infra_core.recipe import Recipe
from infra_core.runtime.redaction import redact_logs, redacted
from infra_core.sources.catalog import glance

CHANGED = "corpus.changed"


def run_name() -> str:
    """Name a look after the recipe's file."""
    return f"watch {Path(flow_run.parameters['recipe']).stem}"


@flow(name="watch", flow_run_name=run_name, persist_result=False)
def watch(recipe: str, target: str) -> Any:
    """Start `target` if what is behind the recipe's sources is not what it was started for before.

    However often, and by whatever door, this looks: a state of the sources starts one run, since the run is
    asked for under a key made of that state. A run that failed is not asked for again; a person mends the
    cause and retries it.

    Parameters
    ----------
    recipe
        Path of a recipe file.
    target
        The deployment to start, ``curate/<name>``.
    """
    redact_logs()
    try:
        seen = look(Recipe.load(recipe))
    except InfraError as error:  # meant for people: a state with a message, not a traceback
        return Failed(message=redacted(str(error)), data=error)
    state = hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()[:16]
    key = f"{target} {state}"
    is_new = not _was_asked_for(key)
    run = cast(FlowRun, run_deployment(target, idempotency_key=key, timeout=0, as_subflow=False))
    told = "sources have changed: started" if is_new else "sources are as they were for"
    get_run_logger().info("%s run %s (%s) of %s", told, run.name, run.id, target)
    if is_new:
        payload = {"state": state, "sources": seen, "run": str(run.id)}
        emit_event(CHANGED, resource={"prefect.resource.id": f"infra.corpus.{target}"}, payload=payload)
    return str(run.id)


def _was_asked_for(key: str) -> bool:
    wanted = FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=[key]))
    with get_client(sync_client=True) as client:
        return bool(client.read_flow_runs(flow_run_filter=wanted))


def look(given: Recipe) -> dict[str, str]:
    """Return a fingerprint of every source of a recipe, by name; nothing is read but listings."""
    pools = {
        "base": given.base.sources,
        "corpus": given.corpus.sources,
        "reserve": given.corpus.reserve,
        "benchmarks": tuple(given.benchmarks.values()),
    }
    return {
        f"{pool}.{source.name}": glance(source.uri, source.revision)
        for pool, sources in pools.items()
        for source in sources
    }
