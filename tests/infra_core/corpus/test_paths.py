"""Dotted paths and templates."""

import pytest

from infra_core.corpus.paths import MISSING, as_text, look_up, paths_of, pieces
from infra_core.errors import RequestError


def test_a_path_walks_through_objects_and_lists():
    row = {"turns": [{"value": "a"}, {"value": "b"}]}
    assert look_up(row, "turns.1.value") == "b"
    assert look_up(row, "turns.-1.value") == "b"


@pytest.mark.parametrize("path", ["turns.2.value", "turns.x", "turns.0.value.more", "none", "turns.0.none"])
def test_a_path_that_leads_nowhere_is_missing_not_an_error(path):
    assert look_up({"turns": [{"value": "a"}]}, path) is MISSING


def test_null_is_found_and_is_not_missing():
    assert look_up({"a": {"b": None}}, "a.b") is None


def test_a_column_with_a_dot_in_its_name_is_reachable():
    assert look_up({"a.b": 1, "a": {"b": 2}}, "a.b") == 1


def test_doubled_braces_are_text():
    assert pieces("{{x}} {y}") == (("{", None), ("x}", None), (" ", "y"))
    assert paths_of("{{x}} {y}") == ("y",)


@pytest.mark.parametrize("template", ["{open", "{}", "{a!r}", "{a:>10}", "}{"])
def test_a_malformed_template_names_itself(template):
    with pytest.raises(RequestError, match="double a brace"):
        paths_of(template)


def test_numbers_become_the_text_a_person_would_write():
    assert [as_text(value) for value in (27.0, 0.5, -3, True, 1e300)] == ["27", "0.5", "-3", "true", "1e+300"]
