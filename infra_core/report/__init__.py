"""What was asked, what happened and how sure that is, for people and as numbers."""

from infra_core.report.build import build
from infra_core.report.inputs import ReportInputs

__all__ = ["ReportInputs", "build"]
