"""Scores of every row for every single query, by each method that is put to the test."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import numpy as np
import polars as pl
import torch

from infra_core.corpus.render import render
from infra_core.corpus.schema import distinct
from infra_core.influence import FactorParams, ScoreParams
from infra_core.recipe import Params, Recipe, TrainParams, ValidityParams
from infra_core.recipe.validity import Method, Variant
from infra_core.runtime.memory import PeakMemory, peak_memory
from infra_core.seeds import derive_seed
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from infra_core.store.tables import write_table
from infra_core.validity.contest import Contest
from infra_core.validity.judging import SCORE_TABLE
from infra_core.validity.rivals import METHODS, varied
from tasks._asked import asked_queries, query_examples
from tasks._checkpoint import load_checkpoint
from tasks._factors import context_length
from tasks._progress import progress
from tasks._shares import share_out
from tasks._stage import RunContext, stage
from tasks.train import training_rows


class RivalRun(Params):
    """Which methods score, and what of the recipe their influence is by."""

    methods: tuple[Method, ...]
    variants: dict[str, Variant] | None = None
    train: TrainParams  # again, for methods that look at training on its way
    factors: FactorParams
    scores: ScoreParams
    refine_rows: int
    refine_iterations: int
    seed: int

    @classmethod
    def of(cls, given: Recipe, asked: ValidityParams) -> "RivalRun":
        """Take a recipe's own curvature and damping."""
        return cls(
            methods=asked.methods,
            variants=asked.variants,
            train=given.train.run(derive_seed(given.seed, "train", 0)),
            factors=given.factors,
            scores=given.scores,
            refine_rows=asked.refine_rows,
            refine_iterations=asked.refine_iterations,
            seed=derive_seed(given.seed, "rivals"),
        )

    def effort(self, method: str) -> float:
        """Return about how many times as long as plain influence a method takes, so that workers share alike.

        Measured on `tiny`: a training is two of it, an iteration of refinement for 90 queries four.
        """
        variant = (self.variants or {}).get(method)
        if method == "ekfac_refined":
            return 4.0 * self.refine_iterations
        if not looks_at_training(method, variant):
            return 1.0
        if variant is None:
            return 3.0
        seeds, states = variant.seeds or (0,), variant.after or (1.0,)
        trainings = len(seeds) if variant.after else len(set(seeds) - {0})
        return float(len(seeds) * len(states) + 2 * trainings)


@dataclass(frozen=True)
class Scored:
    """What every method needs."""

    checkpoint: Artifact
    base: Artifact
    corpus: Artifact
    queries: Artifact
    params: RivalRun


@stage(version=1)
def rivals(
    ctx: RunContext,
    out: WorkDir,
    *,
    checkpoint: Artifact,
    base: Artifact,
    corpus: Artifact,
    queries: Artifact,
    params: RivalRun,
) -> None:
    """Write a table of scores a method, and beside it what it cost; a new method adds its own alone."""
    fixed = {
        "checkpoint": checkpoint.key, "base": base.key, "corpus": corpus.key, "queries": queries.key,
        "params": params.model_dump(exclude={"methods", "variants", "train"}),
    }  # fmt: skip
    variants = params.variants or {}
    names = (*params.methods, *variants)
    identities = {
        part: {
            **fixed,
            "method": None if method in variants else method,
            "variant": variants.get(method),
            "train": params.train if looks_at_training(method, variants.get(method)) else None,
            "cost": part == cost_part(method),
        }
        for method in names
        for part in (score_part(method), cost_part(method))
    }
    pending = set(out.pending(identities))
    waiting = [method for method in names if pending & {score_part(method), cost_part(method)}]
    given = Scored(checkpoint, base, corpus, queries, params)
    share_out(ctx, out, score_methods, waiting, given, effort=params.effort)


def looks_at_training(method: str, variant: Variant | None) -> bool:
    """Whether a method trains again, so that how it is done belongs to its identity."""
    trains = variant is not None and (variant.seeds or variant.after)
    return bool(trains) or method in {"tracin", "less"}


def score_part(method: str) -> str:
    """Return where a method's scores are."""
    return f"{method}.parquet"


def cost_part(method: str) -> str:
    """Return where is written what they cost: the one kind of part that differs between runs."""
    return f"cost-{method}.json"


def score_methods(ctx: RunContext, out: WorkDir, methods: Sequence[str], given: Scored) -> None:
    """Let some methods score, one after the other."""
    contest = contest_of(ctx, given)
    with progress("methods", len(methods)) as update:
        for done, method in enumerate(methods, 1):
            began = time.monotonic()
            with _memory(ctx.device) as memory:
                scores = _scores(contest, method, given.params)
            cost = {"seconds": time.monotonic() - began, "peak_bytes": memory.above}
            table = {"example_id": [row.example_id for row in contest.examples], "scores": scores.tolist()}
            write_table(out, score_part(method), pl.DataFrame(table, schema=SCORE_TABLE), SCORE_TABLE)
            with out.open(cost_part(method)) as file:
                file.write(json.dumps(cost).encode())
            update(done)


def _scores(contest: Contest, method: str, params: RivalRun) -> np.ndarray:
    variant = (params.variants or {}).get(method)
    return METHODS[cast(Method, method)](contest) if variant is None else varied(contest, variant)


def contest_of(ctx: RunContext, given: Scored) -> Contest:
    """Return what methods may look at."""
    model, tokenizer = load_checkpoint(ctx, given.checkpoint, given.params.factors.modules)
    before, _ = load_checkpoint(ctx, given.base)
    rows = distinct(training_rows(ctx, given.corpus))
    asked = asked_queries(ctx, given.queries)
    examples = [
        (example, f"{prompt}\n{response}")
        for example, (prompt, response) in zip(
            render(rows, tokenizer, spans=None), rows.select("prompt", "response").iter_rows(), strict=True
        )
        if len(example) <= context_length(model)
    ]
    return Contest(
        model=model,
        base=before,
        examples=[example for example, _ in examples],
        queries=query_examples(asked, tokenizer),
        texts=[text for _, text in examples],
        query_texts=[
            f"{prompt}\n{response}" for prompt, response in asked.select("prompt", "response").rows()
        ],
        train=given.params.train,
        factors=given.params.factors,
        scores=given.params.scores,
        refine_rows=given.params.refine_rows,
        refine_iterations=given.params.refine_iterations,
        seed=given.params.seed,
        batch_tokens=ctx.micro_batch_tokens,
    )


@contextmanager
def _memory(device: str) -> Iterator[PeakMemory]:
    """Measure memory where it can be: of the device if that is one, else of the process, on Linux."""
    if device != "cpu":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        found = PeakMemory()
        yield found
        found.above = torch.cuda.max_memory_allocated() - before
    elif sys.platform == "linux":
        with peak_memory() as found:
            yield found
    else:
        yield PeakMemory()
