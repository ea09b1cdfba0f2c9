"""What passes over a model cost, counted from its shape: multiply-adds, numbers touched, operations started.

The first dominates wide models, the last narrow ones. Multiply-adds follow Kaplan et al. 2020
(arXiv:2001.08361), with attention and the output head counted as well. Numbers and operations were counted
on a Qwen2 model of transformers 5 by a dispatch mode of torch (a Llama differs by a twentieth); what
`Trainer` takes beside them was timed.
"""

import math
from dataclasses import astuple, dataclass
from typing import NamedTuple

import torch
from transformers import AutoModelForCausalLM, PretrainedConfig

from infra_core.lm.on_host import count_weights, layers_of

Amount = float | int
FP32 = 4
ACTIVATION_BYTES = 34  # per token, layer and hidden unit, kept for backward without checkpointing
INPUT_BYTES = 4  # of these, with checkpointing: what goes into each layer, in fp32
LOGIT_BYTES = 14  # per token and word of the vocabulary, in training: logits, their fp32, softmax, gradients
KEPT_HIDDEN, KEPT_MLP = 7, 4  # numbers a token, layer and unit, of a pass whose weights are frozen
WRITTEN_HIDDEN, WRITTEN_MLP = 4, 2  # the same while nothing is kept to go back
LOSS_BYTES = 12  # a token and word of it: logits, log-probabilities, gradients
READ = 0.5  # of an elementwise operation, which reads a number and writes one


class Counts(NamedTuple):
    """What one pass of a kind does."""

    hidden: int  # numbers written per position, layer and hidden unit
    mlp: int  # and MLP unit
    vocabulary: int  # per position and token of the vocabulary
    layer: int  # operations started a layer
    model: int  # and besides


FORWARD = Counts(hidden=18, mlp=2, vocabulary=1, layer=76, model=64)
BACKWARD = Counts(hidden=38, mlp=3, vocabulary=2, layer=147, model=35)
OPTIMISER_CALLS = 36  # a layer: clipping and a fused AdamW
TRAINER_CALLS = 700  # a step of Trainer takes as much longer than its passes; 8 ms where a call takes 12 µs
OPTIMISER_NUMBERS = 6  # a weight: gradient summed, measured, clipped; two moments and the weight written
GENERATION_CALLS = 10  # a token, beside the model's own


@dataclass(frozen=True)
class Machine:
    """One kind of device and how many of them."""

    memory_bytes: int
    devices: int
    flops: float  # a second and device, sustained in products of the model's own widths
    number_seconds: float  # of elementwise work, per number written
    call_seconds: float  # until an operation is under way, however small
    basis: str  # where these rates come from
    pass_bytes: float = math.inf  # of one pass; above them it is only slower
    host_bytes: float | None = None  # a second, copied between it and its host; None if it is its own host


@dataclass(frozen=True)
class Work:
    """An amount of work; amounts add up and can be repeated."""

    flops: Amount = 0
    numbers: Amount = 0
    calls: Amount = 0
    copied: Amount = 0  # bytes, between host and device

    def __add__(self, other: "Work") -> "Work":
        return Work(*(one + more for one, more in zip(astuple(self), astuple(other), strict=True)))

    def __mul__(self, times: Amount) -> "Work":
        return Work(*(one * times for one in astuple(self)))

    def seconds(self, machine: Machine) -> float:
        """Return how long it takes on all devices of a machine, the work divided between them."""
        computing = self.flops / machine.flops + self.numbers * machine.number_seconds
        copying = self.copied / machine.host_bytes if machine.host_bytes else 0.0
        return (computing + self.calls * machine.call_seconds + copying) / machine.devices


@dataclass(frozen=True)
class Shape:
    """What of a model's shape decides its cost.

    Attributes
    ----------
    multiplied
        Weights that every position is multiplied by: all but the input embeddings, the head in any case.
    layered
        Weights of all layers; the others are embeddings, head and the last norm.
    cached
        Numbers that a layer keeps of a token while an answer is written: its keys and values.
    """

    weights: int
    multiplied: int
    layers: int
    hidden: int
    mlp: int
    vocabulary: int
    layered: int
    cached: int

    @classmethod
    def of(cls, config: PretrainedConfig) -> "Shape":
        """Count on a model without weights."""
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        weights = count_weights(model)
        embeddings = model.get_input_embeddings().weight.numel()
        heads = config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // heads
        return cls(
            weights,
            multiplied=weights if config.tie_word_embeddings else weights - embeddings,
            layers=config.num_hidden_layers,
            hidden=config.hidden_size,
            mlp=config.intermediate_size,
            vocabulary=config.vocab_size,
            layered=count_weights(layers_of(model)),
            cached=2 * width * (getattr(config, "num_key_value_heads", None) or heads),
        )

    def pass_bytes(self, positions: int, number: int = FP32) -> int:
        """Return what a pass to the activations of frozen weights holds, of numbers so many bytes wide."""
        layer = KEPT_HIDDEN * self.hidden + KEPT_MLP * self.mlp
        return positions * (number * self.layers * layer + self.vocabulary * LOSS_BYTES)

    def layered_bytes(self, positions: int, number: int = FP32) -> int:
        """Return what such a pass holds layer by layer: inputs, and one layer's activations or logits."""
        layer = KEPT_HIDDEN * self.hidden + KEPT_MLP * self.mlp
        inputs = (self.layers + 2) * self.hidden  # what the last one gives has a gradient
        return positions * (number * inputs + max(number * layer, self.vocabulary * LOSS_BYTES))

    def forward_bytes(self, positions: int, number: int = FP32) -> int:
        """Return what a forward pass holds: one layer at a time, and logits."""
        layer = KEPT_HIDDEN * self.hidden + KEPT_MLP * self.mlp
        return positions * (number * layer + self.vocabulary * LOSS_BYTES)

    def answer_bytes(self, positions: int, number: int = FP32) -> int:
        """Return what generating holds: keys and values of all layers, and what one layer makes of them."""
        layer = WRITTEN_HIDDEN * self.hidden + WRITTEN_MLP * self.mlp
        return positions * number * (self.layers * self.cached + layer)

    def training_bytes(self, positions: int, recompute: bool) -> int:
        """Return what one pass of training holds: all activations, or inputs of layers and one layer's."""
        held = self.layers * INPUT_BYTES + ACTIVATION_BYTES if recompute else self.layers * ACTIVATION_BYTES
        return positions * (self.hidden * held + self.vocabulary * LOGIT_BYTES)

    def forward(self, positions: Amount, length: Amount, passes: Amount) -> Work:
        """Return the work of forward passes over rows that are `length` positions long on average."""
        return self._work(FORWARD, 2.0, positions, length, passes)

    def backward(self, positions: Amount, length: Amount, passes: Amount, *, of_weights: bool) -> Work:
        """Return the work of the backward passes, with or without gradients of all weights."""
        return self._work(BACKWARD, 4.0 if of_weights else 2.0, positions, length, passes)

    def update(self, steps: Amount) -> Work:
        """Return the work of optimiser steps, beside their passes."""
        calls = OPTIMISER_CALLS * self.layers + TRAINER_CALLS
        return Work(numbers=steps * OPTIMISER_NUMBERS * self.weights, calls=steps * calls)

    def decode(self, positions: Amount, length: Amount, passes: Amount) -> Work:
        """Return the work of generating; each pass reads all weights for one position a row."""
        loop = Work(numbers=passes * READ * self.weights, calls=passes * GENERATION_CALLS)
        return self.forward(positions, length, passes) + loop

    def _work(
        self, counts: Counts, per_weight: float, positions: Amount, length: Amount, passes: Amount
    ) -> Work:
        # Scores and mixing of values; going back, both have two gradients.
        attention = (4.0 if counts is FORWARD else 8.0) * self.layers * self.hidden * length
        units = self.layers * (counts.hidden * self.hidden + counts.mlp * self.mlp)
        return Work(
            positions * (per_weight * self.multiplied + attention),
            positions * (units + counts.vocabulary * self.vocabulary),
            passes * (counts.layer * self.layers + counts.model),
        )
