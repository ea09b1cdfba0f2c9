"""What each stage holds on a device at its fullest, and how many turns over the layers it takes for that."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

from infra_core.evaluation.generation import BATCH_TOKENS
from infra_core.influence.plan import FITTING, ModuleSize, need_of, partitions
from infra_core.influence.tracking import by_layer
from infra_core.planning.work import FP32, Shape
from infra_core.recipe import PretrainedBase, Recipe

BF16 = 2
ADAM_BYTES = 12  # per weight: gradient, two moments


@dataclass(frozen=True)
class StageBytes:
    """Bytes on one device, by what they are.

    Attributes
    ----------
    weights
        Of the model: all, or its share in training.
    optimiser
        Gradients and moments.
    activations
        Of one pass, logits included.
    covariances, eigenbases, eigenvalues
        A and G; Q_A and Q_G; Λ: of the layers that are taken at a time.
    queries
        Gradients and directions of query groups.
    workspace
        What the largest block takes for a moment.
    """

    weights: int = 0
    optimiser: int = 0
    activations: int = 0
    covariances: int = 0
    eigenbases: int = 0
    eigenvalues: int = 0
    queries: int = 0
    workspace: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return sum(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True)
class Memory:
    """How a recipe's model lies on devices of one kind.

    Fitting and scoring hold the whole model on a device, or leave its layers on the host; training may divide
    it. Fitting takes at least as many turns as there are devices, which share them.

    Attributes
    ----------
    groups
        Of queries.
    usable
        Bytes of a device that may be taken.
    on_host
        Whether passes find the weights of layers on the host (`infra_core.lm.on_host`).
    """

    recipe: Recipe
    shape: Shape
    sizes: Sequence[ModuleSize]
    groups: int
    devices: int
    usable: int
    on_host: bool = False

    @property
    def weight_bytes(self) -> int:
        """Of one number of the model, where it is not trained."""
        model = self.recipe.base.model
        return BF16 if isinstance(model, PretrainedBase) and model.dtype == "bf16" else FP32

    @property
    def model(self) -> int:
        """Bytes of the whole model."""
        return self.shape.weights * self.weight_bytes

    @property
    def passed(self) -> int:
        """Bytes of the model on a device that passes it: all of it, or two layers and what is in none.

        The weights of one layer are there at a time; the other is room for layers that are not alike.
        """
        outside, layer = self.model - self.layered, self.layered // self.shape.layers
        return outside + 2 * layer if self.on_host else self.model

    @property
    def layered(self) -> int:
        """Bytes of all layers."""
        return self.shape.layered * self.weight_bytes

    @property
    def longest_row(self) -> int:
        """Of any training, in tokens."""
        base = self.recipe.base.train
        return max(self.recipe.train.max_tokens, base.max_tokens if base else 0)

    def trained(self) -> StageBytes:
        """Return a device's share of what training holds beside a pass."""
        train, weight = self.recipe.train, FP32
        if self.devices == 1 and train.lora is None and train.precision == "bf16":
            weight += BF16  # autocast's copies
        moments = ADAM_BYTES if train.lora is None else 0  # adapters are thousandths
        return StageBytes(
            weights=self.shape.weights * weight // self.devices,
            optimiser=self.shape.weights * moments // self.devices,
        )

    def recomputes(self) -> bool:
        """Whether training must compute activations again: its longest row would not fit without."""
        held = self.trained().total + self.shape.training_bytes(self.longest_row, recompute=False)
        return held > self.usable

    def has_room(self, batch: int) -> bool:
        """Whether passes over so many positions leave room for training, and for a layer of every stage."""
        return self.of("train", batch).total <= self.usable and self.has_room_to_pass(batch)

    def has_room_to_pass(self, batch: int) -> bool:
        """Whether they do for influence alone, which need not be made where training is."""
        return all(self.of(stage, batch).total <= self.usable for stage in TURNS)

    def room(self, batch: int) -> int:
        """Return what is left for factors and queries beside the model and a pass."""
        return max(0, self.usable - self.passed - self.passing(batch))

    def passing(self, batch: int) -> int:
        """Return what a pass holds: of a batch, or of the longest row, which goes layer by layer."""
        longest = min(self.longest_row, self.longest_passed)
        if self.on_host:  # where all goes layer by layer
            return self.shape.layered_bytes(max(batch, longest), self.weight_bytes)
        whole = self.shape.pass_bytes(batch, self.weight_bytes)
        return whole if longest <= batch else max(whole, self.shape.layered_bytes(longest, self.weight_bytes))

    @cached_property
    def longest_passed(self) -> int:
        """The longest row, in tokens, that has room beside the model and what scores take at the least."""
        layers = [list(each.values()) for each in by_layer({size.name: size for size in self.sizes}).values()]
        least = max(*map(need_of("score", self.groups).of, layers), self._scoring(layers))
        left = max(0, self.usable - self.passed - least)
        return left // self.shape.layered_bytes(1, self.weight_bytes)

    def turns(self, stage: str, batch: int) -> list[list[ModuleSize]]:
        """Return the blocks that a stage takes at a time on a device, for all devices."""
        least = self.devices if stage in FITTING else 1
        need = need_of(stage, self.groups, self.passing(batch))
        return partitions(self.sizes, need, self.room(batch), least)

    def of(self, stage: str, batch: int) -> StageBytes:
        """Return what a stage holds at its fullest."""
        if stage == "index":  # the same factors, and gradients of single rows beside them
            return self.of("fit_factors", batch)
        if stage == "train":
            trained, longest = self.trained(), max(batch, self.longest_row)
            activations = self.shape.training_bytes(longest, self.recomputes())
            return StageBytes(trained.weights, trained.optimiser, activations)
        if stage in FORWARD:
            return StageBytes(self.passed, activations=self.shape.forward_bytes(batch, self.weight_bytes))
        if stage not in TURNS:
            if stage == "collect_queries" and self.recipe.queries.objective == "reference":
                return StageBytes()  # no model is asked
            written = self.shape.answer_bytes(BATCH_TOKENS, self.weight_bytes)  # whatever a pass may hold
            return StageBytes(self.model, activations=written)
        held = StageBytes(self.passed, activations=self.passing(batch))
        turns, need = self.turns(stage, batch), need_of(stage, self.groups)
        return max(self._moments(stage, held, turns, max(turns, key=need.of)), key=lambda each: each.total)

    def _moments(
        self,
        stage: str,
        held: StageBytes,
        turns: Sequence[Sequence[ModuleSize]],
        largest: Sequence[ModuleSize],
    ) -> list[StageBytes]:
        """Return what is held at the moments of a stage that may be its fullest, in its largest turn."""
        sides = sum(size.covariance_bytes for size in largest)
        weights = sum(size.weight_bytes for size in largest)
        after = replace(held, activations=0, workspace=max(map(need_of(stage).workspace, largest)))
        match stage:
            case "fit_eigenbasis":  # decomposed when the rows are through
                return [replace(each, covariances=sides) for each in (held, after)]
            case "fit_factors":
                passing = replace(after, activations=held.activations)
                return [replace(passing, eigenbases=sides, eigenvalues=weights)]
        factors = {"eigenbases": sides, "eigenvalues": weights}
        return [
            replace(held, **factors, queries=self.groups * weights),  # the last group's gradients are summed
            replace(after, **factors, queries=(1 + self.groups) * weights),  # and become its directions
            replace(held, queries=self._scoring(turns)),
        ]

    def _scoring(self, turns: Sequence[Sequence[ModuleSize]]) -> int:
        """Return what directions take while examples are scored: one block's, if they wait on disk."""
        each = [size.weight_bytes for turn in turns for size in turn]
        directions = self.groups * (sum(each) if len(turns) == 1 else max(each))
        if self.recipe.scores.token_rule != "loss_term":
            return directions
        moving = sum(each) * self.weight_bytes // FP32  # along one group's direction, in all weights
        return directions + (2 * moving // self.shape.layers if self.on_host else moving)


TURNS = ("fit_eigenbasis", "fit_factors", "score", "index")
"""Stages that take some layers at a time where not all fit."""

FORWARD = ("perplexity", "nearness")
"""Stages that pass rows through the model and do not go back."""
