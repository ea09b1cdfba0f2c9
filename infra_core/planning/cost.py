"""Bytes and seconds of every stage, from shapes and volumes. Arithmetic only: nothing is read or run.

Counted are passes over the model, decompositions and products of factors, the optimiser, a fixed time an
artifact, and judging the corpus's own answers if cleaning asks for it (`clean.verify`). Reading rows and
judging the model's answers are not: seconds where the rest is minutes.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from transformers import PretrainedConfig

from infra_core.evaluation.generation import BATCH_TOKENS
from infra_core.influence.plan import FactorBytes, ModuleSize, Prepare, factor_bytes, module_sizes
from infra_core.planning.work import FP32, Amount, Machine, Shape, Work
from infra_core.recipe import AskParams, PretrainedBase, Recipe
from infra_core.recipe.params import names_adapters
from infra_core.training.adapters import adapt

BF16 = 2
ADAM_BYTES = 16  # per weight: fp32 master, gradient, two moments
BATCHES = (16_384, 8192, 4096, 2048, 1024)  # positions in one pass that are tried, the largest first
MOST_PARTITIONS = 64
USABLE = 0.85  # of a device's memory
ARTIFACT_SECONDS = (
    0.8  # loading, saving, lm_eval: what `tiny` takes for one on two cores with hardly any rows
)


JUDGE_SECONDS = {"math": 0.01, "code": 0.15}  # of an answer, by math-verify or in the sandbox, on a busy core


@dataclass(frozen=True)
class Volume:
    """How much text a run handles.

    Attributes
    ----------
    assumed
        What could not be counted here and what was taken instead; empty if everything was counted.
    """

    rows: int
    tokens: int  # of the corpus, once
    base_tokens: int  # of the scratch base's own corpus, once
    questions: int  # exam
    assumed: tuple[str, ...] = ()


@dataclass(frozen=True)
class StagePlan:
    """One stage's share of a plan."""

    stage: str
    peak_bytes: int  # on each device
    partitions: int
    passes: int
    seconds: float


@dataclass(frozen=True)
class Plan:
    """What a run will cost."""

    volume: Volume
    machine: Machine
    factors: FactorBytes
    stages: tuple[StagePlan, ...]
    batch: int  # positions in one pass
    recompute: bool  # whether training must compute activations again: the longest row would not fit without

    @property
    def fits(self) -> bool:
        """Whether every stage fits into a device's memory."""
        return all(stage.peak_bytes <= USABLE * self.machine.memory_bytes for stage in self.stages)

    @property
    def seconds(self) -> float:
        """All stages one after the other."""
        return sum(stage.seconds for stage in self.stages)

    def as_json(self) -> dict[str, object]:
        """Return the object that `infra plan --json` ends with."""
        return {
            "stages": [asdict(stage) for stage in self.stages],
            "factor_bytes": {"covariance": self.factors.covariance, "eigenvalues": self.factors.eigenvalues},
            "fits": self.fits,
            "micro_batch_tokens": self.batch,
            "recompute": self.recompute,
            "rows": self.volume.rows,
            "tokens": self.volume.tokens,
            "assumed": list(self.volume.assumed),
            "basis": self.machine.basis,
        }


def plan(recipe: Recipe, config: PretrainedConfig, volume: Volume, machine: Machine) -> Plan:
    """Return the plan of a recipe for a model of this config.

    Training is taken to shard weights, gradients and moments over the devices; fitting and scoring to hold
    the whole model on each device and to divide rows and factors between them.

    Parameters
    ----------
    recipe
        Arms, seeds, queries and factors.
    config
        Of the base model.
    volume
        Rows and tokens.
    machine
        What it will run on.
    """
    tracked = recipe.factors.modules, _adapters(recipe)
    shape, sizes = Shape.of(config), module_sizes(config, *tracked)
    factors = factor_bytes(config, *tracked)
    usable = USABLE * machine.memory_bytes
    replica, sharded = _held(recipe, shape, machine.devices)
    longest = _longest_row(recipe)
    recompute = sharded + shape.training_bytes(longest, recompute=False) > usable
    # From the device's whole memory, never from what is free or fast just now: the flow takes this number,
    # and a run that is resumed must cut its batches as before.
    fitting = (
        size
        for size in BATCHES
        if shape.pass_bytes(size) <= min(usable - max(replica, sharded), machine.pass_bytes)
        and shape.training_bytes(size, recompute) <= usable - sharded
    )
    batch = next(fitting, BATCHES[-1])
    forward = replica + shape.pass_bytes(batch)
    held = max(2 * factors.covariance, factors.basis + factors.eigenvalues) // machine.devices
    partitions = max(1, math.ceil(held / max(usable - forward, held / MOST_PARTITIONS)))
    peak = {
        "train": sharded + shape.training_bytes(max(batch, longest), recompute),
        "collect_queries": forward,
        "fit_eigenbasis": forward + 2 * factors.covariance // machine.devices // partitions,
        "fit_factors": forward + (factors.basis + factors.eigenvalues) // machine.devices // partitions,
        # Directions of all groups, and of one its gradient and what preconditioning makes of it.
        "score": forward + (_groups(recipe) + 2) * factors.query // machine.devices,
        "evaluate": forward,
    }
    run = _Run(recipe, shape, volume, batch, recompute)
    work = {
        "train": run.training(),
        "collect_queries": run.asking(),
        **run.fitting(sizes, partitions),
        "score": run.scoring(sizes),
        "evaluate": run.examining(),
    }
    artifacts = {"train": run.arms + bool(volume.base_tokens), "evaluate": run.arms + 1}
    stages = tuple(
        StagePlan(
            stage,
            int(peak[stage]),
            parts := partitions if stage.startswith("fit_") else 1,
            parts,
            round(work[stage].seconds(machine) + artifacts.get(stage, 1) * ARTIFACT_SECONDS, 1),
        )
        for stage in peak
    )
    if recipe.corpus.clean.verify is not None:
        stages = (_verifying(recipe, volume), *stages)
    return Plan(volume, machine, factors, stages, batch, recompute)


def _verifying(recipe: Recipe, volume: Volume) -> StagePlan:
    """Return the cost of judging the corpus's answers, on one core; code is judged by running it."""
    kinds = ["code" if source.domain == "code" else "math" for source in recipe.corpus.sources]
    each = sum(JUDGE_SECONDS[kind] for kind in kinds) / len(kinds)
    judged = volume.rows * (recipe.corpus.clean.verify or 0.0)
    return StagePlan("ingest", 0, 1, 1, round(judged * each, 1))


def _held(recipe: Recipe, shape: Shape, devices: int) -> tuple[int, int]:
    """Return the bytes of a whole model on a device, and of its share in training."""
    model = recipe.base.model
    is_bf16 = isinstance(model, PretrainedBase) and model.dtype == "bf16"
    trained = ADAM_BYTES if recipe.train.lora is None else FP32  # adapters are thousandths
    if devices == 1 and recipe.train.lora is None and recipe.train.precision == "bf16":
        trained += BF16  # autocast's copies
    return shape.weights * (BF16 if is_bf16 else FP32), shape.weights * trained // devices


def _longest_row(recipe: Recipe) -> int:
    base = recipe.base.train
    return max(recipe.train.max_tokens, base.max_tokens if base else 0)


def _adapters(recipe: Recipe) -> Prepare:
    """Return what puts a recipe's adapters into a model, if they are what its factors are of."""
    lora = recipe.train.lora
    if lora is None or not names_adapters(recipe.factors.modules):
        return lambda model: model
    return lambda model: adapt(model, lora, seed=0)


def _groups(recipe: Recipe) -> int:
    domains = len({recipe.benchmarks[task].domain for task in recipe.queries.tasks})
    return domains * (2 if recipe.queries.objective == "changed" else 1)  # questions gained, and lost


@dataclass(frozen=True)
class _Run:
    """The work of each stage."""

    recipe: Recipe
    shape: Shape
    volume: Volume
    batch: int
    recompute: bool

    @property
    def arms(self) -> int:
        return len({"keep_all", *self.recipe.mixtures}) * self.recipe.train.seeds

    @property
    def length(self) -> float:
        """Of a row, on average."""
        return self.volume.tokens / max(self.volume.rows, 1)

    def training(self) -> Work:
        given = self.recipe.train
        work = self._steps(self.volume.tokens * given.epochs * self.arms, given.batch_tokens)
        if (base := self.recipe.base.train) is not None:
            work += self._steps(self.volume.base_tokens * base.epochs, base.batch_tokens)
        return work

    def _steps(self, tokens: Amount, batch_tokens: int) -> Work:
        steps = tokens / batch_tokens
        passes = steps * math.ceil(batch_tokens / self.batch)
        return (
            self.shape.forward(tokens, self.length, passes) * (2 if self.recompute else 1)
            + self.shape.backward(tokens, self.length, passes, of_weights=True)
            + self.shape.update(steps)
        )

    def fitting(self, sizes: Sequence[ModuleSize], partitions: int) -> dict[str, Work]:
        volume = self.volume
        fitted = volume.tokens * min(
            1.0, (self.recipe.factors.sequences or volume.rows) / max(volume.rows, 1)
        )
        passing = self._through(fitted) * partitions
        squares = sum(size.d_out**2 + size.d_in**2 for size in sizes)
        cubes = sum(size.d_out**3 + size.d_in**3 for size in sizes)
        products = Work(2 * squares * fitted)
        return {"fit_eigenbasis": passing + products + Work(25 * cubes), "fit_factors": passing + products}

    def scoring(self, sizes: Sequence[ModuleSize]) -> Work:
        passing = self._through(self.volume.tokens)
        if self.recipe.scores.token_rule == "loss_term":
            # Forward mode: a value and a tangent, for each group anew.
            passes = self.volume.tokens / self.batch
            dual = self.shape.forward(self.volume.tokens, self.length, passes) * 3
            return dual * _groups(self.recipe)
        tracked = sum(size.d_out * size.d_in for size in sizes)
        return passing + Work(2 * tracked * self.volume.tokens * _groups(self.recipe))

    def _through(self, tokens: Amount) -> Work:
        """Forward, and back to the activations."""
        passes = math.ceil(tokens / self.batch)
        forward = self.shape.forward(tokens, self.length, passes)
        return forward + self.shape.backward(tokens, self.length, passes, of_weights=False)

    def asking(self) -> Work:
        given = self.recipe.queries
        if given.objective == "reference":
            return Work()
        return self._answers(given) * (2 if given.objective == "changed" else 1)

    def examining(self) -> Work:
        return self._answers(self.recipe.evaluate) * (self.arms + 1)

    def _answers(self, given: AskParams) -> Work:
        """Answers to all questions, none of which ends early."""
        new_tokens = given.max_new_tokens
        length = new_tokens + self.length / 2  # a question is about half of a row
        rows = max(1, int(BATCH_TOKENS / length))
        answers = self.volume.questions * given.draws
        batches = max(len(given.tasks), math.ceil(answers / rows))
        return self.shape.decode(answers * new_tokens, length / 2, batches * new_tokens)
