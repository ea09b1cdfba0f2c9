"""kronfluence given the very rows, mask, loss and damping that ours are: for benchmarks and parity test.

One adapter for both, so that what is timed is what is proven equal.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from kronfluence.analyzer import Analyzer, prepare_model
from kronfluence.arguments import FactorArguments, ScoreArguments
from kronfluence.factor.eigen import perform_eigendecomposition
from kronfluence.task import Task
from kronfluence.utils.constants import (
    ACTIVATION_COVARIANCE_MATRIX_NAME,
    GRADIENT_COVARIANCE_MATRIX_NAME,
    NUM_ACTIVATION_COVARIANCE_PROCESSED,
    NUM_GRADIENT_COVARIANCE_PROCESSED,
)
from kronfluence.utils.state import State
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from benchmarks.stopwatch import Stopwatch
from benchmarks.workloads import PEERS_BATCH_TOKENS
from infra_core.corpus.example import TokenizedExample
from infra_core.influence.covariance import Covariances

EKFAC = FactorArguments(strategy="ekfac", use_empirical_fisher=True)
DAMPING = ScoreArguments(damping_factor=None)  # None is 0.1 × the mean eigenvalue
NAME = "ekfac"


class Rows(Dataset):
    """Rows padded on the right to one length, as kronfluence wants them."""

    def __init__(self, examples: Sequence[TokenizedExample]) -> None:
        self.examples, self.length = examples, max(map(len, examples))

    def __len__(self) -> int:
        """Count rows."""
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return ids, labels (-100 where nothing is scored) and which positions are real."""
        example, extra = self.examples[index], self.length - len(self.examples[index])
        ids = torch.cat([example.ids, torch.zeros(extra, dtype=torch.int64)])
        labels = torch.where(example.scored, example.ids, -100)
        labels = torch.cat([labels, torch.full((extra,), -100)])
        real = torch.arange(self.length) < len(example)
        return {"ids": ids, "labels": labels, "real": real.long()}


class Language(Task):
    """Summed NLL over scored tokens, both as training loss and as measurement."""

    def __init__(self, modules: Sequence[str]) -> None:
        super().__init__()
        self.modules = list(modules)

    def compute_train_loss(self, batch: dict[str, Tensor], model: nn.Module, sample: bool = False) -> Tensor:
        """Return the batch's summed NLL.

        Raises
        ------
        NotImplementedError
            If labels are to be sampled: only the empirical Fisher is compared.
        """
        if sample:
            raise NotImplementedError("only the empirical Fisher is compared")
        logits = model(input_ids=batch["ids"], attention_mask=batch["real"]).logits[:, :-1]
        labels = batch["labels"][:, 1:]
        return torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="sum"
        )

    def compute_measurement(self, batch: dict[str, Tensor], model: nn.Module) -> Tensor:
        """Return the batch's summed NLL."""
        return self.compute_train_loss(batch, model)

    def get_influence_tracked_modules(self) -> list[str]:
        """Name the modules."""
        return self.modules

    def get_attention_mask(self, batch: dict[str, Tensor]) -> Tensor:
        """Return positions 0..T-2: the last one predicts nothing, and our covariances leave it out."""
        return torch.nn.functional.pad(batch["real"][:, 1:], (0, 1))


@dataclass(slots=True)
class Outcome(Stopwatch):
    """Scores of every row for every query, queries down, and the seconds of each stage."""

    scores: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))


def fit_and_score(
    model: nn.Module,
    train: Sequence[TokenizedExample],
    queries: Sequence[TokenizedExample],
    modules: Sequence[str],
    folder: Path,
) -> Outcome:
    """Fit EK-FAC on the rows and score them, stage by stage. The model is rebuilt in place.

    Our f is the log-likelihood and our influence −∇fᵀ(H+λI)⁻¹∇L: with a loss for measurement both minus signs
    cancel, and the two libraries agree without a further one.
    """
    task, found = Language(modules), Outcome()
    analyzer = Analyzer(
        "peer",
        prepare_model(model, task),
        task,
        cpu=True,
        disable_tqdm=True,
        output_dir=str(folder),
        disable_model_save=True,
    )
    # The same padded positions a batch as the others are given.
    rows = max(1, PEERS_BATCH_TOKENS // max(map(len, train)))
    batch = {"per_device_batch_size": rows, "factor_args": EKFAC}
    with found.timing("covariance"):
        analyzer.fit_covariance_matrices(NAME, Rows(train), **batch)
    with found.timing("eigh"):
        analyzer.perform_eigendecomposition(NAME, factor_args=EKFAC)
    with found.timing("lambda"):
        analyzer.fit_lambda_matrices(NAME, Rows(train), **batch)
    with found.timing("scores"):
        analyzer.compute_pairwise_scores(
            "scores",
            NAME,
            Rows(queries),
            Rows(train),
            per_device_query_batch_size=len(queries),  # each batch of queries is a pass over the rows
            per_device_train_batch_size=rows,
            score_args=DAMPING,
        )
    found.scores = analyzer.load_pairwise_scores("scores")["all_modules"].double().numpy()
    return found


def decompose(model: nn.Module, covariances: Covariances) -> float:
    """Return the seconds kronfluence takes for the eigendecomposition of our covariances, without its files.

    The model is rebuilt in place.
    """
    names = list(covariances.leaders)
    one = torch.ones(1, dtype=torch.float64)  # ours are divided by the number of positions already
    factors: Mapping[str, dict[str, Tensor]] = {
        ACTIVATION_COVARIANCE_MATRIX_NAME: {
            name: covariances.cov_a[leader] for name, leader in covariances.leaders.items()
        },
        GRADIENT_COVARIANCE_MATRIX_NAME: covariances.cov_g,
        NUM_ACTIVATION_COVARIANCE_PROCESSED: dict.fromkeys(names, one),
        NUM_GRADIENT_COVARIANCE_PROCESSED: dict.fromkeys(names, one),
    }
    prepared, state = prepare_model(model, Language(names)), State(cpu=True)
    start = time.perf_counter()
    perform_eigendecomposition(factors, prepared, state, EKFAC, disable_tqdm=True)
    return time.perf_counter() - start
