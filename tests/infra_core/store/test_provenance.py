"""What is recorded about the making of an artifact, and what is not."""

import subprocess
from pathlib import Path

from infra_core.store.provenance import provenance

REPOSITORY = Path(__file__).parents[3]


def test_it_names_code_packages_and_machine():
    found = provenance()
    assert {"python", "platform", "hostname", "cpu_count", "torch", "transformers", "polars"} <= set(found)
    assert all(isinstance(value, str) and value for value in found.values())


def test_it_names_the_commit_of_a_checkout():
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    if head.returncode == 0:
        assert provenance()["git_commit"] == head.stdout.strip()
        assert provenance()["git_dirty"] in {"true", "false"}


def test_no_value_of_the_environment_gets_in(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-of-ours")
    monkeypatch.setenv("HF_TOKEN", "hf_a-secret-of-ours")
    assert not any("a-secret-of-ours" in value for value in provenance().values())
