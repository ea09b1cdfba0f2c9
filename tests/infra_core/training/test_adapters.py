"""Adapters: what trains, what stays, and that merging them is no more than adding."""

import json

import pytest
import torch

from infra_core.errors import RequestError
from infra_core.lm.batching import collate
from infra_core.lm.load import build_scratch
from infra_core.recipe import LoraParams
from infra_core.training.adapters import ADAPTER, adapt, attach
from infra_core.training.sft import train
from infra_core.training.states import States
from tests.infra_core.training.toy import ADAPTERS, SHAPE, rows


def trained(folder, modules="all"):
    """The untouched model and the trained one."""
    (base, _), (model, _) = build_scratch(SHAPE), build_scratch(SHAPE)
    lora = ADAPTERS.lora.model_copy(update={"modules": modules})
    train(model, rows(), ADAPTERS.model_copy(update={"lora": lora}), States(folder))
    return base, model


def test_only_the_chosen_modules_move_and_by_no_more_than_the_rank(tmp_path):
    base, model = trained(tmp_path, modules="attention")
    assert base.state_dict().keys() == model.state_dict().keys()
    for name, before in base.state_dict().items():
        change = model.state_dict()[name] - before
        if "self_attn" in name and name.endswith("weight"):
            assert torch.linalg.matrix_rank(change, rtol=1e-4) == ADAPTERS.lora.rank
        else:
            assert torch.equal(change, torch.zeros_like(change))


def test_the_model_with_adapters_beside_it_says_what_the_merged_one_says(tmp_path):
    base, model = trained(tmp_path)
    beside = attach(base, tmp_path / ADAPTER)
    batch = collate(rows(4))
    with torch.no_grad():
        given = {"input_ids": batch.ids, "attention_mask": batch.attention_mask.long()}
        torch.testing.assert_close(beside(**given).logits, model(**given).logits, rtol=1e-5, atol=1e-5)


def test_adapters_are_drawn_from_the_seed_alone():
    """Whatever was drawn before, and drawing them moves nothing."""
    lora = LoraParams(rank=2, alpha=4)

    def drawn(seed):
        return {
            name: value
            for name, value in adapt(build_scratch(SHAPE)[0], lora, seed).state_dict().items()
            if "lora_A" in name
        }

    before = torch.random.get_rng_state()
    first = drawn(1)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.rand(1)
    assert all(torch.equal(first[name], value) for name, value in drawn(1).items())
    assert not any(torch.equal(first[name], value) for name, value in drawn(2).items())


def test_the_same_training_leaves_the_same_bytes_and_no_path(tmp_path):
    for run in ("a", "b"):
        trained(tmp_path / run)
    files = sorted(path.name for path in (tmp_path / "a" / ADAPTER).iterdir())
    assert files == ["adapter_config.json", "adapter_model.safetensors"]
    for name in files:
        assert (tmp_path / "a" / ADAPTER / name).read_bytes() == (
            tmp_path / "b" / ADAPTER / name
        ).read_bytes()
    told = json.loads((tmp_path / "a" / ADAPTER / "adapter_config.json").read_text())
    assert told["base_model_name_or_path"] == ""


def test_modules_that_are_not_there_are_refused_with_those_that_are():
    with pytest.raises(RequestError, match=r"nothing_like_it.*self_attn\.q_proj"):
        adapt(build_scratch(SHAPE)[0], LoraParams(rank=2, alpha=4, modules="nothing_like_it"), 0)
