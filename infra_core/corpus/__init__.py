"""What a training example is: from a raw row to tokens and spans."""

from infra_core.corpus.example import Span, TokenizedExample

__all__ = ["Span", "TokenizedExample"]
