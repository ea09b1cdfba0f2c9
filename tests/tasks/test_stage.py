"""`@stage` turns a plain function into something remembered."""

import threading
from dataclasses import replace

import pytest
from prefect import flow
from prefect.states import State
from prefect.testing.utilities import prefect_test_harness

from infra_core.errors import DataError, StoreError
from infra_core.recipe import Params
from infra_core.store.artifact import Artifact
from infra_core.store.store import ArtifactStore
from tasks._stage import STAGES, RunContext, flatten_inputs, outcome, placed, stage

SECRET = "hf_a-secret-of-ours"


class ToyParams(Params):
    text: str


@pytest.fixture
def toy(monkeypatch):
    """A stage that counts how often its function ran; the registry is put back afterwards."""
    monkeypatch.setattr("tasks._stage.STAGES", dict(STAGES))
    ran = []

    @stage(version=1)
    def toy(ctx, out, *, params):
        ran.append(params.text)
        if params.text == "bad":
            raise DataError("row 3 of a.jsonl has no prompt; map one")
        if params.text == "full":
            raise RuntimeError("Traceback:\n  I/O error: No space left on device (os error 28)\nAborted")
        if params.text == "told":
            raise RuntimeError(f"401 for {SECRET}")
        with out.open("text") as file:
            file.write(params.text.encode())

    toy.fn.ran = ran
    return toy


@pytest.fixture
def ctx(tmp_path):
    return RunContext(ArtifactStore(str(tmp_path)), provenance={"run": "r1"})


def test_a_stage_builds_once_and_then_reads_as_reused(toy, ctx):
    first = toy(ctx, params=ToyParams(text="a"))
    again = toy.task.fn(ctx, params=ToyParams(text="a"))
    assert isinstance(again, State)
    assert again.name == "Reused"
    assert outcome(again) == first
    assert toy.fn.ran == ["a"]
    assert ctx.store.read(first, "text") == b"a"


def test_other_params_are_another_artifact(toy, ctx):
    assert toy(ctx, params=ToyParams(text="a")).key != toy(ctx, params=ToyParams(text="b")).key


def test_where_a_run_happens_moves_no_key(toy, ctx, tmp_path):
    elsewhere = RunContext(ArtifactStore(str(tmp_path / "other")), micro_batch_tokens=7, save_seconds=1.0)
    assert toy(ctx, params=ToyParams(text="a")).key == toy(elsewhere, params=ToyParams(text="a")).key


def test_what_a_person_can_mend_is_raised_as_it_is_and_leaves_no_artifact(toy, ctx):
    with pytest.raises(DataError, match="has no prompt; map one"):
        toy(ctx, params=ToyParams(text="bad"))
    assert list(ctx.store.artifacts()) == []


def test_a_full_disk_is_said_in_a_sentence_whichever_library_met_it(toy, ctx):
    with pytest.raises(StoreError, match="free some space and run again") as caught:
        toy(ctx, params=ToyParams(text="full"))
    assert "(I/O error: No space left on device (os error 28))" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert placed(caught.value).startswith("stage toy: a disk of this machine is full")


def test_the_state_of_a_failed_stage_tells_no_secret_though_a_library_quotes_one(toy, ctx, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    state = toy.task.fn(ctx, params=ToyParams(text="told"))
    assert state.is_failed()
    assert state.message == "stage toy: 401 for <HF_TOKEN>"
    with pytest.raises(RuntimeError):
        outcome(state)


def test_the_manifest_says_which_run_built_it(toy, ctx):
    artifact = toy(ctx, params=ToyParams(text="a"))
    assert ctx.store.manifest(artifact).provenance["run"] == ctx.run_id == "r1"


def test_inputs_are_artifacts_however_deep_and_nothing_else():
    """The type of an argument decides its role; None is no input."""
    one, two = Artifact("a", "0" * 16, "u"), Artifact("b", "1" * 16, "u")
    given = {"corpus": one, "arms": {"flip": {"0": two}}, "reserve": None, "params": ToyParams(text="a")}
    assert dict(flatten_inputs(given)) == {"corpus": one, "arms.flip.0": two}


@pytest.mark.slow
def test_mapped_calls_share_a_number_of_places_and_one_that_fails_does_not_stop_the_others(
    toy, ctx, monkeypatch
):
    running, most, both = set(), [], threading.Barrier(2, timeout=60)
    built = toy.fn

    def watched(ctx, out, *, params):
        running.add(params.text)
        most.append(len(running))
        if params.text in {"a", "bad"}:
            both.wait()  # passes only if the two are under way together
        try:
            built(ctx, out, params=params)
        finally:
            running.discard(params.text)

    monkeypatch.setattr("tasks._stage.STAGES", dict(STAGES))
    watched.__name__ = "toy"
    mapped = stage(version=1)(watched)

    @flow
    def several():
        calls = {text: {"params": ToyParams(text=text)} for text in ("a", "bad", "b", "c")}
        mapped.map(replace(ctx, at_once=2), calls)

    with (
        prefect_test_harness(server_startup_timeout=120),
        pytest.raises(DataError, match="no prompt; map one"),
    ):
        several()
    assert max(most) == 2
    assert sorted(toy.fn.ran) == ["a", "b", "bad", "c"]
    assert len(list(ctx.store.artifacts())) == 3
