"""TracIn and LESS: against torch's own Adam, and against gradients at the states of the same training."""

import copy
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from infra_core.corpus.example import TokenizedExample
from infra_core.errors import RequestError
from infra_core.influence import FactorParams, ScoreParams
from infra_core.influence.blocks import choose_blocks
from infra_core.lm.load import build_scratch
from infra_core.recipe import Variant
from infra_core.training.sft import train
from infra_core.training.states import States
from infra_core.validity.contest import Contest
from infra_core.validity.rivals import varied
from infra_core.validity.trajectory import Adam, _states, less, scoring_models, tracin
from tests.infra_core.training.toy import ADAPTERS, PARAMS, SHAPE, rows
from tests.oracles.loop import loss_gradients

EXAMPLES, QUERIES = rows(12), rows(16)[13:]


@pytest.fixture(scope="module")
def contest():
    base, _ = build_scratch(SHAPE)
    return Contest(
        base, base, EXAMPLES, QUERIES, [], [], PARAMS, FactorParams(), ScoreParams(token_rule="position"),
        1, 1, 0, 60,
    )  # fmt: skip


@pytest.mark.parametrize("bias", [False, True])
def test_an_update_is_the_step_that_torchs_adam_would_take(bias):
    torch.manual_seed(0)
    model = torch.nn.ModuleDict({"up_proj": torch.nn.Linear(3, 4, bias=bias)})
    weights = dict(model.named_parameters())
    optimiser = torch.optim.AdamW(weights.values(), lr=1.0, weight_decay=0.0, betas=(0.8, 0.9), eps=1e-3)

    def step(gradients):
        for name, weight in weights.items():
            weight.grad = gradients[name]
        optimiser.step()

    for seed in range(3):
        torch.manual_seed(seed)
        step({name: torch.randn_like(weight) for name, weight in weights.items()})
    state = {name: optimiser.state[weight] for name, weight in weights.items()}
    adam = Adam(
        {name: each["exp_avg"].clone() for name, each in state.items()},
        {name: each["exp_avg_sq"].clone() for name, each in state.items()},
        3, (0.8, 0.9), 1e-3,
    )  # fmt: skip
    [block] = choose_blocks(model, "up_proj").values()
    gradient = torch.randn(block.shape)
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    parts = {"up_proj.weight": gradient[:, :3], "up_proj.bias": gradient[:, -1]}
    step({name: parts[name] for name in weights})
    moved = [before[name] - weight.detach() for name, weight in weights.items()]
    expected = torch.cat([moved[0], moved[1][:, None]], dim=1) if bias else moved[0]
    torch.testing.assert_close(adam.update(block, gradient), expected, rtol=1e-4, atol=1e-5)


def test_tracin_is_the_sum_over_states_of_products_of_gradients(contest, tmp_path):
    """The states are those of the same training, stopped at the same steps by hand."""
    model = copy.deepcopy(contest.base)
    kept = {}

    def keep(step, folder):
        kept[step] = {name: weight.detach().clone() for name, weight in model.named_parameters()}
        shutil.rmtree(folder)

    losses = train(model, EXAMPLES, PARAMS, States(tmp_path, on_save=keep, every_seconds=0.0))
    rates = dict(losses.select("optimiser_step", "learning_rate").rows())
    looked_at = sorted({max(1, losses.height * part // 4) for part in (1, 2, 3)})
    names = list(choose_blocks(model, "mlp"))
    expected = 0
    for step in looked_at:
        model.load_state_dict(kept[step], strict=False)

        def gradient(row: TokenizedExample):
            each = loss_gradients(model, names, row.ids, row.scored)
            return torch.cat([each[name].flatten() for name in names])

        ours, asked = (torch.stack([gradient(row) for row in some]) for some in (EXAMPLES, QUERIES))
        expected = expected + rates[step] * (ours @ asked.T)
    assert tracin(contest) == pytest.approx(expected.numpy(), rel=1e-3, abs=1e-6)


def test_less_is_bounded_by_the_learning_rates_and_asks_which_query(contest):
    found = less(contest)
    rates = sum(rate for _, rate, _ in _states(contest))
    assert np.abs(found).max() <= rates * (1 + 1e-6)
    assert found.std(axis=1).min() > 0
    assert found.std(axis=0).min() > 0


def test_adapters_are_refused(contest):
    with pytest.raises(RequestError, match=r"train\.lora trains adapters"):
        tracin(replace(contest, train=ADAPTERS))


def weights(model):
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


def test_models_on_the_way_of_training_are_those_that_it_went_through(contest, tmp_path):
    kept = {}

    def keep(step, folder):
        kept[step] = weights(model)
        shutil.rmtree(folder)

    model = copy.deepcopy(contest.base)
    steps = train(model, EXAMPLES, PARAMS, States(tmp_path, on_save=keep, every_seconds=0.0)).height
    halfway = Variant(after=(0.5, 1.0))
    found = [weights(each) for each in scoring_models(replace(contest, model=model), halfway)]
    # Batches are cut otherwise, so it is the same but for rounding; a step further is 3e-3 off.
    torch.testing.assert_close(found, [weights(model), kept[steps // 2]], rtol=0, atol=1e-5)


def test_models_of_other_seeds_are_other_models_and_the_recipes_own_is_not_trained_again(contest):
    own, *others = (weights(each) for each in scoring_models(contest, Variant(seeds=(0, 1, 2))))
    torch.testing.assert_close(own, weights(contest.model), rtol=0, atol=0)
    assert not any(torch.allclose(each, own) for each in others)
    assert not torch.allclose(*others)


def test_the_score_of_several_models_is_the_mean_of_theirs(contest):
    both, one, other = (varied(contest, Variant(seeds=seeds)) for seeds in ((1, 2), (1,), (2,)))
    assert both == pytest.approx((one + other) / 2, rel=1e-5)
    assert not np.allclose(one, other, rtol=0.05)


def test_training_of_one_step_has_no_models_on_its_way(contest):
    short = contest.train.model_copy(update={"epochs": 1.0, "batch_tokens": 10_000})
    with pytest.raises(RequestError, match="1 optimiser step"):
        list(scoring_models(replace(contest, train=short), Variant(after=(0.5,))))
