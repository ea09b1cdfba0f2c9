"""Where and how training runs. Nothing here changes a result by more than rounding."""

from dataclasses import dataclass
from typing import Literal

Sharding = Literal["ddp", "fsdp"]


@dataclass(frozen=True)
class Place:
    """One device or several.

    Attributes
    ----------
    device
        ``cpu`` or ``cuda``.
    processes
        How many share the work, each with a device of its own (on a CPU: with a share of its cores). The
        micro-batches of a step are dealt over them.
    sharding
        ``ddp``: each process holds the whole model. ``fsdp``: weights, gradients and moments are divided, and
        in bf16 what a layer hands to the next is bf16 as well.
    micro_batch_tokens
        Padded positions that go through the model at once, in each process. Bounds memory.
    apart
        Train in a process of its own even if it is one, so that others may train in this one meanwhile.
    recompute
        Keep only the inputs of layers on the way forward and compute the rest again on the way back. Takes a
        third more time and changes no bit.
    seconds
        Longest time that processes may take; in this one nothing watches the clock.
    """

    device: str = "cpu"
    processes: int = 1
    sharding: Sharding = "ddp"
    micro_batch_tokens: int = 16_384
    apart: bool = False
    recompute: bool = False
    seconds: float | None = None

    @property
    def is_sharded(self) -> bool:
        """Whether no process holds all weights."""
        return self.processes > 1 and self.sharding == "fsdp"


HERE = Place()
"""One CPU."""
