"""The exam."""

from typing import Annotated

from pydantic import Field

from infra_core.recipe.params import Count, Name, Params


class EvaluateParams(Params):
    """The exam."""

    tasks: Annotated[tuple[Name, ...], Field(min_length=1)]
    draws: Count = 1
    temperature: Annotated[float, Field(ge=0)] = 0.0
    max_new_tokens: Count = 256
    questions: Count | None = None
    likelihood: bool = True  # also the NLL of reference responses, where a benchmark has them
    seed: int = 0
