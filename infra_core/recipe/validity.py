"""What is retrained to see whether scores are true, and which scores are judged by it."""

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from infra_core.recipe.mixture import Behaviour, Label, TokenClass
from infra_core.recipe.params import Count, Fraction, ModuleChoice, Name, Params

Design = Literal["random", "domain", "source", "band", "influence"]
"""What the subsets of a design differ by: chance alone, or also their share of each domain, source, …"""

DESIGNS: tuple[Design, ...] = get_args(Design)

Method = Literal[
    "ekfac_mlp",
    "ekfac_all",
    "ekfac_refined",
    "kfac",
    "identity",
    "tracin",
    "less",
    "gradient_cosine",
    "gradient_norm",
    "rds",
    "bm25",
    "loss_top",
    "loss_mid",
    "length",
    "random",
]
"""What gives a row a score for a query: influence, and the cheaper rivals that it has to beat."""

METHODS: tuple[Method, ...] = get_args(Method)

Seed = Annotated[int, Field(ge=0)]
"""Number of one of several trainings on the same rows."""


class Variant(Params):
    """Influence that differs from the recipe's own in what is given here; for sweeps.

    Where several models score, a row's score is the mean of theirs.
    """

    modules: ModuleChoice | None = None
    curvature: Literal["ekfac", "kfac", "diagonal", "identity"] | None = None
    fisher: Literal["sampled", "empirical"] | None = None
    draws: Count | None = None
    sequences: Count | None = None
    widest: Count | None = None
    damping: Annotated[float, Field(gt=0)] | None = None
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] | None = None  # trainings; 0 is the recipe's own
    after: Annotated[tuple[Fraction, ...], Field(min_length=1)] | None = None  # of training; by default all


def _usual() -> dict[Design, Count]:
    return {"random": 64}


class ValidityParams(Params):
    """How the scores of a recipe are put to the test: models retrained on subsets of its corpus.

    Outcomes are of the recipe's own queries. They are kept by subset, so that other scores are judged on them
    later without training anything.
    """

    subsets: Annotated[dict[Design, Count], Field(min_length=1)] = Field(default_factory=_usual)
    fraction: Annotated[float, Field(gt=0, lt=1)] = 0.5  # of the corpus rows that a subset has
    seeds: Annotated[int, Field(ge=2)] = 2  # trainings of each subset; two, or there is no noise ceiling
    methods: Annotated[tuple[Method, ...], Field(min_length=1)] = METHODS
    variants: dict[Name, Variant] | None = None  # more influence, judged as methods are
    refine_rows: Count = 64  # that queries are refined on, and how often
    refine_iterations: Count = 8
    left_out: tuple[Fraction, ...] = ()  # of the rows: the most helpful, the least helpful, or random ones
    ablated: Annotated[tuple[Label, ...], Field(min_length=1)] | None = None  # masked, one at a time
    ablation_seeds: Annotated[int, Field(ge=2)] | None = None  # trainings of each; by default as `seeds`
    planted: Fraction | None = None  # of the rows that are spoilt in each way, to be found again
    tail_patch: Count | None = None  # rows of each method that one more step is taken on, for each query

    @model_validator(mode="after")
    def _names_differ(self) -> "ValidityParams":
        if both := sorted({*METHODS} & {*(self.variants or {})}):
            raise ValueError(f"validity.variants names {both[0]!r}, which is a method; call yours otherwise")
        return self

    @model_validator(mode="after")
    def _labels_are_told_apart(self) -> "ValidityParams":
        labels = self.ablated or ()
        both = {*get_args(Behaviour)} & {*get_args(TokenClass)}
        if unsure := [label for label in labels if label in both]:
            raise ValueError(f"validity.ablated names {unsure[0]!r}: spans, or words? leave it out")
        if twice := [label for label in labels if labels.count(label) > 1]:
            raise ValueError(f"validity.ablated names {twice[0]!r} twice; name it once")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """All methods, variants of influence behind the others."""
        return (*self.methods, *(self.variants or {}))

    @property
    def asks_for_scores(self) -> bool:
        """Whether subsets are drawn by the influence that is put to the test."""
        return "influence" in self.subsets or bool(self.left_out)

    @property
    def ablation_trainings(self) -> int:
        """Of each mixture that lacks a label, and of each of their controls."""
        return self.ablation_seeds or self.seeds
