"""Charts of a report, drawn from nothing but its numbers: what a chart shows can be looked up."""

from infra_core.report.charts.drawn import Drawn, draw, draw_stages

__all__ = ["Drawn", "draw", "draw_stages"]
