"""Judgement, the table and results.json."""

import json

import pytest
from rich.console import Console

from benchmarks.results import Result, at_least, at_most, table, write


@pytest.mark.parametrize(
    ("result", "holds"),
    [
        (Result("speed", 4.0, "×", at_least(4)), True),
        (Result("speed", 3.99, "×", at_least(4)), False),
        (Result("memory", 0.6, "×", at_most(0.6)), True),
        (Result("memory", 0.61, "×", at_most(0.6)), False),
        (Result("seconds", 3.0, "s"), None),
    ],
)
def test_a_bar_is_cleared_from_its_own_side(result, holds):
    assert result.holds is holds


@pytest.mark.parametrize("bar", [at_least(0), at_most(1e9)])
def test_what_is_not_a_number_clears_no_bar_and_can_still_be_filed(bar):
    result = Result("broken", float("nan"), "×", bar)
    assert result.holds is False
    assert result.record()["value"] is None


def test_the_file_has_machine_and_versions_by_measurement_and_five_fields_a_result(tmp_path):
    file, results = (
        tmp_path / "results.json",
        [Result("eigh", 1.75, "×", at_least(1.5)), Result("eigh ours", 6.5, "s")],
    )
    for cores, measured in (("1", []), ("2", results)):  # the second time takes the first one's place
        write(file, "eigh", {"cores": cores}, {"torch": "2"}, measured)
    write(file, "growth", {"cores": "4"}, {"torch": "2"}, [])
    found = json.loads(file.read_text())
    assert {name: each["machine"]["cores"] for name, each in found.items()} == {"eigh": "2", "growth": "4"}
    assert list(found["eigh"]) == ["machine", "versions", "results"]
    assert found["eigh"]["results"] == [
        {"name": "eigh", "value": 1.75, "unit": "×", "bar": ">= 1.5", "holds": True},
        {"name": "eigh ours", "value": 6.5, "unit": "s", "bar": None, "holds": None},
    ]


def test_the_table_says_which_bars_fail():
    console = Console(width=100)
    with console.capture() as capture:
        console.print(table([Result("memory", 0.7, "×", at_most(0.6)), Result("eigh ours", 6.5, "s")]))
    memory, seconds = (line for line in capture.get().splitlines() if "memory" in line or "eigh" in line)
    assert "<= 0.6" in memory
    assert "fails" in memory
    assert "fails" not in seconds
    assert "holds" not in seconds
