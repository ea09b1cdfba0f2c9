"""A few numbers of each stage of the shrunk run, that move when what the stage computes moves."""

import hashlib
import json
from pathlib import Path

import polars as pl
from safetensors.torch import load as read_safetensors

from flows.attribute import attribute
from flows.evidence import gather_evidence
from flows.publish import publish_arm
from flows.validate import run_stages as validated
from infra_core.recipe import AttemptParams, Perplexity, Rds, Recipe, ValidityParams
from infra_core.store.artifact import Artifact
from infra_core.store.lineage import ancestors
from infra_core.store.store import ArtifactStore
from tasks._stage import RunContext
from tasks.attempt import AttemptRun, attempt
from tasks.gradient_norms import GradientRun, gradient_norms

FOLDER = Path(__file__).parent
DIGITS = 2  # significant ones that are held: other processors sum in another order


def built_beside(recipe: Path, ctx: RunContext) -> list[Artifact]:
    """Build what the shrunk run does not ask for: evidence of more arms, attempts, a published mixture …"""
    given = Recipe.load(recipe)
    arms = {
        "mid": Perplexity(kind="perplexity", keep="mid", like="flip"),
        "rds": Rds(kind="rds", like="flip"),
    }
    more = given.model_copy(update={"mixtures": {**given.mixtures, **arms}})
    found = attribute(given, ctx)
    known = gather_evidence(more, ctx, found, arms)
    how = AttemptParams(draws=1, temperature=0.0, max_new_tokens=8)
    tried = attempt(ctx, checkpoint=found.base, corpus=found.data.reserve, params=AttemptRun.of(given, how))
    asked = ValidityParams(
        subsets={"random": 2}, methods=("ekfac_mlp", "bm25"), left_out=(0.5,), planted=0.05, tail_patch=2
    )
    norms = gradient_norms(
        ctx, checkpoint=found.checkpoint, corpus=found.data.corpus, params=GradientRun.of(given)
    )
    return [*known.values(), tried, norms, publish_arm(given, ctx, "flip"), validated(given, asked, ctx)]


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
            # Eigenvectors are told up to sign and order; everything else is summed.
            if not key.endswith((":q_a", ":q_g")):
                yield "|weights|" if "model" in name else "eigenvalues", tensor.double().abs().sum().item()
            else:
                yield "eigenvectors", float(len(tensor))
    elif name == "numbers.json":
        yield "figures", float(len(json.loads(content)["figures"]))


def recipe_hash(recipe: Path) -> str:
    """Identify the run that the numbers are of."""
    return hashlib.sha256(recipe.read_bytes()).hexdigest()[:16]


def golden_file(stage: str, version: int) -> Path:
    """Where a stage's numbers are filed."""
    return FOLDER / f"{stage}.v{version}.json"
