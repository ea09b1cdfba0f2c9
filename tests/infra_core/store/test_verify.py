"""Whatever happens to a finished part, reading refuses it and `verify_store` finds it."""

import pytest

from infra_core.errors import DamageError, StoreError
from infra_core.store.store import ArtifactStore
from infra_core.store.verify import verify_store

CONTENT = {"0": b"some content", "deep/1": b"other content"}


def flip(content):
    return bytes([content[0] ^ 1]) + content[1:]


HARMS = {
    "bit flip": (flip, "sha256"),
    "truncation": (lambda content: content[:-1], "bytes"),
    "emptied": (lambda _: b"", "0 bytes"),
    "deletion": (lambda _: None, "is missing"),
}


def build_parts(out):
    for name in out.pending({name: {"row": name} for name in CONTENT}):
        with out.open(name) as file:
            file.write(CONTENT[name])


def harm_part(store, path, harm):
    files = store._files()
    content = harm(files.read(path))
    files.remove_file(path) if content is None else files.put_bytes(path, content)


@pytest.fixture(params=HARMS)
def harm(request):
    return HARMS[request.param]


def test_damage_is_found_named_and_mended_as_the_message_says(store, harm):
    damage, words = harm
    artifact = store.materialize("toy", 1, None, {}, build_parts, {})
    assert verify_store(store).damaged == []
    where = f"toy/{artifact.key}/deep/1"
    harm_part(store, where, damage)

    for read in (lambda: store.read(artifact, "deep/1"), lambda: store.fetch(artifact)):
        with pytest.raises(DamageError, match=f"{where} .*{words}.*; delete .* and run again"):
            read()
    report = verify_store(store)
    assert (report.artifacts, report.parts, len(report.damaged)) == (1, 2, 1)
    assert f"{store.root}/{where} " in report.damaged[0]
    assert store.read(artifact, "0") == CONTENT["0"]

    for name in (where, f"toy/{artifact.key}/manifest.json"):
        store._files().remove_file(name)
    store.materialize("toy", 1, None, {}, build_parts, {})
    assert verify_store(store).damaged == []


def test_damage_to_an_adopted_part_is_found_in_all_that_adopted_it(store, harm):
    damage, words = harm
    first, second = (store.materialize("toy", 1, {"run": run}, {}, build_parts, {}) for run in (1, 2))
    harm_part(store, f"toy/{first.key}/0", damage)
    with pytest.raises(DamageError, match=f"toy/{first.key}/0 .*{second.key}.*{words}"):
        store.read(second, "0")
    with pytest.raises(DamageError, match=words):
        store.fetch(second)
    report = verify_store(store)
    assert (report.artifacts, report.parts, len(report.damaged)) == (2, 4, 2)
    for name in (f"{first.key}/0", f"{first.key}/manifest.json", f"{second.key}/manifest.json"):
        store._files().remove_file(f"toy/{name}")
    for run in (2, 1):
        store.materialize("toy", 1, {"run": run}, {}, build_parts, {})
    assert verify_store(store).damaged == []


@pytest.mark.s3
def test_damage_on_an_object_store_is_found_as_well(seaweed):
    store = ArtifactStore(seaweed.url())
    artifact = store.materialize("toy", 1, None, {}, build_parts, {})
    assert verify_store(store).damaged == []
    for part, harm in (("0", "bit flip"), ("deep/1", "deletion")):
        harm_part(store, f"toy/{artifact.key}/{part}", HARMS[harm][0])
        with pytest.raises(DamageError, match=f"{artifact.key}/{part} .*{HARMS[harm][1]}"):
            store.read(artifact, part)
    assert len(verify_store(store).damaged) == 2


def test_a_damaged_manifest_is_found_and_the_rest_still_looked_at(store):
    _, second = (store.materialize("toy", 1, {"run": run}, {}, build_parts, {}) for run in (1, 2))
    store._files().put_bytes(f"toy/{second.key}/manifest.json", b'{"format": 1')
    report = verify_store(store)
    assert (report.artifacts, report.parts) == (2, 2)
    assert len(report.damaged) == 1
    assert f"toy/{second.key}/manifest.json is not JSON" in report.damaged[0]


def test_unfinished_artifacts_are_no_damage(store):
    store.materialize("toy", 1, None, {}, build_parts, {})
    with pytest.raises(ZeroDivisionError):
        store.materialize("toy", 2, None, {}, lambda out: [build_parts(out), 1 / 0], {})
    assert verify_store(store).damaged == []
    assert verify_store(store).artifacts == 1


def test_a_store_that_is_not_there_is_not_well(tmp_path):
    with pytest.raises(StoreError, match="there is no store at"):
        verify_store(ArtifactStore(str(tmp_path / "mistyped")))
