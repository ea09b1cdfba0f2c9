"""How much work each stage of a run does, from its recipe, the model's shape and the volume of text."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from infra_core.evaluation.generation import BATCH_TOKENS
from infra_core.influence.plan import ModuleSize
from infra_core.planning.work import Amount, Shape, Work
from infra_core.recipe import AskParams, DrawParams, Recipe, ScoreParams

SPAN_TOKENS = 32  # of a line or a sentence, about


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
    reserve_rows: int = 0
    reserve_tokens: int = 0
    queries: int = 0  # at most: a question may have been answered wrongly


def query_groups(recipe: Recipe) -> int:
    """Count the groups of queries that influence will be on, at most."""
    domains = len({recipe.benchmarks[task].domain for task in recipe.queries.tasks})
    return domains * (2 if recipe.queries.objective == "changed" else 1)  # questions gained, and lost


@dataclass(frozen=True)
class StageWork:
    """The work of each stage."""

    recipe: Recipe
    shape: Shape
    volume: Volume
    batch: int
    recompute: bool
    copied: int = 0  # bytes of all layers, if they wait on the host

    @property
    def arms(self) -> int:
        """Trainings: arms × seeds."""
        return len({"keep_all", *self.recipe.mixtures}) * self.recipe.train.seeds

    @property
    def length(self) -> float:
        """Of a row, on average."""
        return self.volume.tokens / max(self.volume.rows, 1)

    def training(self) -> Work:
        """Return the work of all arms and seeds, and of the scratch base."""
        work = self.training_on(self.volume.tokens * self.arms)
        if (base := self.recipe.base.train) is not None:
            work += self._steps(self.volume.base_tokens * base.epochs, base.batch_tokens)
        return work

    def training_on(self, tokens: Amount) -> Work:
        """Return the work of training as the recipe trains, on rows of so many tokens."""
        given = self.recipe.train
        return self._steps(tokens * given.epochs, given.batch_tokens)

    def _steps(self, tokens: Amount, batch_tokens: int) -> Work:
        steps = tokens / batch_tokens
        passes = steps * math.ceil(batch_tokens / self.batch)
        return (
            self.shape.forward(tokens, self.length, passes) * (2 if self.recompute else 1)
            + self.shape.backward(tokens, self.length, passes, of_weights=True)
            + self.shape.update(steps)
        )

    @property
    def fitted_tokens(self) -> float:
        """Of the rows that factors are fitted on."""
        rows = max(self.volume.rows, 1)
        return self.volume.tokens * min(1.0, (self.recipe.factors.sequences or rows) / rows)

    @property
    def scored_tokens(self) -> int:
        """Of the corpus, and of whatever else mixture rules ask scores of."""
        return self.volume.tokens + self._tokens("reserve_scores", "identity", "reserve_identity")

    @property
    def refits(self) -> int:
        """Variations that fit and score again; those of other modules are taken to be as large."""
        more = self.recipe.robustness
        return 0 if more is None else (more.modules is not None) + (more.train_seed is not None)

    def fitting(self, sizes: Sequence[ModuleSize], passes: Mapping[str, int]) -> dict[str, Work]:
        """Return the work of both fitting stages by name, given how often each goes through the model."""
        fitted = self.fitted_tokens
        squares = sum(size.d_out**2 + size.d_in**2 for size in sizes)
        cubes = sum(size.d_out**3 + size.d_in**3 for size in sizes)
        once, products = self.through(fitted), Work(2 * squares * fitted)
        work = {
            "fit_eigenbasis": once * passes["fit_eigenbasis"] + products + Work(25 * cubes),
            "fit_factors": once * passes["fit_factors"] + products,
        }
        fits = (1 + self.refits) * len(self.recipe.train.states)
        return {stage: each * fits for stage, each in work.items()}

    def scoring(self, sizes: Sequence[ModuleSize]) -> Work:
        """Return the work of all scores: of the corpus, and whatever else mixture rules decide by."""
        scores = self.recipe.scores
        work = self._scoring(self.scored_tokens, scores, sizes)
        if self.recipe.compare_rules:
            work += self._scoring(self.volume.tokens, scores.other_rule, sizes)
        work += self._scoring(self.volume.tokens, scores, sizes) * self.refits
        return work * len(self.recipe.train.states)

    def preparing(self) -> Work:
        """Return the work of a pass over the queries, whose gradients their directions are made of."""
        return self.through((self.volume.queries or self.volume.questions) * self.length)

    def _scoring(self, tokens: int, params: ScoreParams, sizes: Sequence[ModuleSize]) -> Work:
        if params.token_rule == "loss_term":
            # Forward mode: a value and a tangent, for each group anew.
            dual = self.shape.forward(tokens, self.length, tokens / self.batch) * 3
            moving = self._copying(tokens, times=2)  # weights, and the directions that they move along
            return (dual + moving) * query_groups(self.recipe)
        tracked = sum(size.d_out * size.d_in for size in sizes)
        return self.through(tokens) + Work(2 * tracked * tokens * query_groups(self.recipe))

    def indexing(self, sizes: Sequence[ModuleSize], passes: int) -> Work:
        """Return the work of an index of the corpus, if the recipe has one: rows are passed once a turn."""
        if self.recipe.index is None:
            return Work()
        tokens, squares = self.volume.tokens, sum(size.d_out**2 + size.d_in**2 for size in sizes)
        return self.through(tokens) * passes + Work(2 * squares * tokens)

    @property
    def indexed_rows(self) -> Amount:
        """Of an index: examples, or their spans."""
        spans = self.recipe.index is not None and self.recipe.index.level == "span"
        return self.volume.tokens / SPAN_TOKENS if spans else self.volume.rows

    def passing(self, kind: str) -> Work:
        """Return the work of one forward pass over what some rule wants to know this of."""
        tokens = self._tokens(kind, f"reserve_{kind}")
        if not tokens:
            return Work()
        forward = self.shape.forward(tokens, self.length, math.ceil(tokens / self.batch))
        return forward + self._copying(tokens, times=1)

    def _tokens(self, *kinds: str) -> int:
        """Sum the tokens of the pools that these kinds of evidence are asked of; perplexity always is."""
        wanted = {kind for arm in self.recipe.mixtures for kind in self.recipe.mixing(arm).evidence}
        wanted.add("perplexity")
        return sum(
            self.volume.reserve_tokens if kind.startswith("reserve_") else self.volume.tokens
            for kind in wanted.intersection(kinds)
        )

    def trying(self) -> Work:
        """Return the work of the model's own attempts at the problems of corpus, reserve and exam."""
        how, volume = self.recipe.difficulty.tried, self.volume
        if how is None:
            return Work()
        return self._drawn(how, volume.rows + volume.reserve_rows + volume.questions)

    def through(self, tokens: Amount) -> Work:
        """Return the work of going forward, and back to the activations; layer by layer, forward twice."""
        passes = math.ceil(tokens / self.batch)
        forward = self.shape.forward(tokens, self.length, passes) * (2 if self.copied else 1)
        back = self.shape.backward(tokens, self.length, passes, of_weights=False)
        return forward + back + self._copying(tokens, times=2)

    def _copying(self, tokens: Amount, times: int) -> Work:
        """Return the work of copying all layers to the device, so often a pass, if they are not there."""
        return Work(copied=math.ceil(tokens / self.batch) * times * self.copied)

    def asking(self) -> Work:
        """Return the work of the queries' answers."""
        given = self.recipe.queries
        if given.objective == "reference":
            return Work()
        return self._answers(given) * (2 if given.objective == "changed" else 1)

    def examining(self) -> Work:
        """Return the work of all arms' exams, and the base's."""
        return self._answers(self.recipe.evaluate) * (self.arms + 1)

    def _answers(self, given: AskParams) -> Work:
        return self._drawn(given, self.volume.questions, calls=len(given.tasks))

    def _drawn(self, given: DrawParams, questions: int, calls: int = 1) -> Work:
        """Answers to questions, none of which ends early."""
        new_tokens = given.max_new_tokens
        length = new_tokens + self.length / 2  # a question is about half of a row
        rows = max(1, int(BATCH_TOKENS / length))
        answers = questions * given.draws
        batches = max(calls, math.ceil(answers / rows))
        return self.shape.decode(answers * new_tokens, length / 2, batches * new_tokens)
