"""Measures the quality of an encoding on your own documents and queries."""

from colbert_qdrant.evaluate.fde_report import fde_report
from colbert_qdrant.evaluate.plot import plot_recall
from colbert_qdrant.evaluate.report import FdeReport, SearchQuality

__all__ = ["FdeReport", "SearchQuality", "fde_report", "plot_recall"]
