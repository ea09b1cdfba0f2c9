"""What was asked, what happened and how sure that is, for people and as numbers."""

from infra_core.report.build import build
from infra_core.report.charts import draw, draw_stages
from infra_core.report.inputs import ReportInputs
from infra_core.report.page import write_page

__all__ = ["ReportInputs", "build", "draw", "draw_stages", "write_page"]
