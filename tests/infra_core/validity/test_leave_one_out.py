"""On a convex model what leaving a row out does is known exactly; influence has to say it beforehand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import grad, hessian

from infra_core.corpus.example import TokenizedExample
from infra_core.influence import FactorParams, ScoreParams, fit_factors, precondition_queries, refine_queries
from infra_core.validity.pairwise import influence_along
from tests import tiny

VOCABULARY, WIDTH, RIDGE = 5, 4, 0.2
HEAD = FactorParams(modules=r"^head$", fisher="empirical")


class Bigrams(nn.Module):
    """A language model that sees one token: fixed states, and a head whose loss is convex."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.states = nn.Embedding(VOCABULARY, WIDTH, dtype=torch.float64)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False, dtype=torch.float64)

    def forward(self, input_ids, **_):
        return SimpleNamespace(logits=self.head(self.states(input_ids)))


def rows(count: int, seed: int) -> list[TokenizedExample]:
    random = torch.Generator().manual_seed(seed)
    return [tiny.example(torch.randint(0, VOCABULARY, (8,), generator=random)) for _ in range(count)]


def losses(features: list[tuple[torch.Tensor, torch.Tensor]], head: torch.Tensor) -> torch.Tensor:
    """Summed NLL of each row under a head, given the states that it sees and the tokens that come."""
    return torch.stack([
        -(states @ head.T).log_softmax(-1).gather(1, targets[:, None]).sum() for states, targets in features
    ])


def optimum(
    features: list[tuple[torch.Tensor, torch.Tensor]], counted: torch.Tensor, start: torch.Tensor
) -> torch.Tensor:
    """Minimise the mean loss, rows counted so often, and a ridge, by Newton's method to the last digit."""

    def objective(flat: torch.Tensor) -> torch.Tensor:
        head = flat.view(VOCABULARY, WIDTH)
        return counted @ losses(features, head) / len(features) + RIDGE / 2 * flat.square().sum()

    flat = start.flatten()
    while float((slope := grad(objective)(flat)).norm()) > 1e-10:
        flat = flat - torch.linalg.solve(hessian(objective)(flat), slope)
    return flat.view(VOCABULARY, WIDTH)


@pytest.fixture(scope="module")
def world():
    """A model of which the head is trained to its optimum, and what leaving each row out really does."""
    model = Bigrams()
    train, queries = rows(32, seed=1), rows(3, seed=2)

    def seen(row: TokenizedExample) -> tuple[torch.Tensor, torch.Tensor]:
        states = model.states(row.ids).detach()
        return states[:-1][row.scored[1:]], row.ids[1:][row.scored[1:]]

    features, asked = [seen(row) for row in train], [seen(row) for row in queries]
    whole = torch.ones(len(train), dtype=torch.float64)
    best = optimum(features, whole, torch.zeros(VOCABULARY, WIDTH, dtype=torch.float64))
    with torch.no_grad():
        model.head.weight.copy_(best)
    actual = []
    for left_out in range(len(train)):
        counted = whole.clone()
        counted[left_out] = 0
        actual.append(-losses(asked, optimum(features, counted, best)) + losses(asked, best))
    return model, train, queries, torch.stack(actual).numpy()


def predicted(model, train, queries, iterations: int) -> np.ndarray:
    """What leaving a row out is said to do to each query's log-likelihood: minus its influence, by n rows."""
    factors = fit_factors(model, train, HEAD)
    [mean] = [float(each.eigenvalues.mean()) for each in factors.values()]
    params = ScoreParams(token_rule="position", damping=RIDGE / mean)  # so that λ is the ridge of training
    groups = {str(place): [query] for place, query in enumerate(queries)}
    directions = (
        refine_queries(model, factors, groups, train, params, iterations=iterations).preconditioned
        if iterations
        else precondition_queries(model, factors, groups, params)
    )
    return -influence_along(model, directions, train) / len(train)


def test_refined_influence_is_what_leaving_a_row_out_does(world):
    """To first order: what one row of 32 moves is small, and the error of the order of its square."""
    model, train, queries, actual = world
    found = predicted(model, train, queries, iterations=40)
    for query in range(len(queries)):
        assert np.corrcoef(found[:, query], actual[:, query])[0, 1] > 0.99
        slope = (found[:, query] @ actual[:, query]) / (found[:, query] @ found[:, query])
        assert 0.9 < slope < 1.2


def test_ekfac_alone_orders_what_leaving_rows_out_does(world):
    model, train, queries, actual = world
    found = predicted(model, train, queries, iterations=0)
    for query in range(len(queries)):
        assert np.corrcoef(found[:, query], actual[:, query])[0, 1] > 0.8
