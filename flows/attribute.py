"""attribute: from raw corpus to influence scores."""

from dataclasses import dataclass
from typing import Any

from infra_core.recipe import KeepAll, MixParams, Recipe
from infra_core.seeds import derive_seed
from infra_core.store.artifact import Artifact
from tasks._stage import RunContext
from tasks.base import base, pinned
from tasks.collect_queries import QueryRun, collect_queries
from tasks.fit_eigenbasis import fit_eigenbasis
from tasks.fit_factors import fit_factors
from tasks.ingest import catalogued, counting, ingest
from tasks.mix import mix
from tasks.rate_difficulty import rate_difficulty
from tasks.score import score
from tasks.screen import screen
from tasks.train import train


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
class Found:
    """What attribution leaves behind for curation."""

    data: Data
    base: Artifact
    keep_all: Artifact
    checkpoint: Artifact
    queries: Artifact
    scores: Artifact

    def for_report(self) -> dict[str, Any]:
        """Return all of it that a report reads."""
        pools = {**self.data.pools(), "benchmarks": self.data.benchmarks}
        return {**pools, "queries": self.queries, "scores": self.scores}


def start(given: Recipe, ctx: RunContext) -> tuple[Artifact, Artifact]:
    """Return the untrained base (whose tokenizer counts) and the base that training starts from."""
    drawn = base(ctx, params=pinned(given.base.model))
    if given.base.train is None:
        return drawn, drawn
    clean = given.corpus.clean
    corpus = ingest(
        ctx,
        label="base",
        base=counting(clean, drawn),
        params=catalogued(given.base.sources, clean, need_response=True),
    )
    params = given.base.train.run(derive_seed(given.seed, "base"))
    return drawn, train(ctx, label="base", base=drawn, corpus=corpus, params=params)


def gather(given: Recipe, ctx: RunContext, tokenizer: Artifact) -> Data:
    """Ingest every pool and look at all of them at once."""
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
        ratings=rate_difficulty(ctx, **pools, base=tokenizer, params=given.difficulty),
    )


def attribute(given: Recipe, ctx: RunContext) -> Found:
    """Find which examples, spans and tokens teach the model."""
    drawn, started = start(given, ctx)
    data = gather(given, ctx, drawn)
    everything = MixParams(rule=KeepAll(kind="keep_all"), seed=given.seed)
    keep_all = mix(ctx, label="keep_all", **data.pools(), params=everything)
    first = given.train.run(derive_seed(given.seed, "train", 0))
    checkpoint = train(ctx, label="keep_all 0", base=started, corpus=keep_all, params=first)
    queries = collect_queries(
        ctx,
        checkpoint=checkpoint,
        benchmarks=data.benchmarks,
        base=started if given.queries.objective == "changed" else None,
        params=QueryRun.of(given),
    )
    fitted_on: dict[str, Any] = {"checkpoint": checkpoint, "corpus": keep_all, "params": given.factors}
    eigenbasis = fit_eigenbasis(ctx, **fitted_on)
    factors = fit_factors(ctx, **fitted_on, eigenbasis=eigenbasis)
    scores = score(
        ctx,
        checkpoint=checkpoint,
        corpus=data.corpus,
        factors=factors,
        queries=queries,
        params=given.scores,
    )
    return Found(data, started, keep_all, checkpoint, queries, scores)
