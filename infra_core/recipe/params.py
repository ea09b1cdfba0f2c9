"""`Params`: the base of everything a recipe says, and the types its fields are made of."""

from typing import Annotated

from pydantic import BaseModel, Field

Fraction = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]
ModuleChoice = str  # "mlp" | "attention" | "all" | a regular expression over module names


class Params(BaseModel, frozen=True, extra="forbid"):
    """Base of every stage's parameters. `None` means "as before this field existed" and is not hashed."""
