"""validate: are the scores of a recipe true? Retrain on subsets of its corpus, and see who foretold it."""

import time
from dataclasses import replace

from flows.attribute import Found, attribute, fitted, scored
from flows.curate import ALONE, planned_context
from flows.evidence import gather_evidence, mix_by
from flows.findings import other_scores
from flows.outcome import Outcome, outcome
from flows.resources import Resources
from infra_core.recipe import Ablate, Random, Recipe, ValidityParams
from infra_core.recipe.rehearsal import rehearsal
from infra_core.seeds import derive_seed
from infra_core.store.artifact import Artifact
from infra_core.validity.ablations import CONTROL, MASKED
from tasks._shares import workers_at_hand
from tasks._stage import RunContext
from tasks.assess import AssessRun, assess
from tasks.draw_subsets import SubsetRun, draw_subsets
from tasks.plant import PlantRun, plant
from tasks.retrain import RetrainRun, retrain
from tasks.rivals import RivalRun, rivals
from tasks.tail_patch import PatchRun, tail_patch
from tasks.train import train


def run(recipe: str, store: str, rehearse: bool = False, resources: Resources = ALONE) -> Outcome:
    """Put the scores of a recipe to the test and say what it came to; arguments and errors as of `curate`."""
    began = time.monotonic()
    given = rehearsal(Recipe.load(recipe)) if rehearse else Recipe.load(recipe)
    asked = given.require_validity()
    ctx = planned_context(given, store, resources, to_validate=True)
    with workers_at_hand():
        final = run_stages(given, asked, ctx)
    return outcome(ctx, given.name, final, time.monotonic() - began)


def run_stages(given: Recipe, asked: ValidityParams, ctx: RunContext) -> Artifact:
    """Run every stage in order and return the page; the model is always one of the rows as they are."""
    found = attribute(given.model_copy(update={"refit": None}), ctx)
    subsets = draw_subsets(
        ctx,
        mixture=found.keep_all,
        scores=found.scores if asked.asks_for_scores else None,
        params=SubsetRun.of(given, asked),
    )
    scores = score_by_all(given, asked, ctx, found)
    ablated = take_away(given, asked, ctx, found)
    outcomes = retrain(
        ctx,
        base=found.base,
        corpus=found.keep_all,
        queries=found.queries,
        subsets=subsets,
        ablated=ablated,
        params=RetrainRun.of(given, asked),
    )
    return assess(
        ctx,
        subsets=subsets,
        outcomes=outcomes,
        scores=scores,
        queries=found.queries,
        planted=find_planted(given, asked, ctx, found),
        patched=patch_tails(given, asked, ctx, found, scores),
        ablated={
            "mixtures": ablated,
            "scores": given.scores.by_rule(found.scores, other_scores(given, ctx, found)),
            "tokenizer": found.base,
            "benchmarks": found.data.benchmarks,
        }
        if ablated
        else {},
        params=AssessRun.of(given, asked),
    )


def score_by_all(
    given: Recipe, asked: ValidityParams, ctx: RunContext, found: Found, label: str = ""
) -> Artifact:
    """Let every method score the rows that the checkpoint was trained on."""
    return rivals(
        ctx,
        label=label,
        checkpoint=found.checkpoint,
        base=found.base,
        corpus=found.keep_all,
        queries=found.queries,
        params=RivalRun.of(given, asked),
    )


def take_away(
    given: Recipe, asked: ValidityParams, ctx: RunContext, found: Found
) -> dict[str, dict[str, Artifact]]:
    """Mask each label that is asked for, and in another mixture as much else of the same rows."""
    wanted = {}
    for label in asked.ablated or ():
        rule = Ablate.masking(label)
        control = given.mixing_by(Random(kind="random"), like=rule)
        wanted[label] = {MASKED: given.mixing_by(rule), CONTROL: control}
    every = [params for pair in wanted.values() for params in pair.values()]
    known = gather_evidence(given, ctx, found, every)
    return {
        label: {
            kind: mix_by(ctx, found.data, known, f"{label}, {kind}", params) for kind, params in pair.items()
        }
        for label, pair in wanted.items()
    }


def patch_tails(
    given: Recipe, asked: ValidityParams, ctx: RunContext, found: Found, scores: Artifact
) -> Artifact | None:
    """Take one more step on the rows that each method puts first; nothing if it is not asked for."""
    if asked.tail_patch is None:
        return None
    return tail_patch(
        ctx,
        checkpoint=found.checkpoint,
        corpus=found.keep_all,
        queries=found.queries,
        scores=scores,
        params=PatchRun.of(given, asked, asked.tail_patch),
    )


def find_planted(given: Recipe, asked: ValidityParams, ctx: RunContext, found: Found) -> dict[str, Artifact]:
    """Plant rows, train on them, and let every method score them; nothing if none are asked for."""
    if asked.planted is None:
        return {}
    rows = plant(ctx, mixture=found.keep_all, queries=found.queries, params=PlantRun.of(given, asked.planted))
    params = given.train.run(derive_seed(given.seed, "planted"), given.train.on_the_way)
    model = train(ctx, label="planted", base=found.base, corpus=rows, params=params)
    fits = fitted(given, ctx, "planted", model, rows)
    spoilt = replace(found, keep_all=rows, checkpoint=model)
    return {
        "rows": rows,
        "model": model,
        "influence": scored(given, ctx, "planted", model, rows, fits, found.queries),
        "scores": score_by_all(given, asked, ctx, spoilt, "planted"),
    }
