"""Training: the loss it minimises, and that being stopped changes nothing."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from infra_core.corpus.example import TokenizedExample
from infra_core.errors import DataError, RequestError
from infra_core.lm.batching import collate
from infra_core.lm.load import build_scratch
from infra_core.lm.objective import summed_loss
from infra_core.recipe import TrainParams
from infra_core.training.losses import LOSSES
from infra_core.training.place import Place
from infra_core.training.sft import train
from infra_core.training.states import States, shares_done, steps_after
from tests.infra_core.training.toy import ADAPTERS, PARAMS, SHAPE, rows


class Stopped(Exception):
    """Stands for the machine going away."""


def weights_after(tmp_path: Path, params: TrainParams = PARAMS, **options):
    model, _ = build_scratch(SHAPE)
    examples = options.pop("examples", rows())
    saving = {
        name: options.pop(name) for name in ("resume_from", "on_save", "every_seconds") if name in options
    }
    progress = options.pop("progress", None)
    states = States(tmp_path / "work", **saving)
    losses = train(model, examples, params, states, progress=progress, place=Place(**options))
    return model.state_dict(), losses


def stop_at(step: int, keep: Path):
    def on_save(done: int, folder: Path) -> None:
        if done == step:
            shutil.copytree(folder, keep)
            raise Stopped

    return on_save


@pytest.mark.parametrize(
    ("step", "params"),
    [
        *((step, PARAMS) for step in (1, 3, 5)),
        (3, PARAMS.model_copy(update={"precision": "bf16"})),
        *((step, ADAPTERS) for step in (1, 4)),
    ],
    ids=["1", "3", "5", "3, bf16", "1, adapters", "4, adapters"],
)
def test_a_stopped_and_resumed_run_ends_in_the_same_weights_and_losses_to_the_bit(tmp_path, step, params):
    whole, losses = weights_after(tmp_path / "whole", params, micro_batch_tokens=30)
    with pytest.raises(Stopped):
        weights_after(
            tmp_path / "first",
            params,
            micro_batch_tokens=30,
            every_seconds=0.0,
            on_save=stop_at(step, tmp_path / "state"),
        )
    resumed, losses_again = weights_after(
        tmp_path / "second", params, micro_batch_tokens=30, resume_from=tmp_path / "state"
    )
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert losses.equals(losses_again)


@pytest.mark.parametrize("params", [PARAMS, ADAPTERS], ids=["weights", "adapters"])
def test_what_is_to_be_kept_is_saved_whatever_the_clock_says(tmp_path, params):
    """After those shares of the steps and at no other; the state is that of a run that saves after each."""
    asked = params.model_copy(update={"keep": (0.3, 0.5, 0.9)})
    weights: dict[str, dict[int, bytes]] = {"kept": {}, "all": {}}
    done: dict[int, list[float]] = {}

    def remember(name: str):
        def on_save(step: int, folder: Path) -> None:
            weights[name][step] = next(iter(folder.glob("*model.safetensors"))).read_bytes()
            if now := shares_done(folder, asked.keep):
                done[step] = now

        return on_save

    whole, losses = weights_after(tmp_path / "kept", asked, on_save=remember("kept"))
    plain, _ = weights_after(tmp_path / "all", params, every_seconds=0.0, on_save=remember("all"))
    steps = len(losses)
    assert (
        done
        == steps_after(asked.keep, steps)
        == {max(1, int(steps * share)): [share] for share in asked.keep}
    )
    assert weights["kept"] == {step: weights["all"][step] for step in done}
    assert all(torch.equal(whole[name], plain[name]) for name in whole)


def test_shares_of_a_training_fall_on_its_steps_and_never_on_the_last():
    assert steps_after((0.25, 0.5, 0.75), 2) == {1: [0.25, 0.5, 0.75]}
    with pytest.raises(RequestError, match=r"1 optimiser step\(s\) has no state on its way after 0\.5"):
        steps_after((0.5,), 1)


def test_saving_on_the_way_changes_nothing_and_leaves_nothing(tmp_path):
    plain, _ = weights_after(tmp_path / "plain")
    saved: list[int] = []
    watched, losses = weights_after(
        tmp_path / "watched", every_seconds=0.0, on_save=lambda step, folder: saved.append(step)
    )
    assert saved == list(range(1, len(losses)))  # all but the last, whose weights are the result
    assert all(torch.equal(plain[name], watched[name]) for name in plain)
    assert not list((tmp_path / "watched" / "work").glob("checkpoint-*"))


def test_micro_batches_of_any_size_give_the_same_training(tmp_path):
    """A wrong divisor would show as a factor; rounding shows in the sixth digit."""
    big, losses = weights_after(tmp_path / "big", micro_batch_tokens=10_000)
    small, losses_small = weights_after(tmp_path / "small", micro_batch_tokens=1)
    for name in big:
        torch.testing.assert_close(big[name], small[name], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(
        losses["nll_per_token"].to_torch(), losses_small["nll_per_token"].to_torch(), rtol=1e-4, atol=0
    )


def test_the_first_loss_is_our_objective_over_the_scored_tokens_of_the_step(tmp_path):
    model, _ = build_scratch(SHAPE)
    batch = collate(rows())
    with torch.no_grad():
        logits = model(input_ids=batch.ids, attention_mask=batch.attention_mask.long()).logits
        expected = float(summed_loss(logits, batch.ids, batch.scored) / batch.scored.sum())
    params = PARAMS.model_copy(update={"batch_tokens": 10**6})
    _, losses = weights_after(tmp_path, params)
    assert losses.schema == LOSSES
    assert losses["scored_tokens"][0] == int(batch.scored.sum())
    assert losses["nll_per_token"][0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "params",
    [PARAMS, PARAMS.model_copy(update={"precision": "bf16"}), ADAPTERS],
    ids=["fp32", "bf16", "adapters"],
)
def test_computing_activations_again_changes_no_bit(tmp_path, params):
    kept, losses = weights_after(tmp_path / "kept", params)
    again, losses_again = weights_after(tmp_path / "again", params, recompute=True)
    assert all(torch.equal(kept[name], again[name]) for name in kept)
    assert losses.equals(losses_again)


def test_what_is_not_scored_is_not_learnt(tmp_path):
    """Changing the last token of a row is seen only if that token is a target."""
    plain = rows(6)
    other = [
        TokenizedExample(
            ids=torch.cat([row.ids, torch.tensor([7])]), scored=torch.cat([row.scored, unscored])
        )
        for row, unscored in ((row, torch.tensor([False])) for row in plain)
    ]
    one_step = PARAMS.model_copy(update={"batch_tokens": 10**6, "epochs": 1.0})
    first, _ = weights_after(tmp_path / "a", one_step, examples=plain)
    second, _ = weights_after(tmp_path / "b", one_step, examples=other)
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-4, atol=1e-6)


def test_losses_fall_and_the_learning_rate_follows_its_schedule(tmp_path):
    params = PARAMS.model_copy(update={"epochs": 10.0, "warmup_fraction": 0.1, "schedule": "cosine"})
    _, losses = weights_after(tmp_path, params)
    rates = losses["learning_rate"].to_list()
    assert losses["nll_per_token"][-1] < losses["nll_per_token"][0]
    assert max(rates) == pytest.approx(params.learning_rate)
    assert rates.index(max(rates)) in range(len(rates) // 10 - 1, len(rates) // 10 + 2)
    assert rates[-1] < 0.1 * params.learning_rate


def test_progress_hears_of_every_step(tmp_path):
    heard: list[tuple[int, int, float]] = []
    _, losses = weights_after(tmp_path, progress=lambda *report: heard.append(report))
    assert [done for done, _, _ in heard] == losses["optimiser_step"].to_list()
    assert {total for _, total, _ in heard} == {len(losses)}
    assert [loss for _, _, loss in heard] == losses["nll_per_token"].to_list()


def test_training_prints_nothing(tmp_path, capfd):
    weights_after(tmp_path, every_seconds=0.0, on_save=lambda step, folder: None)
    assert capfd.readouterr() == ("", "")


def test_rows_that_are_too_long_are_left_out_and_none_left_is_an_error(tmp_path):
    short = rows(6)
    long = TokenizedExample(ids=torch.arange(5, 30), scored=torch.arange(25) > 3)
    without, _ = weights_after(tmp_path / "a", examples=short)
    with_long, _ = weights_after(tmp_path / "b", examples=[*short, long])
    assert all(torch.equal(without[name], with_long[name]) for name in without)
    with pytest.raises(DataError, match="max_tokens"):
        weights_after(tmp_path / "c", examples=[long])


def test_a_loss_that_is_no_number_stops_training_with_advice(tmp_path):
    model, _ = build_scratch(SHAPE)
    with torch.no_grad():
        model.model.embed_tokens.weight[7] = float("nan")
    with pytest.raises(RequestError, match="learning_rate"):
        train(model, rows(), PARAMS, States(tmp_path))


def test_a_row_of_weight_two_adds_twice_its_gradient(tmp_path):
    """One step of plain averages: weights 2 and 0 of two rows give the gradient of the first one twice."""
    model, _ = build_scratch(SHAPE)
    ours = [replace(row, weight=weight) for row, weight in zip(rows(2), (2.0, 0.0), strict=True)]
    batch = collate(rows(2))
    with torch.no_grad():
        logits = model(input_ids=batch.ids, attention_mask=batch.attention_mask.long()).logits
    first = batch.scored & torch.tensor([[True], [False]])
    expected = float(2 * summed_loss(logits, batch.ids, first) / batch.scored.sum())
    params = PARAMS.model_copy(update={"batch_tokens": 10**6, "epochs": 1.0})
    _, losses = weights_after(tmp_path / "weighted", params, examples=ours)
    assert losses["nll_per_token"][0] == pytest.approx(expected, rel=1e-5)


def test_weights_of_one_change_no_bit_and_of_zero_teach_nothing(tmp_path):
    """What is multiplied by one stays; a corpus that counts for nothing leaves the model where it was."""
    params = PARAMS.model_copy(update={"weight_decay": 0.0})
    plain, losses = weights_after(tmp_path / "plain", params)
    one, same = weights_after(tmp_path / "one", params, examples=[replace(row, weight=1.0) for row in rows()])
    assert all(torch.equal(plain[name], one[name]) for name in plain)
    assert losses.equals(same)
    nothing, _ = weights_after(
        tmp_path / "zero", params, examples=[replace(row, weight=0.0) for row in rows()]
    )
    untrained = build_scratch(SHAPE)[0].state_dict()
    assert all(torch.equal(untrained[name], nothing[name]) for name in untrained)
