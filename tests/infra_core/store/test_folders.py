"""Mid-stage state: whole or not at all, the newest only, and gone when the artifact is finished."""

import pytest

from infra_core.store.files import Files
from infra_core.store.folders import DONE, latest_state, save_state


@pytest.fixture
def checkpoint(tmp_path):
    def make(text):
        folder = tmp_path / "checkpoint"
        (folder / "rng").mkdir(parents=True, exist_ok=True)
        (folder / "weights").write_text(text)
        (folder / "rng/0").write_text(text)
        return folder

    return make


def test_a_resumed_build_finds_the_newest_state(any_store, checkpoint):
    """A build that saves and dies twice; the third finds the second's state, and nothing of it is left."""
    found = []

    def build(out):
        state = out.latest_state()
        found.append(
            state and (state[0], (state[1] / "weights").read_text(), (state[1] / "rng/0").read_text())
        )
        if len(found) < 3:
            out.save_state(f"step-{len(found)}", checkpoint(f"weights {len(found)}"))
            assert out.parts() == []
            raise RuntimeError("preempted")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="preempted"):
            any_store.materialize("toy", 1, None, {}, build, {})
    artifact = any_store.materialize("toy", 1, None, {}, build, {})
    assert found == [None, ("step-1", "weights 1", "weights 1"), ("step-2", "weights 2", "weights 2")]
    assert list(any_store._files().sizes(f"toy/{artifact.key}")) == ["manifest.json"]


def test_only_the_newest_is_kept(any_store, checkpoint, tmp_path):
    files = Files.under(any_store.root)
    for step in range(3):
        save_state(files, "state", f"step-{step}", checkpoint(str(step)))
    assert sorted(files.sizes("state")) == [
        "000003-step-2.done",
        "000003-step-2/rng/0",
        "000003-step-2/weights",
    ]


def test_a_save_that_was_killed_is_not_seen(store, checkpoint, tmp_path):
    """The files are there and the record is not."""
    files = Files.under(store.root)
    save_state(files, "state", "whole", checkpoint("1"))
    files.put_bytes("state/000002-half/weights", b"2")
    name, folder = latest_state(files, "state", tmp_path / "scratch")
    assert (name, (folder / "weights").read_text()) == ("whole", "1")
    save_state(files, "state", "next", checkpoint("3"))
    assert {path.split("/")[0].removesuffix(DONE) for path in files.sizes("state")} == {"000003-next"}


@pytest.mark.parametrize("harm", [lambda f, n: f.remove_file(n), lambda f, n: f.put_bytes(n, b"?")])
@pytest.mark.parametrize("file", ["000001-one/weights", "000001-one.done"])
def test_a_damaged_state_is_passed_over_with_a_warning(store, checkpoint, tmp_path, caplog, harm, file):
    files = Files.under(store.root)
    save_state(files, "state", "one", checkpoint("1"))
    if file.endswith(DONE):
        files.put_bytes(f"state/{file}", b'{"name": "one"')
    else:
        harm(files, f"state/{file}")
    assert latest_state(files, "state", tmp_path / "scratch") is None
    assert "damaged" in caplog.text
