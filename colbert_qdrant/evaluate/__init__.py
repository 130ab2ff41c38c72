"""Measures how good an encoding is, on documents and queries of one's own."""

from colbert_qdrant.evaluate.fde_report import fde_report
from colbert_qdrant.evaluate.plot import plot_recall
from colbert_qdrant.evaluate.report import FdeReport, SearchQuality

__all__ = ["FdeReport", "SearchQuality", "fde_report", "plot_recall"]
