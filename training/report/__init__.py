"""An evaluation as one HTML file that can be read on screen and on paper."""

from training.report.report import ReportContent, write_report

__all__ = ["ReportContent", "write_report"]
