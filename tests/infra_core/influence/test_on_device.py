"""All that influence needs is moved to where the model runs: away from the host, results agree with it."""

import itertools
from collections import UserDict
from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from infra_core.influence import (
    FactorParams,
    IndexParams,
    KeptPasses,
    ScoreParams,
    compress_queries,
    fit_factors,
    in_partitions,
    index_examples,
    precondition_queries,
    score_examples,
    self_influence,
)
from infra_core.influence.passes import make_passes
from infra_core.influence.probe import probe_batches
from infra_core.lm.on_host import layers_of, leave_on_host
from tests import families, tiny
from tests.away import far_away

ROWS = tiny.examples((9, 7), seed=1)
TOO_LONG = 6  # positions a batch: each row goes through layer by layer
GROUPS = {"asked": tiny.examples((8,), seed=2)}
RULES = [ScoreParams(token_rule=rule, energy=0.9) for rule in ("position", "loss_term")]
FITTING = FactorParams(draws=2)


def move(model, device):
    return model.to(device)


def in_both_places(cases, quick):
    """Each case with the layers on the host and with all on the device, slow if not among `quick`."""
    pairs = itertools.product(cases, (leave_on_host, move))
    return [pytest.param(*pair, marks=() if pair in quick else pytest.mark.slow) for pair in pairs]


def eigenvalues(factors):
    return [each.eigenvalues for each in factors.values()]


def scores(model, queries, **how):
    """By token, under either rule."""
    tables = [score_examples(model, queries, ROWS, params, **how) for params in RULES]
    return [table["tokens"].explode().to_torch() for table in tables]


def assert_agree(found, expected):
    """To what fp32 tells apart: the host computes attention and SiLU by kernels of its own."""
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6 * float(other.abs().max()))


def computed(compute, place, model, *given):
    """What comes of it on the host, and on the device."""
    with far_away() as device:
        found = [each.cpu() for each in compute(place(deepcopy(model), device), *given)]
    return found, compute(model, *given)


def fit_and_score(model, params):
    factors = fit_factors(model, ROWS, params)
    queries = precondition_queries(model, factors, GROUPS, RULES[0])
    return eigenvalues(factors) + scores(model, queries)


@pytest.mark.parametrize(
    ("family", "place"),
    in_both_places(families.FAMILIES, [(family, leave_on_host) for family in ("gpt2", "mixtral", "lora")]),
)
def test_factors_and_scores_agree_with_those_of_the_host_in_every_family(family, place):
    params = families.params_of(family, draws=2)
    assert_agree(*computed(fit_and_score, place, families.build(family), params))


class Folder(UserDict):
    """Gives back on the host what was put there."""

    def __setitem__(self, name, tensor):
        super().__setitem__(name, tensor.cpu())


def turns(model, _factors):
    parts = in_partitions(model, FITTING, "fit_factors", None, at_least=2)
    rows = KeptPasses(ROWS, ranges=[part.modules for part in parts], shelf=Folder())
    make_passes(model, rows, FITTING)
    return [each for part in parts for each in eigenvalues(fit_factors(model, rows, part))]


def indexes(model, factors):
    found = index_examples(model, factors, ROWS, IndexParams(coordinates=64))
    return found.codes, found.scales


def norms(model, factors):
    return [self_influence(model, factors, ROWS, RULES[0])["self_influence"].to_torch()]


def probes(model, _factors):
    found = probe_batches(model, ROWS, "mlp")
    return [torch.tensor([found.rows, found.notable])]


def compressed(model, factors):
    return scores(model, compress_queries(model, factors, GROUPS, RULES[0]))


def directions_on_the_host(model, factors):
    queries = precondition_queries(model, factors, GROUPS, RULES[0])
    return scores(model, replace(queries, directions=Folder(queries.directions)))


def rows_that_are_too_long(model, factors):
    queries = precondition_queries(model, factors, GROUPS, RULES[0], batch_tokens=TOO_LONG)
    return scores(model, queries, batch_tokens=TOO_LONG)


OTHERS = (turns, indexes, norms, probes, compressed, directions_on_the_host)


@pytest.mark.parametrize(
    ("compute", "place"),
    in_both_places(
        (*OTHERS, rows_that_are_too_long),
        [*((each, leave_on_host) for each in OTHERS), (turns, move), (rows_that_are_too_long, move)],
    ),
)
def test_what_else_is_computed_agrees_given_factors_on_the_host(compute, place):
    model = families.build("qwen2")
    assert_agree(*computed(compute, place, model, fit_factors(model, ROWS, FITTING)))


def test_what_is_on_the_device_does_not_meet_what_is_on_the_host():
    with far_away() as device:
        there, here = torch.ones(2, device=device), torch.ones(2)
        assert (there * here.sum() + here.to(device)).tolist() == [3, 3]
        for mix in (
            lambda: there + here,
            lambda: here.add_(there.sum()),
            lambda: here[there.long()],
            lambda: torch.stack([there.sum(), here.sum()]),
        ):
            with pytest.raises(RuntimeError, match="and what is on the host"):
                mix()


def test_layers_on_the_host_are_not_there_but_for_their_turn():
    with far_away() as device:
        model = leave_on_host(tiny.qwen2(), device)
        with pytest.raises(RuntimeError, match="and what is on the host"):
            layers_of(model)[0].mlp(torch.ones(1, model.config.hidden_size, device=device))
