"""How much work it is to put scores to the test: models retrained on subsets, and methods that score."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from infra_core.influence.plan import need_of
from infra_core.planning.memory import TURNS, Memory, StageBytes
from infra_core.planning.stages import StageWork
from infra_core.planning.traffic import Traffic
from infra_core.planning.work import OPTIMISER_NUMBERS, Amount, Work
from infra_core.recipe import ValidityParams
from infra_core.validity.curves import SIDES
from infra_core.validity.pairwise import directions_at_once
from infra_core.validity.trajectory import AFTER

PASSES_A_PRODUCT = 3  # with curvature: forward, forward with a tangent, and back
SCORE_BYTES, OUTCOME_BYTES = 8, 60  # of a row on a query; of a query under a retrained model

RETRAIN, RIVALS, PATCH = "retrain", "rivals", "tail_patch"
TWICE = TURNS  # where rows are planted: they are fitted on and scored as the corpus is


@dataclass(frozen=True)
class Validation:
    """What `infra validate` does beside attribution.

    Attributes
    ----------
    run
        The rest of the run, that counts passes and steps.
    asked
        Subsets and methods. Each method is taken to be of the modules that the recipe's own scores are of.
    memory
        Where models lie.
    """

    run: StageWork
    asked: ValidityParams
    memory: Memory

    @property
    def retrainings(self) -> int:
        """Models that are trained on subsets, or on mixtures that lack a label."""
        curves = (len(SIDES) + 1) * len(self.asked.left_out)  # and as many without random rows
        return self.asked.seeds * (sum(self.asked.subsets.values()) + curves) + self.ablations

    @property
    def ablations(self) -> int:
        """Models that are trained on all rows, without a label or without as much else."""
        return 2 * len(self.asked.ablated or ()) * self.asked.ablation_trainings

    @property
    def worlds(self) -> int:
        """Corpora that are scored by all methods: the recipe's, and the one with planted rows."""
        return 1 + (self.asked.planted is not None)

    @property
    def artifacts(self) -> dict[str, int]:
        """How often each of its own stages loads and saves a model."""
        return {RETRAIN: self.retrainings, RIVALS: self.worlds * len(self.asked.names), PATCH: 1}

    def beside(self, work: Mapping[str, Work]) -> dict[str, Work]:
        """Return the work of all stages of such a run, given that of curation; nobody takes its exam."""
        planted = self.worlds - 1
        found = {stage: amount * self.worlds if stage in TWICE else amount for stage, amount in work.items()}
        found["train"] += self.run.training_on(self.run.volume.tokens) * planted
        del found["evaluate"]
        return found | {RETRAIN: self.retraining(), RIVALS: self.scoring(), PATCH: self.patching()}

    def retraining(self) -> Work:
        """Return the work of training on all subsets, and of asking each model."""
        rows = self.asked.fraction * sum(self.asked.subsets.values())
        rows += (len(SIDES) + 1) * sum(1 - share for share in self.asked.left_out)
        tokens = self.run.volume.tokens * (rows * self.asked.seeds + self.ablations)
        asked = self._forward(self._queries * self.run.length)
        return self.run.training_on(tokens) + asked * self.retrainings

    def scoring(self) -> Work:
        """Return the work of all methods on all corpora."""
        alone = [self._method(name) for name in self.asked.methods]
        varied = [
            self._influence() * (len(each.after or (1,)) * len(each.seeds or (0,)))
            + self._trained_again() * len([seed for seed in each.seeds or (0,) if seed or each.after])
            for each in (self.asked.variants or {}).values()
        ]
        return sum([*alone, *varied], Work()) * self.worlds

    def patching(self) -> Work:
        """Return the work of one more step a query and method, at most: some choose alike for all queries."""
        if self.asked.tail_patch is None:
            return Work()
        shape, length, tokens = self.run.shape, self.run.length, self.asked.tail_patch * self.run.length
        step = shape.forward(tokens, length, 1) + shape.backward(tokens, length, 1, of_weights=True)
        moved = Work(numbers=OPTIMISER_NUMBERS * shape.weights)
        return (step + moved + self._forward(length)) * (self._queries * len(self.asked.names))

    def held(self, stage: str) -> StageBytes:
        """Return what a stage holds at its fullest; a method, directions of some queries and both models."""
        if stage != RIVALS:
            return self.memory.of("train", self.run.batch)
        sizes = self.memory.sizes
        each = sum(size.weight_bytes for size in sizes)
        return StageBytes(
            weights=2 * self.memory.model,  # also as it was before fine-tuning
            activations=self.memory.shape.pass_bytes(self.run.batch),
            eigenbases=sum(size.covariance_bytes for size in sizes),  # of all layers at once
            eigenvalues=each,
            queries=each * min(self._queries, directions_at_once(self.memory.model)),
            workspace=max(map(need_of("fit_factors").workspace, sizes)),
        )

    def traffic(self, stage: str) -> Traffic:
        """Return what a stage moves."""
        if stage == RETRAIN:
            return Traffic(self.memory.model, int(self.retrainings * self._queries * OUTCOME_BYTES))
        if stage == PATCH:
            return Traffic(self.memory.model)
        scores = len(self.asked.names) * self.run.volume.rows * self._queries * SCORE_BYTES
        return Traffic(2 * self.memory.model * self.worlds, int(scores * self.worlds))

    @property
    def _queries(self) -> int:
        return self.run.volume.queries

    @property
    def _tracked(self) -> int:
        return sum(size.d_out * size.d_in for size in self.memory.sizes)

    def _method(self, name: str) -> Work:
        run, queries = self.run, self._queries * self.run.length
        match name:
            case "bm25" | "length" | "random":
                return Work()
            case "loss_top" | "loss_mid":
                return self._forward(run.volume.tokens)
            case "rds":
                return self._forward(run.volume.tokens + queries)
            case "gradient_norm":
                return self._gradients(run.volume.tokens)
            case "identity" | "gradient_cosine":
                return self._along()
            case "tracin" | "less":
                return self._along() * len(AFTER) + self._trained_again()
            case "ekfac_refined":
                sample = min(self.asked.refine_rows, run.volume.rows) * run.length
                products = self._queries * (1 + self.asked.refine_iterations)
                return self._influence() + self._forward(sample) * (PASSES_A_PRODUCT * products)
        return self._influence()

    def _influence(self) -> Work:
        """Fit factors, and score all rows for all queries with them."""
        fitted = self.run.fitting(self.memory.sizes, {"fit_eigenbasis": 1, "fit_factors": 1})
        return sum(fitted.values(), self._along())

    def _along(self) -> Work:
        """Gradients of queries, then those of all rows, once for as many queries as are held at once."""
        times = math.ceil(self._queries / directions_at_once(self.memory.model))
        products = Work(2 * self._tracked * self._queries * self.run.volume.rows)
        asked = self._gradients(self._queries * self.run.length)
        return asked + self._gradients(self.run.volume.tokens) * times + products

    def _gradients(self, tokens: Amount) -> Work:
        return self.run.through(tokens) + Work(2 * self._tracked * tokens)

    def _trained_again(self) -> Work:
        return self.run.training_on(self.run.volume.tokens)

    def _forward(self, tokens: Amount) -> Work:
        return self.run.shape.forward(tokens, self.run.length, math.ceil(tokens / self.run.batch))
