"""Mixture rules: what leaves the corpus and what comes in."""

from typing import Annotated, Literal

from pydantic import Field

from infra_core.recipe.params import Fraction, Name, Params

Band = Literal["easy", "medium", "hard"]
PAPER_DIRECTIONS: dict[str, tuple[Band, Band]] = {"math": ("easy", "hard"), "code": ("hard", "easy")}


class KeepAll(Params):
    """The corpus as it is, without what the screen dropped."""

    kind: Literal["keep_all"]


class Flip(Params):
    """Easy maths → harder maths, hard code → easier code (Kou et al. 2025, arXiv:2505.19949).

    `directions` says per domain which band leaves and which comes in from the reserve.
    """

    kind: Literal["flip"]
    match: Literal["rows", "tokens"]
    directions: dict[Name, tuple[Band, Band]] = Field(default_factory=lambda: dict(PAPER_DIRECTIONS))
    fraction: Fraction = 1.0  # of the leaving cell


class RandomSwap(Params):
    """The control of a flip: as many tokens leave and come in, whatever their difficulty."""

    kind: Literal["random"]
    match: Literal["rows", "tokens"]
    like: Name | None = None  # the flip arm whose size it copies; the recipe's only flip by default


MixtureRule = Annotated[KeepAll | Flip | RandomSwap, Field(discriminator="kind")]


class MixParams(Params):
    """A mixture rule and the seed of its ties and draws."""

    rule: MixtureRule
    size_of: Flip | None = None  # the flip whose size a random control copies
    seed: int
