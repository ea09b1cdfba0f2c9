"""How far a corpus is from the one that an earlier model learnt from: whether that model still serves."""

import json
import logging
from dataclasses import asdict, replace

import polars as pl

from infra_core.corpus.schema import distinct
from infra_core.errors import RequestError, StoreError
from infra_core.influence import factors_from_tensors, in_partitions
from infra_core.influence.blocks import choose_blocks
from infra_core.influence.drift import Drift, is_measured, whitened
from infra_core.influence.eigenvalues import eigenvalues_along
from infra_core.recipe import DriftLimits, Recipe, RefitParams
from infra_core.store.artifact import Artifact
from infra_core.store.store import WorkDir
from tasks._factors import fitted_as, load_fitted, read_layers
from tasks._in_context import in_context
from tasks._pools import pool_rows, scan_pool
from tasks._stage import RunContext, stage

logger = logging.getLogger(__name__)

TOLD = "drift.json"


class DriftRun(DriftLimits):
    """How far is too far, and how scores divide by the curvature."""

    damping: float

    @classmethod
    def of(cls, given: Recipe) -> "DriftRun":
        """Take from a recipe that names an earlier run what the verdict depends on."""
        limits = given.refit
        assert limits is not None  # noqa: S101 - there is no earlier corpus without
        return cls(rows=limits.rows, curvature=limits.curvature, damping=given.scores.damping)


@stage(version=1)
def drift(
    ctx: RunContext,
    out: WorkDir,
    *,
    checkpoint: Artifact,
    factors: Artifact,
    before: Artifact,
    corpus: Artifact,
    params: DriftRun,
) -> None:
    """Write `drift.json`: rows that came and went, how far they move the curvature, and what is too far."""
    earlier, now = (set(pool_rows(ctx, pool, "example_id")["example_id"]) for pool in (before, corpus))
    new = now - earlier
    found = Drift(len(earlier), len(now), len(new), len(earlier - now))
    if new and found.is_near(params):
        texts = distinct(scan_pool(ctx, corpus).filter(pl.col("example_id").is_in(sorted(new))).collect())
        found = replace(found, ratio=_ratio(ctx, checkpoint, factors, texts, params.damping))
    told = asdict(found) | {"limits": {"rows": params.rows, "curvature": params.curvature}}
    with out.open(TOLD) as file:
        file.write(json.dumps(told, indent=2).encode())


def _ratio(
    ctx: RunContext, checkpoint: Artifact, factors: Artifact, texts: pl.DataFrame, damping: float
) -> float | None:
    """Return how much larger the whitened square of new rows is than that of rows of before."""
    params = fitted_as(ctx, factors)
    if not is_measured(params):
        return None
    model, tokenizer = load_fitted(ctx, checkpoint, params)
    examples, _ = in_context(texts, tokenizer, None, model)
    if not examples:
        return None
    found = own = 0.0
    for part in in_partitions(model, params, "fit_factors", ctx.factor_bytes):
        curvature = read_layers(ctx, factors, factors_from_tensors, choose_blocks(model, part.modules))
        values = eigenvalues_along(model, examples, curvature, part, batch_tokens=ctx.micro_batch_tokens)
        more = whitened(values, curvature, damping=damping)
        found, own = found + more[0], own + more[1]
    return found / own if own else None


def earlier_corpus(ctx: RunContext, given: RefitParams | None) -> Artifact | None:
    """Return what the model of an earlier run learnt from; None where no run is named.

    Raises
    ------
    RequestError
        If what is named is no report of a run, or what it rests on is not in this store.
    """
    if given is None:
        return None
    named = ctx.store.at(given.since)
    try:
        model = ctx.store.manifest(named).inputs.get("found.checkpoint")
        if named.stage != "report" or model is None:
            raise RequestError(
                f"refit.since names {given.since!r}, which is no report; give that of an earlier run, as "
                "`infra curate` prints it"
            )
        learnt_from = ctx.store.manifest(ctx.store.at(f"train/{model}")).inputs["corpus"]
    except StoreError as error:
        raise RequestError(
            f"refit.since names {given.since!r}, and of that run not all is in this store ({error}); name "
            "another, or remove refit"
        ) from error
    return ctx.store.at(f"mix/{learnt_from}")


def is_near(ctx: RunContext, drifted: Artifact) -> bool:
    """Whether the earlier model and its factors still serve; says so, with the numbers."""
    found, limits = _read(ctx, drifted)
    if found.is_near(limits):
        logger.info("model and factors of an earlier run are kept: %s", found.told(limits))
        return True
    logger.warning(
        "model and factors are made anew: %s; name the report of this run in refit.since", found.told(limits)
    )
    return False


def read_drift(ctx: RunContext, drifted: Artifact | None) -> Drift | None:
    """Return how far a corpus is from what the kept model is of; None if none was kept."""
    return None if drifted is None else _read(ctx, drifted)[0]


def _read(ctx: RunContext, drifted: Artifact) -> tuple[Drift, DriftLimits]:
    told = json.loads(ctx.store.read(drifted, TOLD))
    limits = DriftLimits(**told.pop("limits"))
    return Drift(**told), limits
