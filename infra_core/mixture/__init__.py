"""What to train on next: rules that turn a corpus, a reserve and what is known of both into a mixture."""

from infra_core.mixture.composition import composition
from infra_core.mixture.decision import Decision, assemble, carry_out
from infra_core.mixture.evidence import NOTHING, Evidence, benefits, total_benefit
from infra_core.mixture.mix import decide, mix
from infra_core.mixture.pools import COLUMNS, Pools, open_pools

__all__ = [
    "COLUMNS",
    "NOTHING",
    "Decision",
    "Evidence",
    "Pools",
    "assemble",
    "benefits",
    "carry_out",
    "composition",
    "decide",
    "mix",
    "open_pools",
    "total_benefit",
]
