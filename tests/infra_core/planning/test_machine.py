"""A machine is measured at a model's widths, or stated."""

import resource

import psutil
import pytest

from flows.__main__ import RECIPES
from infra_core.errors import RequestError
from infra_core.lm.published import config_of
from infra_core.planning.machine import machine_of, memory_here
from infra_core.recipe import Recipe

CONFIG = config_of(Recipe.load(RECIPES / "tiny.yaml").base.model)


@pytest.mark.parametrize(("said", "meant"), [("80GB", 80e9), ("1.5 TiB", 1.5e12), ("24g", 24e9)])
def test_a_stated_device_is_not_measured(said, meant):
    machine = machine_of(said, 8, CONFIG, rows=512)
    assert (machine.memory_bytes, machine.devices) == (meant, 8)
    assert machine.basis.startswith("assumed")


@pytest.mark.parametrize("said", ["80", "much", "80MB"])
def test_what_is_no_size_is_refused(said):
    with pytest.raises(RequestError, match="is no size; write 80GB"):
        machine_of(said, 1, CONFIG, rows=512)


def test_the_machine_here_is_measured_at_the_model_s_widths():
    machine = machine_of("", 1, CONFIG, rows=512)
    assert machine.memory_bytes == memory_here() <= psutil.virtual_memory().total
    assert "64 × 256" in machine.basis
    # From a wristwatch to anything that will be built before this is read again.
    assert 1e6 < machine.flops < 1e16
    assert 1e-13 < machine.number_seconds < machine.call_seconds < 1


def test_memory_that_a_process_may_not_have_is_not_planned_with(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (2**30, 2**31))
    assert memory_here() == 2**30
