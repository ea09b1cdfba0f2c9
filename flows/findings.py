"""findings: what a report tells beside the exam: what rows, steps and tokens are, and what keeps its sign."""

from typing import Any

from flows.attribute import Found, fitted, scored
from infra_core.recipe import Recipe, RobustnessParams
from infra_core.seeds import derive_seed
from infra_core.store.artifact import Artifact
from tasks._stage import RunContext
from tasks.behaviours import BehaviourRun, behaviours
from tasks.gradient_norms import GradientRun, gradient_norms
from tasks.perplexity import perplexity
from tasks.token_classes import token_classes
from tasks.train import train


def findings(given: Recipe, ctx: RunContext, found: Found) -> dict[str, Any]:
    """Return all that a report reads of attribution."""
    corpus = found.data.corpus
    return {
        **found.data.pools(),
        "benchmarks": found.data.benchmarks,
        "checkpoint": found.checkpoint,
        "queries": found.queries,
        "scores": found.scores,
        "drift": found.drift,
        "other_scores": other_scores(given, ctx, found),
        "behaviours": labelled(given, ctx, found) if given.scores.spans else None,
        "token_classes": token_classes(ctx, corpus=corpus, base=found.base),
        "perplexity": perplexity(ctx, label="corpus", checkpoint=found.base, corpus=corpus),
        "varied": varied(given, ctx, found, given.robustness) if given.robustness else {},
    }


def other_scores(given: Recipe, ctx: RunContext, found: Found) -> Artifact | None:
    """Return scores under the token rule that is not the recipe's, if it compares them."""
    if not given.compare_rules:
        return None
    turned = given.model_copy(update={"scores": given.scores.other_rule})
    pool, label = found.data.corpus, "corpus, other rule"
    return scored(turned, ctx, label, found.checkpoint, pool, found.fits, found.queries)


def labelled(given: Recipe, ctx: RunContext, found: Found) -> Artifact:
    """Return what each span of the corpus does."""
    return behaviours(ctx, corpus=found.data.corpus, base=found.base, params=BehaviourRun.of(given))


def varied(given: Recipe, ctx: RunContext, found: Found, asked: RobustnessParams) -> dict[str, Artifact]:
    """Return what a recipe's variations rest on: scores by variation, and the lengths of gradients."""
    corpus, queries = found.data.corpus, found.queries
    built: dict[str, Artifact] = {}
    if asked.modules is not None:
        fits = fitted(given, ctx, asked.modules, found.checkpoint, found.taught, modules=asked.modules)
        built["modules"] = scored(
            given, ctx, f"corpus, {asked.modules}", found.checkpoint, corpus, fits, queries
        )
    if asked.train_seed is not None:
        label = f"keep_all {asked.train_seed}"
        params = given.train.run(derive_seed(given.seed, "train", asked.train_seed), given.train.on_the_way)
        model = train(ctx, label=label, base=found.base, corpus=found.taught, params=params)
        fits = fitted(given, ctx, label, model, found.taught)
        built["train_seed"] = scored(given, ctx, f"corpus, {label}", model, corpus, fits, queries)
    if "unit_norm" in asked.gradients:
        built["gradient_norms"] = gradient_norms(
            ctx, checkpoint=found.checkpoint, corpus=corpus, params=GradientRun.of(given)
        )
    return built
