"""What mixture rules decide by: built if some arm of the recipe asks for it, and not else."""

from collections.abc import Iterable

from flows.attribute import Data, Fits, Found, fitted, scored
from flows.findings import labelled
from infra_core.recipe import MixParams, Recipe
from infra_core.recipe.mixture import EvidenceKind
from infra_core.store.artifact import Artifact
from tasks._stage import RunContext
from tasks.mix import mix
from tasks.nearness import nearness
from tasks.perplexity import perplexity
from tasks.token_classes import token_classes

Known = dict[EvidenceKind, Artifact]


def gather_evidence(given: Recipe, ctx: RunContext, found: Found, mixtures: Iterable[MixParams]) -> Known:
    """Return all that some mixtures ask for beside difficulty, lengths and the screen, by name.

    Perplexity and nearness are of the model before fine-tuning. Influence with identity curvature is of the
    same model, rows and queries as the recipe's own.
    """
    wanted: set[EvidenceKind] = set()
    for params in mixtures:
        wanted |= params.evidence
    is_plain = not wanted.isdisjoint({"identity", "reserve_identity"})
    plain = (
        fitted(given, ctx, "identity", found.checkpoint, found.taught, curvature="identity")
        if is_plain
        else found.fits
    )
    return {kind: _build(kind, given, ctx, found, plain) for kind in sorted(wanted)}


def mix_arm(given: Recipe, ctx: RunContext, data: Data, known: Known, arm: str) -> Artifact:
    """Return the mixture of an arm, given what its rule decides by."""
    return mix_by(ctx, data, known, arm, given.mixing(arm))


def mix_by(ctx: RunContext, data: Data, known: Known, label: str, params: MixParams) -> Artifact:
    """Return a mixture that the run calls `label`, likewise."""
    evidence = {kind: known[kind] for kind in sorted(params.evidence)}
    return mix(ctx, label=label, **data.pools(), evidence=evidence, params=params)


def _build(kind: EvidenceKind, given: Recipe, ctx: RunContext, found: Found, plain: Fits) -> Artifact:
    of_reserve = kind.startswith("reserve_")
    pool = found.data.reserve if of_reserve else found.data.corpus
    label = "reserve" if of_reserve else "corpus"
    match kind:
        case "scores" | "queries" | "tokenizer":
            return {"scores": found.scores, "queries": found.queries, "tokenizer": found.base}[kind]
        case "reserve_scores":
            return scored(given, ctx, label, found.checkpoint, pool, found.fits, found.queries)
        case "identity" | "reserve_identity":
            label = f"{label}, identity"
            return scored(given, ctx, label, found.checkpoint, pool, plain, found.queries)
        case "perplexity" | "reserve_perplexity":
            return perplexity(ctx, label=label, checkpoint=found.base, corpus=pool)
        case "nearness" | "reserve_nearness":
            return nearness(ctx, label=label, checkpoint=found.base, corpus=pool, queries=found.queries)
        case "behaviours":
            return labelled(given, ctx, found)
        case "token_classes":
            return token_classes(ctx, corpus=pool, base=found.base)
