"""`TokenizedExample` and `Span`: an example as the model sees it. Values; never stored."""

import hashlib
from dataclasses import dataclass

from jaxtyping import Bool, Int64
from torch import Tensor

from infra_core.errors import AlignmentError


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens `start` (inclusive) to `stop` (exclusive) of an example, and what they are."""

    start: int
    stop: int
    kind: str


@dataclass(frozen=True, slots=True, eq=False)
class TokenizedExample:
    """One row as token ids, with the tokens that are training targets and the spans that tile it.

    Attributes
    ----------
    ids
        Token ids.
    scored
        Whether token t is a training target. Entry 0 is never: nothing predicts it.
    spans
        Half-open, in order, tiling 0..T; span 0 is the prompt. Empty: one span over everything.
    example_id
        Of its row; by default a hash of ids and mask.
    weight
        How often its loss counts in training; influence is that of one row, whatever its weight.

    Raises
    ------
    AlignmentError
        If the mask is not as long as the ids, token 0 is scored, or the spans do not tile the tokens.
    """

    ids: Int64[Tensor, " T"]
    scored: Bool[Tensor, " T"]
    spans: tuple[Span, ...] = ()
    example_id: str | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Check the alignment once, so that nothing downstream has to.

        Raises
        ------
        AlignmentError
            As the class says.
        """
        length = len(self.ids)
        if len(self.scored) != length:
            raise AlignmentError(f"{len(self.scored)} mask entries for {length} tokens; give one a token")
        if length and bool(self.scored[0]):
            raise AlignmentError("token 0 is marked as scored, but no position predicts it; unmark it")
        if not self.spans:
            object.__setattr__(self, "spans", (Span(0, length, "all"),))
        edges = [0, *(span.stop for span in self.spans)]
        if edges[-1] != length or any(
            span.start != edge for span, edge in zip(self.spans, edges, strict=False)
        ):
            raise AlignmentError(
                f"spans {self.spans} do not tile 0..{length}; each must start where the last ended"
            )
        if self.example_id is None:
            content = self.ids.numpy().tobytes() + self.scored.numpy().tobytes()
            object.__setattr__(self, "example_id", hashlib.sha256(content).hexdigest()[:16])

    def __len__(self) -> int:
        """Count tokens."""
        return len(self.ids)
