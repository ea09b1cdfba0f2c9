"""Numbers may not change silently: each stage's are filed under its version."""

import json

import pytest

from tasks._stage import STAGES
from tests.golden.numbers import DIGITS, FOLDER, built_beside, golden_file, recipe_hash, stage_numbers


def test_every_stage_writes_the_numbers_that_its_version_recorded(finished):
    beside = built_beside(finished.recipe, finished.ctx)
    found = stage_numbers(finished.ctx.store, finished.report, *beside)
    assert set(found) == set(STAGES)
    for stage, numbers in found.items():
        version = STAGES[stage].version
        filed = json.loads(golden_file(stage, version).read_text())
        assert filed["recipe"] == recipe_hash(finished.recipe), (
            "the shrunk recipe is another one than was recorded: `make golden`"
        )
        assert numbers == pytest.approx(filed["numbers"], rel=10**-DIGITS), (
            f"{stage} writes other numbers than v{version} recorded. If you meant it: @stage(version="
            f"{version + 1}), `make golden STAGE={stage}`, and a line under Numbers in CHANGELOG."
        )


def test_no_numbers_are_filed_for_a_version_that_is_gone():
    current = {golden_file(stage.name, stage.version).name for stage in STAGES.values()}
    assert {path.name for path in FOLDER.glob("*.json")} == current
