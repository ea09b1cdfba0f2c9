"""What to train on next: rules that turn a corpus, a reserve and what is known of both into a mixture."""

from infra_core.mixture.composition import composition
from infra_core.mixture.mix import mix

__all__ = ["composition", "mix"]
