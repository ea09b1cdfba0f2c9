"""publish: one arm of a recipe as a data set for others. Trains only if its rule decides by influence."""

import logging
from typing import Any

from prefect import flow

from flows.attribute import attribute, gather, start, untrained
from flows.curate import planned_context
from flows.evidence import gather_evidence, mix_arm
from flows.resources import Resources
from infra_core.errors import RequestError
from infra_core.hub import push_dataset
from infra_core.recipe import Recipe
from infra_core.runtime.redaction import redact_logs
from infra_core.store.artifact import Artifact
from infra_core.store.files import Files
from tasks._stage import RunContext, failed
from tasks.publish import PublishRun
from tasks.publish import publish as publish_stage

logger = logging.getLogger(__name__)

HUB = "hf://datasets/"


@flow(name="publish", flow_run_name="publish {arm} of {recipe}", persist_result=False)
def publish(recipe: str, arm: str, store: str = "file://./store", to: str = "", device: str = "auto") -> Any:
    """Write an arm's mixture as a folder in the store, and copy it to where it is asked for.

    Parameters
    ----------
    recipe
        Path of a recipe file.
    arm
        Of its mixtures, or ``keep_all``.
    store
        Where artifacts live; what is in it already is reused.
    to
        ``hf://datasets/org/name``, a path, or any other fsspec URL. None: it stays in the store.
    device
        ``cpu``, ``cuda``, or ``auto`` for the best there is.
    """
    redact_logs()
    try:
        given = Recipe.load(recipe)
        ctx = planned_context(given, store, Resources(device=device))
        artifact = publish_arm(given, ctx, arm)
        return artifact, copy_out(ctx, artifact, to) if to else artifact.uri
    except Exception as error:  # noqa: BLE001 - told by the state
        return failed(error)


def publish_arm(given: Recipe, ctx: RunContext, arm: str) -> Artifact:
    """Return the published mixture of an arm.

    Raises
    ------
    RequestError
        If the recipe has no such arm.
    """
    arms = ["keep_all", *given.mixtures]
    if arm not in arms:
        raise RequestError(f"recipe {given.name} has no arm {arm!r}; it has {', '.join(dict.fromkeys(arms))}")
    if given.mixing(arm).evidence:
        found = attribute(given, ctx)
        data, known = found.data, gather_evidence(given, ctx, found, [given.mixing(arm)])
    else:
        # Nothing is trained for it, unless problems are to be tried by a base that is made from nothing.
        drawn = untrained(given, ctx)
        started = drawn if given.difficulty.tried is None else start(given, ctx, drawn)
        data, known = gather(given, ctx, drawn, started), {}
    untouched = mix_arm(given, ctx, data, {}, "keep_all")
    mixture = untouched if arm == "keep_all" else mix_arm(given, ctx, data, known, arm)
    params = PublishRun.of(given, arm)
    return publish_stage(
        ctx, label=arm, mixture=mixture, untouched=untouched, screen=data.screen, params=params
    )


def copy_out(ctx: RunContext, artifact: Artifact, to: str) -> str:
    """Copy what was published to a hub or another filesystem; return where it is."""
    folder = ctx.store.fetch(artifact)
    files = {name: folder / name for name in ctx.store.parts(artifact)}
    if to.startswith(HUB):
        return push_dataset(to.removeprefix(HUB), files)
    place = Files.under(to)
    for name, path in files.items():
        place.put(name, path)
    return place.url
