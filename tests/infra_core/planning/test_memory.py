"""What is planned for published models on devices that there are, from shapes alone."""

import math
from dataclasses import replace

import pytest

from flows.__main__ import RECIPES
from infra_core.influence.plan import FITTING, module_sizes
from infra_core.lm.published import config_of
from infra_core.planning.cost import ALWAYS, USABLE, plan
from infra_core.planning.machine import DEVICES, machine_of
from infra_core.planning.memory import TURNS
from infra_core.planning.stages import Volume
from infra_core.planning.work import Machine
from infra_core.recipe import PretrainedBase, Recipe

VOLUME = Volume(rows=17_000, tokens=139_264_000, base_tokens=0, questions=430)
GIVEN = Recipe.load(RECIPES / "qwen7b.yaml")
PLACES = [(24, 1), (24, 8), (80, 1), (80, 8), (141, 1), (141, 8)]
ALL, NONE = set(ALWAYS), set()
BUT_TRAINING = ALL - {"train"}
INFLUENCE = {*FITTING, "score"}

FITS = {  # 24 GB × 1, × 8, 80 GB × 1, × 8, 141 GB × 1, × 8
    "Qwen/Qwen2.5-0.5B-Instruct": (BUT_TRAINING, BUT_TRAINING, ALL, ALL, ALL, ALL),
    "Qwen/Qwen2.5-1.5B-Instruct": (BUT_TRAINING, BUT_TRAINING, ALL, ALL, ALL, ALL),
    "Qwen/Qwen2.5-7B-Instruct": (INFLUENCE, INFLUENCE, BUT_TRAINING, ALL, BUT_TRAINING, ALL),
    "Qwen/Qwen2.5-14B-Instruct": (INFLUENCE, INFLUENCE, BUT_TRAINING, BUT_TRAINING, BUT_TRAINING, ALL),
    "Qwen/Qwen2.5-32B-Instruct": (NONE, NONE, INFLUENCE, INFLUENCE, BUT_TRAINING, BUT_TRAINING),
    "Qwen/Qwen2.5-72B-Instruct": (NONE, NONE, INFLUENCE, INFLUENCE, INFLUENCE, INFLUENCE),
    "meta-llama/Meta-Llama-3-8B-Instruct": (INFLUENCE, INFLUENCE, BUT_TRAINING, ALL, BUT_TRAINING, ALL),
    "meta-llama/Meta-Llama-3-70B-Instruct": (NONE, NONE, INFLUENCE, INFLUENCE, INFLUENCE, INFLUENCE),
}
"""Stages that fit a recipe with rows of 16,384 tokens: whose logits alone are 35 GB in training."""


def recipe_of(name):
    model = PretrainedBase(kind="pretrained", model=name, revision="a" * 40, dtype="bf16")
    return GIVEN.model_copy(update={"base": GIVEN.base.model_copy(update={"model": model})})


def device(gigabytes, count):
    return Machine(
        int(gigabytes * 1e9),
        count,
        flops=3e14,
        number_seconds=2e-12,
        call_seconds=6e-6,
        basis="",
        host_bytes=8e9,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", FITS)
def test_which_stages_fit_which_devices(name):
    given, usable = recipe_of(name), {gb: USABLE * gb * 1e9 for gb, _ in PLACES}
    config = config_of(given.base.model)
    plans = [plan(given, config, VOLUME, device(*place)) for place in PLACES]
    for place, planned, expected in zip(PLACES, plans, FITS[name], strict=True):
        found = {stage.stage for stage in planned.stages if stage.peak_bytes <= usable[place[0]]} & ALL
        assert found == expected, place
        assert planned.fits == (expected == ALL)
        assert bool(planned.would_fit) != planned.fits
        assert planned.factors.covariance == sum(s.covariance_bytes for s in module_sizes(config, "mlp"))
    for few, many in ((0, 2), (2, 4)):  # more memory never takes more turns at as many positions
        if plans[few].batch == plans[many].batch:
            turns = [[s.partitions for s in plans[n].stages if s.stage in TURNS] for n in (few, many)]
            assert all(more <= less for less, more in zip(*turns, strict=True))


def test_factors_of_72b_are_those_worked_out_by_hand():
    """80 layers of A 8192² and 29568², G 29568² twice and 8192²; Λ three times 8192 × 29568; fp32."""
    sizes = module_sizes(config_of(recipe_of("Qwen/Qwen2.5-72B-Instruct").base.model), "mlp")
    assert sum(size.covariance_bytes for size in sizes) == 80 * 4 * (3 * 29568**2 + 2 * 8192**2)
    assert sum(size.weight_bytes for size in sizes) == 80 * 4 * 3 * 29568 * 8192


@pytest.mark.slow
def test_what_is_said_to_fit_fits():
    given = recipe_of("Qwen/Qwen2.5-7B-Instruct")
    config = config_of(given.base.model)
    small = plan(given, config, VOLUME, device(24, 1))
    assert small.would_fit == ("8 × 80 GB", "2 × 141 GB", "2 × 192 GB")
    for count, gigabytes in ((8, 80), (2, 141), (2, 192)):
        assert plan(given, config, VOLUME, device(gigabytes, count)).fits
        assert not plan(given, config, VOLUME, device(gigabytes, count // 2)).fits


def test_turns_go_through_the_model_twice_at_most_and_what_they_need_waits_on_disk():
    """Two ends of each range, for one draw of labels, 3584 numbers a token in bf16."""
    given = recipe_of("Qwen/Qwen2.5-7B-Instruct")
    planned = plan(given, config_of(given.base.model), VOLUME, device(80, 8))
    fitted = {stage.stage: stage for stage in planned.stages}
    tokens = VOLUME.tokens * given.factors.sequences / VOLUME.rows
    for stage in FITTING:
        turns = fitted[stage].partitions
        assert turns > 2
        assert fitted[stage].passes == 2
        assert fitted[stage].traffic.scratch == pytest.approx(tokens * turns * 2 * 3584 * 2)


def test_decomposing_takes_the_memory_that_passes_have_left():
    """18 GB of workspace do not stand beside 33 GB of activations: a turn for each device is enough."""
    given = recipe_of("Qwen/Qwen2.5-7B-Instruct")
    planned = plan(given, config_of(given.base.model), VOLUME, device(80, 8))
    [fitted] = [stage for stage in planned.stages if stage.stage == "fit_eigenbasis"]
    assert fitted.partitions == 8
    assert fitted.peak_bytes <= USABLE * 80e9


def test_devices_share_the_turns_of_fitting_and_there_is_one_for_each_at_least():
    given = recipe_of("Qwen/Qwen2.5-7B-Instruct")
    few, many = (
        {s.stage: s for s in plan(given, config_of(given.base.model), VOLUME, device(80, count)).stages}
        for count in (8, 16)
    )
    for stage in FITTING:
        assert many[stage].partitions >= 16
        assert many[stage].peak_bytes <= few[stage].peak_bytes
        assert many[stage].seconds == pytest.approx(few[stage].seconds / 2, rel=1e-2)


def test_rows_that_are_longer_than_a_pass_has_room_for_are_told():
    """A token keeps what goes into each of 28 layers, what comes out and its gradient, in bf16; and logits.

    Beside it are the directions of two groups in one module, and one group's in all, in bf16, to move along.
    """
    given = recipe_of("Qwen/Qwen2.5-1.5B-Instruct")
    weight, token = 4 * 1536 * 8960, 2 * 30 * 1536 + 151_936 * 12
    moved = 2 * weight + 28 * 3 * weight // 2
    planned = plan(given, config_of(given.base.model), VOLUME, device(24, 8))
    assert planned.longest_row == (int(USABLE * 24e9) - 2 * 1_543_714_304 - moved) // token
    assert not planned.on_host  # which would not let in rows twice as long
    assert plan(given, config_of(given.base.model), VOLUME, device(80, 8)).longest_row is None


def test_a_model_that_leaves_no_room_for_passes_leaves_its_layers_on_the_host():
    """Copies of two layers of 233 million weights are there, and embeddings, head and norm, in bf16."""
    given = recipe_of("Qwen/Qwen2.5-7B-Instruct")
    config, weights, layer = config_of(given.base.model), 7_615_616_512, 233_057_792
    large, small = (plan(given, config, VOLUME, device(gigabytes, 1)) for gigabytes in (72, 24))
    held = [{stage.stage: stage.held.weights for stage in each.stages} for each in (large, small)]
    assert [large.on_host, small.on_host] == [False, True]
    for stage in INFLUENCE:
        assert held[0][stage] == 2 * weights
        assert held[1][stage] == 2 * (weights - 26 * layer)
    assert held[1]["collect_queries"] == 2 * weights
    here = replace(device(24, 1), host_bytes=None)  # a processor is its own host
    assert not plan(given, config, VOLUME, here).on_host


def test_layers_stay_on_the_host_where_that_lets_in_rows_twice_as_long():
    given = recipe_of("Qwen/Qwen2.5-7B-Instruct")
    config, place = config_of(given.base.model), device(48, 1)
    apart, beside = (plan(given, config, VOLUME, each) for each in (place, replace(place, host_bytes=None)))
    assert [apart.on_host, beside.on_host] == [True, False]
    assert apart.longest_row > 2 * beside.longest_row


def test_answers_hold_what_generation_cuts_them_to_and_references_hold_nothing():
    """Keys and values of 28 layers of 2 × 512 numbers, and one layer's, of 32,768 positions in bf16."""
    given = recipe_of("Qwen/Qwen2.5-7B-Instruct")
    config, place = config_of(given.base.model), device(80, 1)
    told = given.model_copy(update={"queries": given.queries.model_copy(update={"objective": "reference"})})
    held = [
        {stage.stage: stage.peak_bytes for stage in plan(each, config, VOLUME, place).stages}
        for each in (given, told)
    ]
    written = 32_768 * 2 * (28 * 2 * 512 + 2 * 18_944 + 4 * 3584)
    assert held[0]["collect_queries"] == held[0]["evaluate"] == 2 * 7_615_616_512 + written
    assert held[1].get("collect_queries", 0) == 0


def test_layers_are_copied_twice_a_pass_and_that_takes_time():
    """Once on the way up and once on the way down, at 8 GB a second; nothing is copied of what is there."""
    given = recipe_of("Qwen/Qwen2.5-7B-Instruct")
    config, place, layers = config_of(given.base.model), device(24, 1), 2 * 28 * 233_057_792
    slow, slower = (plan(given, config, VOLUME, replace(place, host_bytes=rate)) for rate in (8e9, 4e9))
    passes = math.ceil(given.factors.sequences * VOLUME.tokens / VOLUME.rows / slow.batch)
    for one, other in zip(slow.stages, slower.stages, strict=True):
        assert (other.seconds > one.seconds) == (one.stage in {*INFLUENCE, "perplexity"})
        if one.stage in FITTING:
            more = one.passes * 2 * passes * layers * (1 / 4e9 - 1 / 8e9)
            assert other.seconds - one.seconds == pytest.approx(more, rel=1e-3)


def test_the_store_holds_factors_as_they_are_written():
    given = recipe_of("Qwen/Qwen2.5-7B-Instruct")
    planned = plan(given, config_of(given.base.model), VOLUME, device(80, 8))
    moved = {stage.stage: stage.traffic for stage in planned.stages}
    factors, model = planned.factors, 2 * 7_615_616_512
    assert moved["fit_eigenbasis"].written == factors.basis
    assert moved["fit_factors"].written == factors.basis + factors.eigenvalues
    assert moved["score"].read == model + factors.basis + factors.eigenvalues
    assert moved["train"].written == 9 * model  # three arms, three seeds


@pytest.mark.parametrize("name", DEVICES)
def test_a_device_that_is_named_has_the_rates_of_its_data_sheet(name):
    config, known = config_of(GIVEN.base.model), DEVICES[name]
    machine = machine_of(name.upper(), 2, config, rows=512)
    assert (machine.memory_bytes, machine.devices) == (known.memory_bytes, 2)
    assert machine.flops < known.flops
    assert known.name in machine.basis
