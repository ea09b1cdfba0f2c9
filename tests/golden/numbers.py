"""A few numbers of each stage of the shrunk run, that move when what the stage computes moves."""

import hashlib
import json
from pathlib import Path

import polars as pl
from safetensors.torch import load as read_safetensors
from torch import Tensor

from flows.ask import answered
from flows.attribute import attribute
from flows.evidence import gather_evidence, mix_arm
from flows.publish import publish_arm
from flows.validate import run_stages as validated
from infra_core.recipe import (
    AttemptParams,
    IndexParams,
    Perplexity,
    Rds,
    Recipe,
    ValidityParams,
)
from infra_core.store.artifact import Artifact
from infra_core.store.lineage import ancestors
from infra_core.store.store import ArtifactStore
from tasks._stage import RunContext
from tasks.attempt import AttemptRun, attempt
from tasks.average import average
from tasks.drift import DriftRun, drift
from tasks.gradient_norms import GradientRun, gradient_norms

FOLDER = Path(__file__).parent
OF_AN_INDEX = {"codes", "scales", "example_ids", "spans"}
DIGITS = 2  # significant ones that are held: other processors sum in another order


def built_beside(recipe: Path, ctx: RunContext) -> list[Artifact]:
    """Build what the shrunk run does not ask for: evidence of more arms, attempts, an index, and more."""
    given = Recipe.load(recipe)
    arms = {
        "mid": Perplexity(kind="perplexity", keep="mid", like="flip"),
        "rds": Rds(kind="rds", like="flip"),
    }
    more = given.model_copy(update={"mixtures": {**given.mixtures, **arms}})
    found = attribute(given, ctx)
    known = gather_evidence(more, ctx, found, map(more.mixing, arms))
    how = AttemptParams(draws=1, temperature=0.0, max_new_tokens=8)
    tried = attempt(ctx, checkpoint=found.base, corpus=found.data.reserve, params=AttemptRun.of(given, how))
    asked = ValidityParams(
        subsets={"random": 2}, methods=("ekfac_mlp", "bm25"), left_out=(0.5,), planted=0.05, tail_patch=2
    )
    norms = gradient_norms(
        ctx, checkpoint=found.checkpoint, corpus=found.data.corpus, params=GradientRun.of(given)
    )
    indexed = given.model_copy(update={"index": IndexParams(coordinates=64)})
    return [
        *known.values(),
        tried,
        norms,
        publish_arm(given, ctx, "flip"),
        validated(given, asked, ctx),
        answered(indexed, ctx),
        average(ctx, scores={"after_0.5": found.scores, "after_1": found.scores}),
        drift(
            ctx,
            checkpoint=found.checkpoint,
            factors=found.factors,
            before=found.keep_all,
            corpus=mix_arm(given, ctx, found.data, known, "flip"),
            params=DriftRun(rows=1.0, curvature=1.0, damping=given.scores.damping),
        ),
    ]


def stage_numbers(store: ArtifactStore, *artifacts: Artifact) -> dict[str, dict[str, float]]:
    """Return, per stage, totals over all that these rest on: rows, and the sum of every numeric column."""
    found: dict[str, dict[str, float]] = {}
    for _, artifact in ancestors(store, *artifacts):
        assert isinstance(artifact, Artifact)
        totals = found.setdefault(artifact.stage, {})
        for name in store.parts(artifact):
            for what, value in _numbers(name, store.read(artifact, name)):
                totals[what] = totals.get(what, 0.0) + value
    return found


def _numbers(name: str, content: bytes):
    kind = name.rsplit("/", 1)[-1].split("-")[0].split(".")[0]
    if name.endswith(".parquet"):
        frame = pl.read_parquet(content)
        yield f"{kind if kind in {'dropped', 'answers', 'likelihoods'} else 'table'} rows", frame.height
        for column, dtype in frame.schema.items():
            if dtype.is_float():
                yield f"|{column}|", frame[column].abs().sum()
    elif name.endswith(".safetensors"):
        for key, tensor in read_safetensors(content).items():
            yield _total(name, key, tensor)
    elif name == "drift.json":
        yield from ((what, float(value)) for what, value in json.loads(content).items() if what != "limits")
    elif name == "numbers.json":
        yield "figures", float(len(json.loads(content)["figures"]))


def _total(name: str, key: str, tensor: Tensor) -> tuple[str, float]:
    """Eigenvectors are told up to sign and order; everything else is summed."""
    field = key.rpartition(":")[2]
    if field in {"q_a", "q_g"}:
        return "eigenvectors", float(len(tensor))
    kept = f"|{field}|" if field in OF_AN_INDEX else "eigenvalues"
    return "|weights|" if "model" in name else kept, tensor.double().abs().sum().item()


def recipe_hash(recipe: Path) -> str:
    """Identify the run that the numbers are of."""
    return hashlib.sha256(recipe.read_bytes()).hexdigest()[:16]


def golden_file(stage: str, version: int) -> Path:
    """Where a stage's numbers are filed."""
    return FOLDER / f"{stage}.v{version}.json"
