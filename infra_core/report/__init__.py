"""What was asked, what happened and how sure that is, for people and as numbers."""

from infra_core.report.build import build
from infra_core.report.charts import draw, draw_stages
from infra_core.report.inputs import ReportInputs
from infra_core.report.page import write_page
from infra_core.report.traces import choose, pack

__all__ = ["ReportInputs", "build", "choose", "draw", "draw_stages", "pack", "write_page"]
