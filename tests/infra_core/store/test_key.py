"""What makes one artifact the same artifact as another."""

import json
import math
import os
import subprocess
import sys
from enum import Enum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from infra_core.recipe import Flip, MixParams, TrainParams
from infra_core.store.key import canonical_json, part_key, stage_key

scalars = st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


class Colour(Enum):
    RED = "red"


def shuffled(value):
    """The same value, every mapping filled in the opposite order and every list a tuple."""
    if isinstance(value, dict):
        return {name: shuffled(element) for name, element in reversed(value.items())}
    return tuple(shuffled(element) for element in value) if isinstance(value, list) else value


def with_nones(value):
    """The same value, every mapping with one more field that is not set."""
    if isinstance(value, dict):
        return {name: with_nones(element) for name, element in value.items()} | {"a field of tomorrow": None}
    return [with_nones(element) for element in value] if isinstance(value, list) else value


@given(values)
def test_order_and_kind_of_container_do_not_matter(value):
    assert canonical_json(shuffled(value)) == canonical_json(value)


@given(values)
def test_none_is_not_hashed_at_any_depth(value):
    assert canonical_json(with_nones(value)) == canonical_json(value)


@given(values)
def test_it_is_json_of_the_same_value(value):
    """So different values have different keys."""
    assert json.loads(canonical_json(value)) == value


@given(st.lists(st.none() | scalars))
def test_a_none_that_holds_a_place_in_a_sequence_stays(value):
    assert json.loads(canonical_json(value)) == value


def test_a_new_optional_field_moves_no_key():
    class Before(BaseModel):
        rate: float

    class After(BaseModel):
        rate: float
        decay: float | None = None
        nested: tuple[dict[str, int | None], ...] = ()

    assert canonical_json(After(rate=1)) == '{"nested":[],"rate":1.0}'
    assert canonical_json(After(rate=1, nested=({"a": None},))) == '{"nested":[{}],"rate":1.0}'
    assert canonical_json(Before(rate=1)) == '{"rate":1.0}'


def test_recipe_parameters_have_a_key():
    mix = MixParams(rule=Flip(kind="flip", match="rows"), seed=1)
    assert "like" not in canonical_json(mix)
    assert '"code":["hard","easy"]' in canonical_json(mix)
    train = TrainParams(learning_rate=1e-4, epochs=1, batch_tokens=1, max_tokens=1, seed=0)
    assert canonical_json(train) == canonical_json(TrainParams(**train.model_dump()))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"a": [x]}, lambda x: _Rated(rate=x)])
def test_a_float_that_is_not_finite_is_refused(value, wrap):
    with pytest.raises(ValueError, match="give a finite number or None"):
        canonical_json(wrap(value))


class _Rated(BaseModel):
    rate: float


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", print, object(), Path("a"), 1j, {"deep": [lambda: 0]}])
def test_what_has_no_stable_form_is_refused_with_the_way_out(value):
    with pytest.raises(TypeError, match="pass it through the run context"):
        canonical_json(value)


@pytest.mark.parametrize("value", [{1: "a"}, {None: "a"}, {Colour.RED: 1}])
def test_keys_of_mappings_are_text(value):
    with pytest.raises(TypeError, match="keys must be strings"):
        canonical_json(value)


def test_equal_floats_have_equal_keys():
    assert canonical_json(-0.0) == canonical_json(0.0)


def test_an_enum_is_its_value():
    assert canonical_json(Colour.RED) == '"red"'


def test_every_part_of_the_identity_moves_the_key():
    same = ("mix", 1, {"seed": 0}, {"corpus": "a"})
    others = [
        ("mux", 1, {"seed": 0}, {"corpus": "a"}),
        ("mix", 2, {"seed": 0}, {"corpus": "a"}),
        ("mix", 1, {"seed": 1}, {"corpus": "a"}),
        ("mix", 1, {"seed": 0}, {"corpus": "b"}),
        ("mix", 1, {"seed": 0}, {"reserve": "a"}),
        ("mix", 1, None, {"corpus": "a"}),
    ]
    assert len({stage_key(*identity) for identity in [same, *others]}) == 7
    assert stage_key(*same) == stage_key("mix", 1, {"seed": 0, "new": None}, {"corpus": "a"})
    assert part_key("mix", 1, {"shard": "a"}) != part_key("mix", 2, {"shard": "a"})


def test_another_process_finds_the_same_key():
    code = (
        "from infra_core.store.key import stage_key; "
        "print(stage_key('s', 1, {'b': ('x', 0.1), 'a': {'é': True}}, {'y': '1', 'x': '2'}))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "77", "PYTHONPATH": str(Path(__file__).parents[3])}
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert answer.stdout.strip() == stage_key(
        "s", 1, {"a": {"é": True}, "b": ["x", 0.1]}, {"x": "2", "y": "1"}
    )
