"""What annotations call a model, without loading it: `transformers` and `peft` take seconds to load models.

A run that reuses everything needs none of that. To a type checker these are the classes of these names; when
the program runs they are what both are made of.
"""

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel
else:
    PeftModel = PreTrainedModel = nn.Module

__all__ = ["PeftModel", "PreTrainedModel"]
