"""attribute: from raw corpus to influence scores."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from infra_core.recipe import Recipe
from infra_core.seeds import derive_seed
from infra_core.store.artifact import Artifact
from tasks._stage import RunContext
from tasks.attempt import AttemptRun, attempt
from tasks.average import average
from tasks.base import base, pinned
from tasks.collect_queries import QueryRun, collect_queries
from tasks.drift import DriftRun, drift, earlier_corpus, is_near
from tasks.fit_eigenbasis import fit_eigenbasis
from tasks.fit_factors import fit_factors
from tasks.ingest import catalogued, counting, ingest
from tasks.mix import mix
from tasks.rate_difficulty import rate_difficulty
from tasks.score import score
from tasks.screen import screen
from tasks.train import train

Fits = tuple[Artifact, ...]


@dataclass(frozen=True)
class Data:
    """The pools of a run and what a global look says of their rows."""

    corpus: Artifact
    reserve: Artifact | None
    benchmarks: Artifact
    screen: Artifact
    ratings: Artifact

    def pools(self) -> dict[str, Any]:
        """Return what every mixture rule looks at."""
        return {
            "corpus": self.corpus,
            "reserve": self.reserve,
            "ratings": self.ratings,
            "screen": self.screen,
        }


@dataclass(frozen=True)
class Learnt:
    """A model that learnt from the corpus, and the curvature of what it learnt.

    Attributes
    ----------
    base
        What it was before.
    keep_all
        The untouched corpus, as it is now.
    taught
        The corpus that model and factors are of: the same, or that of an earlier run that is near enough.
    fits
        Curvature of the model after each share of its training that the recipe scores by, the last one last.
    drift
        How near; None where it is the same.
    """

    data: Data
    base: Artifact
    keep_all: Artifact
    taught: Artifact
    checkpoint: Artifact
    fits: Fits
    drift: Artifact | None = None

    @property
    def factors(self) -> Artifact:
        """The last of its fits: what an index is made along, and drift is measured by."""
        return self.fits[-1]


@dataclass(frozen=True, kw_only=True)
class Found(Learnt):
    """What attribution leaves behind for curation."""

    queries: Artifact
    scores: Artifact


def untrained(given: Recipe, ctx: RunContext) -> Artifact:
    """Return the model that a recipe begins with, whose tokenizer counts."""
    return base(ctx, params=pinned(given.base.model))


def start(given: Recipe, ctx: RunContext, drawn: Artifact) -> Artifact:
    """Return the model that fine-tuning starts from: the one drawn, or that after its own training."""
    if given.base.train is None:
        return drawn
    clean = given.corpus.clean
    corpus = ingest(
        ctx,
        label="base",
        base=counting(clean, drawn),
        params=catalogued(given.base.sources, clean, need_response=True),
    )
    params = given.base.train.run(derive_seed(given.seed, "base"))
    return train(ctx, label="base", base=drawn, corpus=corpus, params=params)


def gather(given: Recipe, ctx: RunContext, tokenizer: Artifact, started: Artifact) -> Data:
    """Ingest every pool and look at all of them at once; `started` tries problems, if that is asked for."""
    clean = given.corpus.clean
    counts = counting(clean, tokenizer)
    held = catalogued(given.corpus.sources, clean, need_response=True)
    corpus = ingest(ctx, label="corpus", base=counts, params=held)
    reserve = None
    if given.corpus.reserve:
        pool = catalogued(given.corpus.reserve, clean, need_response=True)
        reserve = ingest(ctx, label="reserve", base=counts, params=pool)
    asked = catalogued(given.benchmarks.values(), clean, need_response=False)
    benchmarks = ingest(ctx, label="benchmarks", params=asked)
    pools: dict[str, Any] = {"corpus": corpus, "reserve": reserve, "benchmarks": benchmarks}
    return Data(
        corpus=corpus,
        reserve=reserve,
        benchmarks=benchmarks,
        screen=screen(ctx, **pools, params=given.screen),
        ratings=rate_difficulty(
            ctx,
            **pools,
            base=tokenizer,
            attempts=try_problems(given, ctx, pools, started),
            params=given.difficulty,
        ),
    )


def try_problems(
    given: Recipe, ctx: RunContext, pools: Mapping[str, Artifact | None], started: Artifact
) -> dict[str, Artifact]:
    """Have the model that fine-tuning starts from try the problems of all pools, if difficulty is that."""
    tried = given.difficulty.tried
    if tried is None:
        return {}
    params = AttemptRun.of(given, tried)
    named = {"corpus": pools["corpus"], "reserve": pools["reserve"], "benchmark": pools["benchmarks"]}
    return {
        name: attempt(ctx, label=name, checkpoint=started, corpus=pool, params=params)
        for name, pool in named.items()
        if pool is not None
    }


def learn(given: Recipe, ctx: RunContext) -> Learnt:
    """Train on the corpus and fit the curvature; or keep both from an earlier run that it is near to."""
    drawn = untrained(given, ctx)
    started = start(given, ctx, drawn)
    data = gather(given, ctx, drawn, started)
    keep_all = mix(ctx, label="keep_all", **data.pools(), params=given.mixing("keep_all"))
    earlier = earlier_corpus(ctx, given.refit) or keep_all
    taught = teach(given, ctx, started, earlier)
    if earlier == keep_all:
        return Learnt(data, started, keep_all, keep_all, **taught)
    kept = Learnt(data, started, keep_all, earlier, **taught)
    far = drift(
        ctx,
        before=earlier,
        corpus=keep_all,
        checkpoint=kept.checkpoint,
        factors=kept.factors,
        params=DriftRun.of(given),
    )
    if is_near(ctx, far):
        return replace(kept, drift=far)
    return Learnt(data, started, keep_all, keep_all, **teach(given, ctx, started, keep_all))


def teach(given: Recipe, ctx: RunContext, started: Artifact, corpus: Artifact) -> dict[str, Any]:
    """Train on a corpus and fit the curvature on it."""
    first = given.train.run(derive_seed(given.seed, "train", 0), given.train.on_the_way)
    checkpoint = train(ctx, label="keep_all 0", base=started, corpus=corpus, params=first)
    return {"checkpoint": checkpoint, "fits": fitted(given, ctx, "", checkpoint, corpus)}


def collected(given: Recipe, ctx: RunContext, learnt: Learnt) -> Artifact:
    """Collect the queries of a recipe."""
    return collect_queries(
        ctx,
        checkpoint=learnt.checkpoint,
        benchmarks=learnt.data.benchmarks,
        base=learnt.base if given.queries.objective == "changed" else None,
        params=QueryRun.of(given),
    )


def attribute(given: Recipe, ctx: RunContext) -> Found:
    """Find which examples, spans and tokens teach the model."""
    learnt = learn(given, ctx)
    queries = collected(given, ctx, learnt)
    scores = scored(given, ctx, "corpus", learnt.checkpoint, learnt.data.corpus, learnt.fits, queries)
    return Found(**vars(learnt), queries=queries, scores=scores)


def fitted(
    given: Recipe, ctx: RunContext, label: str, checkpoint: Artifact, corpus: Artifact, **changes: Any
) -> Fits:
    """Fit the curvature of a checkpoint on a corpus, as it was after each of the recipe's shares of training.

    `changes` are to the recipe's factors.
    """
    fits = []
    for share in given.train.states:
        params = given.factors.model_copy(update={**changes, "after": share if share < 1 else None})
        fitted_on: dict[str, Any] = {"checkpoint": checkpoint, "corpus": corpus, "params": params}
        named = told_after(label, share)
        eigenbasis = fit_eigenbasis(ctx, label=named, **fitted_on)
        fits.append(fit_factors(ctx, label=named, **fitted_on, eigenbasis=eigenbasis))
    return tuple(fits)


def scored(
    given: Recipe,
    ctx: RunContext,
    label: str,
    checkpoint: Artifact,
    pool: Artifact | None,
    fits: Fits,
    queries: Artifact,
) -> Artifact:
    """Score the rows of a pool: the mean by all states of training whose fits these are."""
    scores = {
        f"after_{share:g}": score(
            ctx,
            label=told_after(label, share),
            checkpoint=checkpoint,
            corpus=pool,
            factors=factors,
            queries=queries,
            params=given.scores,
        )
        for share, factors in zip(given.train.states, fits, strict=True)
    }
    return next(iter(scores.values())) if len(scores) == 1 else average(ctx, label=label, scores=scores)


def told_after(label: str, share: float) -> str:
    """Return a label that says after which share of training a model is meant, if not at its end."""
    return label if share == 1 else ", ".join(filter(None, (label, f"after {share:g}")))
