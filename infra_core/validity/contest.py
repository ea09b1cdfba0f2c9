"""What a method may look at when it scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from infra_core.corpus.example import TokenizedExample
from infra_core.influence import FactorParams, ScoreParams
from infra_core.lm.classes import PreTrainedModel
from infra_core.recipe import TrainParams


@dataclass(frozen=True, eq=False)
class Contest:
    """What methods may look at.

    Attributes
    ----------
    model
        Fine-tuned on the rows.
    base
        The same before that.
    examples, queries
        Rows of the corpus and queries, as tokens.
    texts, query_texts
        The same as texts, prompt and response.
    train
        How the model came from its base.
    factors, scores
        Of the recipe: labels, rows and damping of its own influence.
    refine_rows, refine_iterations
        How far queries are refined.
    batch_tokens
        Positions of one batch; how fast, not what.
    """

    model: PreTrainedModel
    base: PreTrainedModel
    examples: Sequence[TokenizedExample]
    queries: Sequence[TokenizedExample]
    texts: Sequence[str]
    query_texts: Sequence[str]
    train: TrainParams
    factors: FactorParams
    scores: ScoreParams
    refine_rows: int
    refine_iterations: int
    seed: int
    batch_tokens: int

    def alike(self, by_row: np.ndarray) -> np.ndarray:
        """Return a score that does not ask what the query is, as one for each query."""
        return np.repeat(np.asarray(by_row, dtype=float)[:, None], len(self.queries), axis=1)
