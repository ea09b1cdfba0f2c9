"""curate: find which examples teach, change the mixture accordingly, and see whether it helped."""

import logging
import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from flows.attribute import Found, attribute
from flows.evidence import gather_evidence, mix_arm
from flows.findings import findings
from flows.outcome import Outcome, outcome
from flows.resources import Resources
from infra_core.errors import RequestError
from infra_core.recipe import Recipe
from infra_core.recipe.rehearsal import rehearsal
from infra_core.seeds import derive_seed
from infra_core.store.artifact import Artifact
from tasks._shares import workers_at_hand
from tasks._stage import RunContext
from tasks.evaluate import ExamRun, evaluate
from tasks.mix import first_alike
from tasks.report import ReportRun, report
from tasks.train import train

logger = logging.getLogger(__name__)

ALONE = Resources()

Runs = dict[str, Artifact]
"""Of one arm: its artifacts by training seed."""


def run(recipe: str, store: str, rehearse: bool = False, resources: Resources = ALONE) -> Outcome:
    """Run a recipe from raw corpus to report and say what it came to.

    Parameters
    ----------
    recipe
        Path of a recipe file.
    store
        Where artifacts live.
    rehearse
        Shrink it first.
    resources
        Devices, processes, workers and time.

    Raises
    ------
    InfraError
        Whatever a person can mend.
    """
    began = time.monotonic()
    given = rehearsal(Recipe.load(recipe)) if rehearse else Recipe.load(recipe)
    ctx = planned_context(given, store, resources)
    with workers_at_hand():
        final = run_stages(given, ctx)
    return outcome(ctx, given.name, final, time.monotonic() - began)


@dataclass(frozen=True)
class Sizes:
    """What a run's plan says of batches and memory, when it is first asked; workers are sent it as it is."""

    given: Recipe
    ctx: RunContext
    devices: int
    to_validate: bool

    def __call__(self) -> dict[str, Any]:
        """Return the fields of the context that are planned."""
        return self._planned

    @cached_property
    def _planned(self) -> dict[str, Any]:
        from flows.plan import planned_sizes  # loads models of transformers

        return planned_sizes(self.given, self.ctx, self.devices, to_validate=self.to_validate)


def planned_context(
    given: Recipe, store: str, resources: Resources, *, to_validate: bool = False
) -> RunContext:
    """Return the context of a run of a recipe on this machine, whose plan says what batches it takes.

    Raises
    ------
    RequestError
        If several arms are to train side by side where each takes the devices.
    """
    here = context(store, resources)
    if here.at_once > 1 and here.device != "cpu":
        raise RequestError(
            f"at_once is {here.at_once} on {here.device}, where each training takes the devices it is given; "
            "leave at_once at 1 and raise processes"
        )
    # What is not divided weighs on each device as if it were alone.
    devices = here.processes if here.sharding == "fsdp" else 1
    return replace(here, sizes=Sizes(given, here, devices, to_validate))


def context(store: str, resources: Resources) -> RunContext:
    """Return the context of a run on this machine that uses these resources."""
    here = RunContext.here(store, resources.device, resources.processes)
    return replace(
        here,
        sharding=resources.sharding,
        at_once=resources.at_once,
        workers=resources.workers,
        cluster=resources.cluster,
        stage_seconds=None if resources.stage_hours is None else 3600 * resources.stage_hours,
    )


def run_stages(given: Recipe, ctx: RunContext) -> Artifact:
    """Run every stage of a recipe in order and return its report."""
    exam = ExamRun.of(given)  # first, so that a task definition that is not there shows before any work
    found = attribute(given, ctx)
    mixtures = mix_arms(given, ctx, found)
    arms = retrain(given, ctx, found, mixtures)
    exams = examine(exam, ctx, found, arms)
    return report(
        ctx,
        found=findings(given, ctx, found),
        mixtures=mixtures,
        evaluations=exams,
        params=ReportRun.of(given),
    )


def mix_arms(given: Recipe, ctx: RunContext, found: Found) -> Runs:
    """Return every arm's mixture by name, the untouched corpus first."""
    known = gather_evidence(given, ctx, found, map(given.mixing, given.mixtures))
    made = {arm: mix_arm(given, ctx, found.data, known, arm) for arm in given.mixtures}
    return {"keep_all": found.keep_all, **made}


def retrain(given: Recipe, ctx: RunContext, found: Found, mixtures: Runs) -> dict[str, Runs]:
    """Train every arm once a seed; the base they start from stands beside them, untrained.

    Arms of the same rows, such as a flip that measured nothing to flip, share the runs of the first of them.
    """
    first = first_alike(ctx, mixtures)
    arms: dict[str, Runs] = {"base": {"0": found.base}, "keep_all": {}}
    if found.taught == found.keep_all:  # scores may be those of a model from before
        arms["keep_all"]["0"] = found.checkpoint
    wanted = {
        f"{arm} {seed}": (arm, seed)
        for arm in dict.fromkeys(first.values())
        for seed in range(len(arms.setdefault(arm, {})), given.train.seeds)
    }
    trained = train.map(
        ctx,
        {
            label: {
                "base": found.base,
                "corpus": mixtures[arm],
                "params": given.train.run(derive_seed(given.seed, "train", seed), kept(given, arm, seed)),
            }
            for label, (arm, seed) in wanted.items()
        },
    )
    for label, (arm, seed) in wanted.items():
        arms[arm][str(seed)] = trained[label]
    return {"base": arms["base"], **{arm: arms[alike] for arm, alike in first.items()}}


def kept(given: Recipe, arm: str, seed: int) -> tuple[float, ...] | None:
    """Return after which shares of a training its model is kept: where it scores, as it does elsewhere."""
    varied = None if given.robustness is None else given.robustness.train_seed
    return given.train.on_the_way if arm == "keep_all" and seed in {0, varied} else None


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
