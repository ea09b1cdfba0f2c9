"""Which queries, which curvature, which scores."""

from typing import Annotated, Literal, TypeVar

from pydantic import Field

from infra_core.recipe.data import Source
from infra_core.recipe.evaluation import AskParams, Temperature
from infra_core.recipe.params import Count, Fraction, ModuleChoice, Params

Scores = TypeVar("Scores")


class QueryParams(AskParams):
    """Queries: what f is the mean log-likelihood of.

    The model's own right answers (``own_correct``, Kou et al. 2025), its answers to questions that training
    gained and lost (``changed``, Humane et al. 2025), or reference answers where it solves nothing.
    """

    objective: Literal["own_correct", "changed", "reference"]
    temperature: Temperature = 0.7


class FactorParams(Params):
    """Curvature of the loss in the tracked modules."""

    modules: ModuleChoice = "mlp"
    curvature: Literal["ekfac", "kfac", "diagonal", "identity"] = "ekfac"
    fisher: Literal["sampled", "empirical"] = "sampled"
    draws: Count | None = None  # of labels at each position, if sampled; one by default
    products: Literal["bf16"] | None = None  # round what is multiplied; none: fp32
    decomposition: Literal["fp32"] | None = None  # of covariances, in half the time; none: fp64
    widest: Count | None = None  # covariances that would be wider are cut into diagonal blocks; none: whole
    sequences: Count | None = None  # training rows to fit on; all by default
    after: Fraction | None = None  # share of its training that the model had; none: all; see `scored_after`
    seed: int = 0


class IndexParams(Params):
    """What an index keeps of every gradient."""

    coordinates: Count = 1024  # of each block of the model, a byte each
    level: Literal["example", "span"] = "example"
    products: Literal["bf16"] | None = None  # round what is multiplied; none: fp32


class ScoreParams(Params):
    """Influence of each example, span and token on each query group."""

    damping: Annotated[float, Field(gt=0)] = 0.1  # × the module's mean eigenvalue
    token_rule: Literal["position", "loss_term"]  # never defaulted: they differ per token
    spans: Literal["lines", "sentences"] | None = None
    products: Literal["bf16"] | None = None  # round what is multiplied; none: fp32
    energy: Fraction | None = None  # of many queries: the share that compressing them keeps; none: exact

    @property
    def other_rule(self) -> "ScoreParams":
        """The same under the token rule that this is not."""
        other = "loss_term" if self.token_rule == "position" else "position"
        return self.model_copy(update={"token_rule": other})

    def by_rule(self, own: Scores, other: Scores | None) -> dict[str, Scores]:
        """Return scores by token rule: those by these params first, and those by the other rule if any."""
        both = {self.token_rule: own, self.other_rule.token_rule: other}
        return {rule: scores for rule, scores in both.items() if scores is not None}


class QuestionParams(Params):
    """What `infra ask` asks an index: other queries, another damping, differences of groups."""

    sources: tuple[Source, ...] = ()  # whose responses are queries, a group each; none: the recipe's queries
    contrasts: tuple[tuple[str, str], ...] = ()  # groups: what helps the first more than the second
    damping: Annotated[float, Field(gt=0)] | None = None  # that of scores by default
    best: Count = 16  # of each group: so many most helpful and most harmful examples are told
    sample: Count = 64  # random examples, scored exactly to see how far the index is to be trusted


class DriftLimits(Params):
    """How far a corpus may be from the one that a model and its factors are of; see `influence.drift`."""

    rows: Fraction = 0.05  # of those that the model learnt from: that came or went
    curvature: Fraction = 0.05  # by which those that came move Λ


class RefitParams(DriftLimits):
    """Which earlier model scores a corpus that has changed, as long as that is near."""

    since: str  # the report of an earlier run: its address, or report/<key>
