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
from infra_core.recipe import Recipe

FP32, BF16 = 4, 2
ADAM_BYTES = 16  # per weight: fp32 master, gradient, two moments
ACTIVATION_BYTES = 34  # per token, layer and hidden unit, kept for backward without checkpointing
DECODE_SLOWDOWN = 8  # generation moves weights rather than multiplies them
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
            "rows": self.volume.rows,
            "tokens": self.volume.tokens,
            "assumed": list(self.volume.assumed),
            "basis": self.machine.basis,
        }


def plan(recipe: Recipe, config: PretrainedConfig, volume: Volume, machine: Machine, batch: int) -> Plan:
    """Return the plan of a recipe for a model of this config.

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
    batch
        Positions in one forward pass.
    """
    sizes = module_sizes(config, recipe.factors.modules)
    model = _Shape.of(config)
    groups = 2 * len(recipe.queries.tasks)
    arms = len({"keep_all", *recipe.mixtures}) * recipe.train.seeds
    fit_share = min(1.0, (recipe.factors.sequences or volume.rows) / max(volume.rows, 1))
    fit_tokens = volume.tokens * fit_share
    weights = model.weights * FP32
    activations = batch * model.layers * model.hidden * ACTIVATION_BYTES
    logits = batch * model.vocabulary * FP32
    work = weights // machine.devices + activations + logits
    factors = factor_bytes(config, recipe.factors.modules)
    room = max(USABLE * machine.memory_bytes - work, 1)
    partitions = max(1, math.ceil(2 * factors.covariance / machine.devices / room))
    held = 2 * factors.covariance // partitions // machine.devices
    lambda_held = (factors.basis + factors.eigenvalues) // partitions // machine.devices
    queried = groups * factors.query // machine.devices
    pass_flops = 4 * model.body * fit_tokens
    trained = volume.tokens * recipe.train.epochs * arms
    if recipe.base.train is not None:
        trained += volume.base_tokens * recipe.base.train.epochs
    per_query = 6 * model.body if recipe.scores.token_rule == "loss_term" else 2 * _tracked(sizes)
    scored = volume.tokens * (4 * model.body + per_query * groups)
    drawn = recipe.queries.draws * volume.questions * recipe.queries.max_new_tokens
    exam = (arms + 1) * recipe.evaluate.draws * volume.questions * recipe.evaluate.max_new_tokens
    decode = 2 * model.body * DECODE_SLOWDOWN
    train_bytes = model.weights * ADAM_BYTES // machine.devices + activations + logits

    def one(stage: str, peak: float, flops: float, parts: int = 1) -> StagePlan:
        seconds = flops / machine.flops / machine.devices
        return StagePlan(stage, int(peak), parts, parts, round(seconds, 1))

    covariance = sum(2 * (size.d_out**2 + size.d_in**2) for size in sizes) * fit_tokens
    eigh = sum(25 * (size.d_out**3 + size.d_in**3) for size in sizes)
    rotate = sum(2 * size.d_out * size.d_in * 2 for size in sizes) * fit_tokens
    return Plan(
        volume,
        machine,
        factors,
        (
            one("train", train_bytes, 6 * model.body * trained),
            one("collect_queries", work, decode * drawn),
            one("fit_eigenbasis", work + held, partitions * pass_flops + covariance + eigh, partitions),
            one("fit_factors", work + lambda_held, partitions * pass_flops + rotate, partitions),
            one("score", work + queried, scored),
            one("evaluate", work, decode * exam),
        ),
    )


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


def _tracked(sizes: Sequence[ModuleSize]) -> int:
    return sum(size.d_out * size.d_in for size in sizes)
