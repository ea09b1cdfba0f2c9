"""What a run came to: read back from the manifests of everything its report rests on."""

from collections import defaultdict
from dataclasses import dataclass
from graphlib import TopologicalSorter

from infra_core.store.artifact import Artifact
from infra_core.store.lineage import ancestors
from infra_core.store.store import ArtifactStore
from tasks._stage import RunContext


@dataclass(frozen=True)
class StageOutcome:
    """One artifact of a run: where it is, whether this run built it, what that took, which arm's it is."""

    stage: str
    uri: str
    built: bool
    seconds: float
    label: str = ""


@dataclass(frozen=True)
class Outcome:
    """A finished run of the recipe `name`; of its stages inputs come before what is made of them."""

    name: str
    report: Artifact
    stages: tuple[StageOutcome, ...]
    seconds: float

    @property
    def built(self) -> int:
        """Artifacts that this run built, wholly or in part."""
        return sum(entry.built for entry in self.stages)

    @property
    def page(self) -> str:
        """Where the page for a person is: of a browser, but that of a validation is text."""
        return f"{self.report.uri}/report.{'html' if self.report.stage == 'report' else 'md'}"

    def as_json(self) -> dict[str, object]:
        """Return the object that `infra curate --json` ends with."""
        artifacts: dict[str, list[str]] = defaultdict(list)
        for entry in self.stages:
            artifacts[entry.stage].append(entry.uri)
        return {
            "report": f"{self.report.uri}/report.md",
            "numbers": f"{self.report.uri}/numbers.json",
            "artifacts": {stage: uris[0] if len(uris) == 1 else uris for stage, uris in artifacts.items()},
            "built": self.built,
            "reused": len(self.stages) - self.built,
            "seconds": round(self.seconds, 1),
        }


def outcome(ctx: RunContext, name: str, report: Artifact, seconds: float) -> Outcome:
    """Walk the lineage of a report; a manifest that another run signed was reused."""
    labels = _labels(ctx.store, report)
    # But for ancestors that were removed since.
    there = {found.key: found for _, found in ancestors(ctx.store, report) if isinstance(found, Artifact)}
    manifests = {key: ctx.store.manifest(artifact) for key, artifact in there.items()}
    inputs_first = TopologicalSorter({key: manifest.inputs.values() for key, manifest in manifests.items()})
    stages = [
        StageOutcome(
            there[key].stage,
            there[key].uri,
            manifests[key].provenance.get("run") == ctx.run_id,
            manifests[key].seconds,
            labels.get(key, ""),
        )
        for key in inputs_first.static_order()
        if key in there
    ]
    return Outcome(name, report, tuple(stages), seconds)


def _labels(store: ArtifactStore, report: Artifact) -> dict[str, str]:
    """Return what a report calls the artifacts it rests on, by key: pool, arm, or arm and training seed."""
    labels: dict[str, str] = {}
    for name, key in store.manifest(report).inputs.items():
        match name.split("."):
            case ["evaluations", arm, seed]:
                labels[key] = f"{arm} {seed}"
                exam = store.manifest(store.at(f"evaluate/{key}"))
                labels[exam.inputs["checkpoint"]] = labels[key]
            case ["mixtures", called] | ["found", ("corpus" | "reserve" | "benchmarks") as called]:
                labels[key] = called
    return labels
