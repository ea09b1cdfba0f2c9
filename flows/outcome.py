"""What a run came to: read back from the manifests of everything its report rests on."""

from collections import defaultdict
from dataclasses import dataclass

from infra_core.store.artifact import Artifact
from infra_core.store.lineage import ancestors
from tasks._stage import RunContext


@dataclass(frozen=True)
class StageOutcome:
    """One artifact of a run: where it is, whether this run built it, and what building it took."""

    stage: str
    uri: str
    built: bool
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """A finished run of the recipe `name`."""

    name: str
    report: Artifact
    stages: tuple[StageOutcome, ...]
    seconds: float

    @property
    def built(self) -> int:
        """Artifacts that this run built, wholly or in part."""
        return sum(entry.built for entry in self.stages)

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
    stages = []
    for _, artifact in ancestors(ctx.store, report):
        if isinstance(artifact, str):  # an ancestor that was removed since
            continue
        manifest = ctx.store.manifest(artifact)
        built = manifest.provenance.get("run") == ctx.run_id
        stages.append(StageOutcome(artifact.stage, artifact.uri, built, manifest.seconds))
    return Outcome(name, report, tuple(stages), seconds)
