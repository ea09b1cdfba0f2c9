"""How questions are asked, and the exam."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from infra_core.recipe.params import Count, Fraction, Name, Params

Temperature = Annotated[float, Field(ge=0)]


class DrawParams(Params):
    """How answers are drawn."""

    draws: Count = 1
    temperature: Temperature = 0.0
    top_p: Fraction = 1.0
    max_new_tokens: Count = 256
    backend: Literal["hf", "vllm"] = "hf"  # what generates


class AskParams(DrawParams):
    """Which benchmarks are asked, and how answers are drawn."""

    tasks: Annotated[tuple[Name, ...], Field(min_length=1)]
    questions: Count | None = None  # per task; by default all that are there for this use
    seed: int = 0


class EvaluateParams(AskParams):
    """The exam."""

    pass_at: tuple[Count, ...] = ()  # the k of each pass@k that is reported; all draws by default
    likelihood: bool = True  # also the NLL of reference responses, where a benchmark has them

    @model_validator(mode="after")
    def _enough_draws(self) -> "EvaluateParams":
        beyond = [k for k in self.pass_at if k > self.draws]
        if beyond:
            raise ValueError(
                f"pass_at asks for pass@{beyond[0]} and there are {self.draws} draws a question; "
                f"raise draws to {max(beyond)} or lower pass_at"
            )
        return self
