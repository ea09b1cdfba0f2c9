"""ask: new questions to an index of the corpus's gradients. Builds what of it is not there yet."""

import json
from typing import Any

from prefect import flow

from flows.answers import Answers
from flows.attribute import Learnt, collected, learn
from flows.curate import ALONE, planned_context
from flows.resources import Resources
from infra_core.recipe import CleanParams, Recipe
from infra_core.recipe.rehearsal import rehearsal
from infra_core.runtime.redaction import redact_logs
from infra_core.store.artifact import Artifact
from infra_core.store.tables import read_table
from tasks._shares import workers_at_hand
from tasks._stage import RunContext, failed
from tasks.ask import AGREED, LEADING, LED, AskRun
from tasks.ask import ask as ask_stage
from tasks.index import IndexRun, index
from tasks.ingest import catalogued, ingest


@flow(name="ask", flow_run_name="ask {recipe}", persist_result=False)
def ask(
    recipe: str, store: str = "file://./store", rehearse: bool = False, resources: Resources = ALONE
) -> Any:
    """Say which rows help and harm the queries of a recipe's section `ask` most, and how sure that is.

    Parameters
    ----------
    recipe
        Path of a recipe file.
    store
        Where artifacts live; what is in it already is reused.
    rehearse
        Shrink it first.
    resources
        Devices and workers.
    """
    redact_logs()
    try:
        given = rehearsal(Recipe.load(recipe)) if rehearse else Recipe.load(recipe)
        ctx = planned_context(given, store, resources)
        with workers_at_hand():
            found = answered(given, ctx)
        led = read_table(ctx.store, found, LEADING, LED)
        return Answers(found, led, json.loads(ctx.store.read(found, AGREED)))
    except Exception as error:  # noqa: BLE001 - told by the state
        return failed(error)


def answered(given: Recipe, ctx: RunContext) -> Artifact:
    """Return the answers to the questions of a recipe."""
    blocks = IndexRun.of(given)  # first, so that a recipe without one is refused before any work
    learnt = learn(given, ctx)
    scored: dict[str, Any] = {
        "checkpoint": learnt.checkpoint,
        "corpus": learnt.data.corpus,
        "factors": learnt.factors,
    }
    return ask_stage(
        ctx,
        **scored,
        index=index(ctx, **scored, params=blocks),
        **questions(given, ctx, learnt),
        params=AskRun.of(given),
    )


def questions(given: Recipe, ctx: RunContext, learnt: Learnt) -> dict[str, Any]:
    """Return the rows that are queries where a recipe names some, else the queries of its runs."""
    if given.ask is None or not given.ask.sources:
        return {"queries": collected(given, ctx, learnt)}
    # Nobody trains on them, so nothing but an empty response keeps one out.
    pool = catalogued(given.ask.sources, CleanParams(), need_response=True)
    return {"asked": ingest(ctx, label="questions", params=pool)}
