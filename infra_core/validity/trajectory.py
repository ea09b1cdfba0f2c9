"""Training looked at on its way: rivals that weigh gradients at several states of it, models that score."""

import copy
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from infra_core.corpus.example import TokenizedExample
from infra_core.errors import RequestError
from infra_core.influence import IdentityFactors, ScoreParams
from infra_core.influence.blocks import Block, choose_blocks
from infra_core.lm.classes import PreTrainedModel
from infra_core.recipe import TrainParams, Variant
from infra_core.seeds import derive_seed
from infra_core.training.place import Place
from infra_core.training.sft import train
from infra_core.training.sharding import OPTIMIZER
from infra_core.training.states import States
from infra_core.validity.contest import Contest
from infra_core.validity.pairwise import Change, each_direction, gradient_products

AFTER = (0.25, 0.5, 0.75)
"""Shares of its optimiser steps after which rivals look at training."""

PLAIN = ScoreParams(token_rule="position")  # of identity curvature, which has no damping


@dataclass(frozen=True, eq=False)
class Adam:
    """What the optimiser remembers of each parameter, and how it would use a further gradient."""

    first: Mapping[str, Tensor]
    second: Mapping[str, Tensor]
    steps: int
    betas: tuple[float, float]
    epsilon: float

    def update(self, block: Block, gradient: Tensor) -> Tensor:
        """Return the step, by a learning rate of one, that a gradient of this block would make next."""
        first, second = (_of_block(block, kept).to(gradient) for kept in (self.first, self.second))
        slow, slower = self.betas
        first = slow * first + (1 - slow) * gradient
        second = slower * second + (1 - slower) * gradient.square()
        count = self.steps + 1
        return first / (1 - slow**count) / ((second / (1 - slower**count)).sqrt() + self.epsilon)


def tracin(contest: Contest) -> np.ndarray:
    """Return TracIn [1]_, rows × queries: products of gradients at states of training, by learning rate.

    References
    ----------
    .. [1] Pruthi et al. 2020, "Estimating Training Data Influence by Tracing Gradient Descent",
       arXiv:2002.08484.
    """
    total = np.zeros((len(contest.examples), len(contest.queries)))
    for model, rate, _ in _states(contest):
        total += rate * _along(contest, model, None)[0]
    return total


def less(contest: Contest) -> np.ndarray:
    """Return the score of LESS [1]_, rows × queries: cosines of a query's gradient and a row's Adam update.

    As there, of the mean loss of a row; other than there of all weights in place of adapters, and without the
    random projection that makes gradients fit on a disk.

    References
    ----------
    .. [1] Xia et al. 2024, "LESS: Selecting Influential Data for Targeted Instruction Tuning",
       arXiv:2402.04333.
    """
    total = np.zeros((len(contest.examples), len(contest.queries)))
    for model, rate, adam in _states(contest):
        total += rate * gradient_cosines(contest, model, adam)
    return total


def gradient_cosines(contest: Contest, model: PreTrainedModel, adam: Adam | None = None) -> np.ndarray:
    """Return cosines of a query's gradient and a row's, or its update by Adam; zero where one is nothing."""
    products, lengths, queries = _along(contest, model, adam)
    both = np.outer(lengths, queries)
    return np.divide(products, both, out=np.zeros_like(products), where=both > 0)


def _along(
    contest: Contest, model: PreTrainedModel, adam: Adam | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return products with the gradients of queries, and the lengths of both sides."""
    blocks = choose_blocks(model, contest.factors.modules)
    change = None if adam is None else _updates(adam, blocks)
    factors = dict.fromkeys(blocks, IdentityFactors())
    found, lengths, queries = [], np.zeros(len(contest.examples)), []
    for asked in each_direction(model, factors, contest.queries, PLAIN, batch_tokens=contest.batch_tokens):
        products, lengths = gradient_products(
            model, asked, contest.examples, change, batch_tokens=contest.batch_tokens
        )
        found.append(products)
        squares = sum(each.double().square().sum(dim=(1, 2)) for each in asked.directions.values())
        queries.append(torch.as_tensor(squares).sqrt().cpu().numpy())
    return np.concatenate(found, axis=1), lengths, np.concatenate(queries)


def _updates(adam: Adam, blocks: Mapping[str, Block]) -> Change:
    def update(name: str, example: TokenizedExample, gradient: Tensor) -> Tensor:
        return adam.update(blocks[name], gradient / max(1, int(example.scored.sum())))

    return update


def _states(contest: Contest) -> Iterator[tuple[PreTrainedModel, float, Adam]]:
    """Train the base again and yield what it was on the way: the model, the learning rate, the optimiser."""
    with _trained_again(contest, contest.train, AFTER) as (model, states):
        for state in states:
            _return_to(model, state)
            logged = json.loads((state / "trainer_state.json").read_text())["log_history"]
            rate = next(entry["learning_rate"] for entry in reversed(logged) if "learning_rate" in entry)
            yield model, float(rate), _adam(model, state)


def scoring_models(contest: Contest, variant: Variant) -> Iterator[PreTrainedModel]:
    """Yield the models that score for a variant: of each of its trainings, after each of its shares of it.

    A model is good until the next is asked for. Only what is not at hand is trained.

    Raises
    ------
    RequestError
        If training is too short for a share of it.
    """
    shares = variant.after or (1.0,)
    on_the_way = sorted({share for share in shares if share < 1})
    for number in variant.seeds or (0,):
        if number == 0 and 1.0 in shares:
            yield contest.model
        if number == 0 and not on_the_way:
            continue
        seed = derive_seed(contest.train.seed, "again", number) if number else contest.train.seed
        again = contest.train.model_copy(update={"seed": seed})
        with _trained_again(contest, again, on_the_way) as (model, states):
            if number and 1.0 in shares:
                yield model
            for state in states:
                _return_to(model, state)
                yield model


@contextmanager
def _trained_again(
    contest: Contest, params: TrainParams, shares: Sequence[float]
) -> Iterator[tuple[PreTrainedModel, list[Path]]]:
    """Train the base again; give the model, and states that it was in after shares of its steps.

    Raises
    ------
    RequestError
        If adapters train: what is remembered is then of them.
    """
    if params.lora is not None:
        raise RequestError(
            "tracin, less and variants of other models look at weights, and train.lora trains adapters; "
            "leave them out of validity.methods and validity.variants"
        )
    model = copy.deepcopy(contest.base)
    params = params.model_copy(update={"keep": tuple(shares) or None})
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)

        def keep(step: int, state: Path) -> None:
            shutil.move(state, folder / f"kept-{step:07d}")

        on_the_way = States(folder / "states", on_save=keep)
        place = Place(device=str(model.device), micro_batch_tokens=contest.batch_tokens)
        train(model, contest.examples, params, on_the_way, place=place)
        yield model, sorted(folder.glob("kept-*"))


def _return_to(model: PreTrainedModel, state: Path) -> None:
    for file in sorted(state.glob("*.safetensors")):
        model.load_state_dict(load_file(file), strict=False)  # a tied head is not in the file


def _adam(model: PreTrainedModel, state: Path) -> Adam:
    """Read what the optimiser of a state remembers, by names of parameters.

    `Trainer` puts matrices, which decay, before the rest; each in the model's order.
    """
    saved = torch.load(state / OPTIMIZER, map_location="cpu", weights_only=True)
    named = [(name, weight) for name, weight in model.named_parameters()]
    ordered = [name for name, weight in named if weight.ndim > 1] + [
        name for name, weight in named if weight.ndim < 2
    ]
    keys = [key for group in saved["param_groups"] for key in group["params"]]
    kept: dict[str, dict[str, Any]] = {
        name: saved["state"][key] for name, key in zip(ordered, keys, strict=True) if key in saved["state"]
    }
    group = saved["param_groups"][0]
    return Adam(
        first={name: each["exp_avg"] for name, each in kept.items()},
        second={name: each["exp_avg_sq"] for name, each in kept.items()},
        steps=int(next(iter(kept.values()))["step"]),
        betas=(group["betas"][0], group["betas"][1]),
        epsilon=group["eps"],
    )


def _of_block(block: Block, by_parameter: Mapping[str, Tensor]) -> Tensor:
    """Return the block's part of something there is of every parameter, d_out × d_in."""
    whole = by_parameter[block.parameter]
    inside = whole if block.expert is None else whole[block.expert]
    weight = (inside.mT if block.transposed else inside)[block.outputs, block.inputs]
    if block.bias is None:
        return weight
    return torch.cat([weight, by_parameter[block.bias][block.outputs][:, None]], dim=1)
