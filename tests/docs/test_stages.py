"""The table of stages in docs/architecture.md is the stages of the code: names, versions and inputs."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import tasks
from tasks._stage import STAGES, Stage

ARCHITECTURE = Path(__file__).parents[2] / "docs" / "architecture.md"


def documented() -> dict[str, tuple[str, set[str]]]:
    """Name → version and inputs, from the table's rows: `| name | version | inputs | …`."""
    section = ARCHITECTURE.read_text().split("\n## Stages\n")[1].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line[:1] == "|"
    ]
    return {
        row[0].strip("`"): (row[1], set(re.findall(r"`(\w+)`", row[2])))
        for row in rows
        if re.fullmatch(r"`\w+`", row[0])
    }


def built() -> dict[str, Stage]:
    """Every stage of the package; not those that other tests make up."""
    for module in pkgutil.iter_modules(tasks.__path__):
        importlib.import_module(f"tasks.{module.name}")
    return {name: stage for name, stage in STAGES.items() if stage.fn.__module__.startswith("tasks.")}


def inputs(stage: Stage) -> set[str]:
    """What a stage takes beside context, folder and params."""
    return set(inspect.signature(stage.fn).parameters) - {"ctx", "out", "params"}


def test_every_stage_is_in_the_table_and_nothing_else():
    assert set(documented()) == set(built())


def test_the_table_gives_every_stage_its_version():
    stated = {name: version for name, (version, _) in documented().items()}
    assert stated == {name: str(stage.version) for name, stage in built().items()}


def test_the_table_gives_every_stage_its_inputs():
    stated = {name: given for name, (_, given) in documented().items()}
    assert stated == {name: inputs(stage) for name, stage in built().items()}
