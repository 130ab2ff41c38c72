"""Measures how well an encoding approximates MaxSim."""

from colbert_qdrant.evaluation.encodings.fde_report import fde_report
from colbert_qdrant.evaluation.encodings.plot import plot_recall
from colbert_qdrant.evaluation.encodings.report import FdeReport, SearchQuality

__all__ = ["FdeReport", "SearchQuality", "fde_report", "plot_recall"]
