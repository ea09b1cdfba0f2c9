"""curate: find which examples teach, change the mixture accordingly, and see whether it helped."""

import logging
import time
from dataclasses import replace
from typing import Any

from prefect import flow
from prefect.states import Failed

from flows.attribute import Found, attribute
from flows.evidence import gather_evidence, mix_arm
from flows.outcome import outcome
from flows.plan import as_planned
from infra_core.errors import InfraError, RequestError
from infra_core.recipe import Recipe
from infra_core.recipe.rehearsal import rehearsal
from infra_core.seeds import derive_seed
from infra_core.store.artifact import Artifact
from infra_core.training.place import Sharding
from tasks._stage import RunContext
from tasks.evaluate import ExamRun, evaluate
from tasks.report import ReportRun, report
from tasks.train import train

logger = logging.getLogger(__name__)

Runs = dict[str, Artifact]
"""Of one arm: its artifacts by training seed."""


@flow(name="curate", flow_run_name="curate {recipe}", persist_result=False)
def curate(
    recipe: str,
    store: str = "file://./store",
    device: str = "auto",
    rehearse: bool = False,
    processes: int = 1,
    sharding: Sharding = "ddp",
    at_once: int = 1,
) -> Any:
    """Run a recipe from raw corpus to report; whatever the store already holds is reused.

    Parameters
    ----------
    recipe
        Path of a recipe file.
    store
        Where artifacts live: ``file://``, ``s3://``, ``gs://``.
    device
        ``cpu``, ``cuda``, or ``auto`` for the best there is.
    rehearse
        Run the same stages with shrunk widths and stand-in rows, to try a recipe before it costs anything.
    processes
        How many train together, each with a device of its own.
    sharding
        ``ddp``: each holds the whole model; ``fsdp``: its share.
    at_once
        How many arms are trained side by side on this machine's processor.
    """
    began = time.monotonic()
    for name in ("flows", "tasks", "infra_core"):
        logging.getLogger(name).setLevel(logging.INFO)
    try:
        given = rehearsal(Recipe.load(recipe)) if rehearse else Recipe.load(recipe)
        here = replace(RunContext.here(store, device, processes), sharding=sharding, at_once=at_once)
        _require_a_processor(here)
        # What is not divided weighs on each device as if it were alone.
        ctx = as_planned(given, here, devices=processes if sharding == "fsdp" else 1)
        final = run_stages(given, ctx)
    except InfraError as error:  # meant for people: a state with a message, not a traceback
        return Failed(message=str(error), data=error)
    return outcome(ctx, final, time.monotonic() - began)


def _require_a_processor(ctx: RunContext) -> None:
    if ctx.at_once > 1 and ctx.device != "cpu":
        raise RequestError(
            f"at_once is {ctx.at_once} on {ctx.device}, where each training takes the devices it is given; "
            "leave at_once at 1 and raise processes"
        )


def run_stages(given: Recipe, ctx: RunContext) -> Artifact:
    """Run every stage of a recipe in order and return its report."""
    exam = ExamRun.of(given)  # first, so that a task definition that is not there shows before any work
    found = attribute(given, ctx)
    mixtures = mix_arms(given, ctx, found)
    arms = retrain(given, ctx, found, mixtures)
    exams = examine(exam, ctx, found, arms)
    return report(
        ctx, found=found.for_report(), mixtures=mixtures, evaluations=exams, params=ReportRun.of(given)
    )


def mix_arms(given: Recipe, ctx: RunContext, found: Found) -> Runs:
    """Return every arm's mixture by name, the untouched corpus first."""
    known = gather_evidence(given, ctx, found, given.mixtures)
    made = {arm: mix_arm(given, ctx, found.data, known, arm) for arm in given.mixtures}
    return {"keep_all": found.keep_all, **made}


def retrain(given: Recipe, ctx: RunContext, found: Found, mixtures: Runs) -> dict[str, Runs]:
    """Train every arm once a seed; the base they start from stands beside them, untrained."""
    arms = {"base": {"0": found.base}, "keep_all": {"0": found.checkpoint}}  # what scores were taken of
    wanted = {
        f"{arm} {seed}": (arm, seed)
        for arm in mixtures
        for seed in range(len(arms.setdefault(arm, {})), given.train.seeds)
    }
    trained = train.map(
        ctx,
        {
            label: {
                "base": found.base,
                "corpus": mixtures[arm],
                "params": given.train.run(derive_seed(given.seed, "train", seed)),
            }
            for label, (arm, seed) in wanted.items()
        },
    )
    for label, (arm, seed) in wanted.items():
        arms[arm][str(seed)] = trained[label]
    return arms


def examine(exam: ExamRun, ctx: RunContext, found: Found, arms: dict[str, Runs]) -> dict[str, Runs]:
    """Give every checkpoint the same exam."""
    return {
        arm: {
            seed: evaluate(
                ctx, label=f"{arm} {seed}", checkpoint=run, benchmarks=found.data.benchmarks, params=exam
            )
            for seed, run in runs.items()
        }
        for arm, runs in arms.items()
    }
