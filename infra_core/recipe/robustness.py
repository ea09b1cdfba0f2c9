"""How else influence is taken, to see which findings of a report keep their sign."""

from typing import Literal

from pydantic import model_validator

from infra_core.recipe.params import Count, ModuleChoice, Params

Gradients = Literal["per_token", "unit_norm"]
"""Of the mean loss of a row in place of its sum, or of length one."""


class RobustnessParams(Params):
    """Variations on a recipe's own scores, each under one change alone."""

    modules: ModuleChoice | None = None  # score by these too
    train_seed: Count | None = None  # score by the model of this training seed too; the recipe's own is 0
    gradients: tuple[Gradients, ...] = ()

    @model_validator(mode="after")
    def _asks_for_something(self) -> "RobustnessParams":
        if self.modules is None and self.train_seed is None and not self.gradients:
            raise ValueError(
                "robustness names no variation; give modules, train_seed or gradients, or leave it out"
            )
        return self
