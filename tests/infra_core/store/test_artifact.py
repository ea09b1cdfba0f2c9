"""Manifests are read back as written, and anything else is refused by name."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra_core.errors import DamageError
from infra_core.store.artifact import Manifest, check_name

WHERE = "file:///store/toy/0123456789abcdef/manifest.json"

shas = st.integers(0, 16**64 - 1).map("{:064x}".format)
names = st.integers(0, 99).map("{}/x.parquet".format) | st.sampled_from(["z", "a-b_c", "0.bin", "deep/er/é"])
parts = st.dictionaries(
    names,
    st.fixed_dictionaries(
        {"sha256": shas, "bytes": st.integers(0, 2**40)},
        optional={"at": names.map(lambda name: f"toy/{'0' * 16}/{name}")},
    ),
    max_size=5,
)


def manifest(given_parts=None):
    return Manifest(
        "toy", 1, "0123456789abcdef", {"a": 1}, {"corpus": "0" * 16}, given_parts or {}, {"host": "h"}, 0.5
    )


@given(parts)
def test_a_manifest_is_read_back_as_written(given_parts):
    assert Manifest.from_json(manifest(given_parts).to_json(), WHERE) == manifest(given_parts)


@given(parts)
def test_parts_are_sorted_and_the_file_says_its_format(given_parts):
    text = manifest(dict(reversed(given_parts.items()))).to_json()
    assert json.loads(text)["format"] == 1
    assert list(Manifest.from_json(text, WHERE).parts) == sorted(given_parts)


@given(st.integers(0, 10_000))
def test_a_manifest_that_is_cut_short_is_damage(length):
    text = manifest({"a": {"sha256": "0" * 64, "bytes": 1}}).to_json().strip()
    with pytest.raises(DamageError, match=WHERE):
        Manifest.from_json(text[: length % len(text)], WHERE)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda fields: fields.update(format=2), "has manifest format 2, this version reads 1"),
        (lambda fields: fields.pop("format"), "has manifest format None"),
        (lambda fields: fields.pop("inputs"), r"fields \['inputs'\]"),
        (lambda fields: fields.update(extra=1), r"fields \['extra'\]"),
        (lambda fields: fields.update(version="1"), "has version = '1'"),
        (lambda fields: fields.update(version=True), "has version = 'True'"),
        (lambda fields: fields.update(key="../../etc"), "has key"),
        (lambda fields: fields.update(stage=".."), "has stage"),
        (lambda fields: fields.update(inputs={"a": 1}), "has inputs"),
        (lambda fields: fields.update(parts=["a"]), "has parts"),
        (lambda fields: fields.update(parts={"a": {"bytes": 1}}), "no sha256 and bytes for the part 'a'"),
        (lambda fields: fields.update(parts={"a": {"bytes": -1, "sha256": "0" * 64}}), "for the part 'a'"),
        (lambda fields: fields.update(parts={"a": {"bytes": 1, "sha256": "0"}}), "for the part 'a'"),
        (
            lambda fields: fields.update(parts={"../a": {"bytes": 1, "sha256": "0" * 64}}),
            "the part name '../a'",
        ),
        (
            lambda fields: fields.update(parts={"a": {"bytes": 1, "sha256": "0" * 64, "at": "/etc/passwd"}}),
            "points to",
        ),
        (
            lambda fields: fields.update(
                parts={"a": {"bytes": 1, "sha256": "0" * 64, "at": f"toy/{'0' * 16}/../../../x"}}
            ),
            "the part name",
        ),
    ],
)
def test_a_manifest_of_another_shape_is_damage_and_named(edit, said):
    fields = json.loads(manifest().to_json())
    edit(fields)
    with pytest.raises(DamageError, match=f"{WHERE} .*{said}.*delete it and run again"):
        Manifest.from_json(json.dumps(fields), WHERE)


@pytest.mark.parametrize("text", [b"\xff\xfe", "[]", "null", "7", "", "[" * 100_000])
def test_what_is_no_manifest_at_all_is_damage(text):
    with pytest.raises(DamageError, match=WHERE):
        Manifest.from_json(text, WHERE)


@pytest.mark.parametrize(
    "name",
    ["", "/a", "a//b", "a/", "..", "a/../b", ".hidden", "a/.b", "manifest.json", "a\\b", "a\nb", "a?b", "a*"],
)
def test_names_that_leave_hide_or_shadow_are_refused(name):
    with pytest.raises(ValueError, match="part"):
        check_name(name)


@pytest.mark.parametrize("name", ["a", "a/b/c.parquet", "a..b", "deep/manifest.json", "é ü.bin", "a-1_2.x"])
def test_other_names_are_fine(name):
    check_name(name)
