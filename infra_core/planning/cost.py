"""FLOPs, bytes and seconds of every stage, from shapes and volumes. Arithmetic only: nothing is read or run.

Counts are of multiply-adds times two. Per token, with P weights outside the embeddings: forward 2P; backward
of activations 2P; backward of weights 2P. Sources of the terms: Kaplan et al. 2020 (arXiv:2001.08361) for
the model, the matrix shapes themselves for the rest.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from transformers import AutoModelForCausalLM, PretrainedConfig

from infra_core.influence.plan import FactorBytes, ModuleSize, factor_bytes, module_sizes
from infra_core.recipe import PretrainedBase, Recipe

FP32, BF16 = 4, 2
ADAM_BYTES = 16  # per weight: fp32 master, gradient, two moments
ACTIVATION_BYTES = 34  # per token, layer and hidden unit, kept for backward without checkpointing
DECODE_SLOWDOWN = 8  # generation moves weights rather than multiplies them
BATCHES = (16_384, 8192, 4096, 2048, 1024)  # positions in one pass that are tried, the largest first
MOST_PARTITIONS = 64
USABLE = 0.85  # of a device's memory


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
class Machine:
    """One kind of device and how many of them."""

    memory_bytes: int
    devices: int
    flops: float  # a second and device, sustained
    basis: str  # where `flops` comes from


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
    shape, sizes = _Shape.of(config), module_sizes(config, recipe.factors.modules)
    factors = factor_bytes(config, recipe.factors.modules)
    usable = USABLE * machine.memory_bytes
    replica = shape.weights * (BF16 if _is_bf16(recipe) else FP32)
    sharded = shape.weights * ADAM_BYTES // machine.devices
    batch = next(
        (size for size in BATCHES if max(replica, sharded) + shape.pass_bytes(size) <= usable), BATCHES[-1]
    )
    forward = replica + shape.pass_bytes(batch)
    held = max(2 * factors.covariance, factors.basis + factors.eigenvalues) // machine.devices
    partitions = max(1, math.ceil(held / max(usable - forward, held / MOST_PARTITIONS)))
    flops = _flops(recipe, shape, sizes, volume, partitions)
    peak = {
        "train": sharded + shape.pass_bytes(batch),
        "collect_queries": forward,
        "fit_eigenbasis": forward + 2 * factors.covariance // machine.devices // partitions,
        "fit_factors": forward + (factors.basis + factors.eigenvalues) // machine.devices // partitions,
        "score": forward + 2 * len(recipe.queries.tasks) * factors.query // machine.devices,
        "evaluate": forward,
    }
    stages = tuple(
        StagePlan(
            stage,
            int(peak[stage]),
            parts := partitions if stage.startswith("fit_") else 1,
            parts,
            round(flops[stage] / machine.flops / machine.devices, 1),
        )
        for stage in peak
    )
    return Plan(volume, machine, factors, stages, batch)


def _flops(
    recipe: Recipe, shape: "_Shape", sizes: Sequence[ModuleSize], volume: Volume, partitions: int
) -> dict[str, float]:
    arms = len({"keep_all", *recipe.mixtures}) * recipe.train.seeds
    trained = volume.tokens * recipe.train.epochs * arms
    if recipe.base.train is not None:
        trained += volume.base_tokens * recipe.base.train.epochs
    fitted = volume.tokens * min(1.0, (recipe.factors.sequences or volume.rows) / max(volume.rows, 1))
    tracked = sum(size.d_out * size.d_in for size in sizes)
    per_query = 6 * shape.body if recipe.scores.token_rule == "loss_term" else 2 * tracked
    asked = 0 if recipe.queries.objective == "reference" else recipe.queries.draws
    drawn = asked * volume.questions * recipe.queries.max_new_tokens
    examined = (arms + 1) * recipe.evaluate.draws * volume.questions * recipe.evaluate.max_new_tokens
    decode = 2 * shape.body * DECODE_SLOWDOWN
    backward = 4 * shape.body * fitted * partitions
    return {
        "train": 6 * shape.body * trained,
        "collect_queries": decode * drawn,
        "fit_eigenbasis": backward
        + sum(2 * (size.d_out**2 + size.d_in**2) for size in sizes) * fitted
        + sum(25 * (size.d_out**3 + size.d_in**3) for size in sizes),
        "fit_factors": backward + sum(2 * (size.d_out**2 + size.d_in**2) for size in sizes) * fitted,
        "score": volume.tokens * (4 * shape.body + per_query * 2 * len(recipe.queries.tasks)),
        "evaluate": decode * examined,
    }


def _is_bf16(recipe: Recipe) -> bool:
    model = recipe.base.model
    return isinstance(model, PretrainedBase) and model.dtype == "bf16"


@dataclass(frozen=True)
class _Shape:
    weights: int  # all
    body: int  # without embeddings: what every token is multiplied by
    layers: int
    hidden: int
    vocabulary: int

    @classmethod
    def of(cls, config: PretrainedConfig) -> "_Shape":
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        weights = sum(parameter.numel() for parameter in model.parameters())
        body = weights - model.get_input_embeddings().weight.numel()
        return cls(weights, body, config.num_hidden_layers, config.hidden_size, config.vocab_size)

    def pass_bytes(self, positions: int) -> int:
        """Return what one forward and backward pass over so many positions holds."""
        activations = self.layers * self.hidden * ACTIVATION_BYTES
        return positions * (activations + self.vocabulary * FP32)
