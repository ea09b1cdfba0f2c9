"""Influence of training examples, their spans and tokens, on what a model can do. Touches no file."""

from infra_core.influence.agreement import agreement, correlated
from infra_core.influence.attribute import attribute, score_examples
from infra_core.influence.compress import Compressed, compress_queries
from infra_core.influence.covariance import Eigenbasis, fit_eigenbasis
from infra_core.influence.eigenvalues import fit_factors
from infra_core.influence.factors import (
    DiagonalFactors,
    Factors,
    IdentityFactors,
    ModuleFactors,
    precondition,
)
from infra_core.influence.index import IndexBlock, index_examples, index_layout
from infra_core.influence.kept import KeptPasses
from infra_core.influence.plan import in_partitions
from infra_core.influence.query import Preconditioned, precondition_queries
from infra_core.influence.refine import Refinement, refine_queries
from infra_core.influence.scores import mean_scores
from infra_core.influence.search import (
    IndexedQueries,
    beside,
    by_example,
    index_queries,
    leading,
    overlap,
    search,
)
from infra_core.influence.self_influence import self_influence
from infra_core.influence.tensors import (
    bases_from_tensors,
    block_from_tensors,
    block_to_tensors,
    factors_from_tensors,
    to_tensors,
)
from infra_core.influence.tracking import by_layer
from infra_core.recipe import FactorParams, IndexParams, ScoreParams

__all__ = [
    "Compressed",
    "DiagonalFactors",
    "Eigenbasis",
    "FactorParams",
    "Factors",
    "IdentityFactors",
    "IndexBlock",
    "IndexParams",
    "IndexedQueries",
    "KeptPasses",
    "ModuleFactors",
    "Preconditioned",
    "Refinement",
    "ScoreParams",
    "agreement",
    "attribute",
    "bases_from_tensors",
    "beside",
    "block_from_tensors",
    "block_to_tensors",
    "by_example",
    "by_layer",
    "compress_queries",
    "correlated",
    "factors_from_tensors",
    "fit_eigenbasis",
    "fit_factors",
    "in_partitions",
    "index_examples",
    "index_layout",
    "index_queries",
    "leading",
    "mean_scores",
    "overlap",
    "precondition",
    "precondition_queries",
    "refine_queries",
    "score_examples",
    "search",
    "self_influence",
    "to_tensors",
]
