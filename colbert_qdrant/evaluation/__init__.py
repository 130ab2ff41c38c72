"""Measures the quality of encodings and searches on test collections, or on your own documents and queries."""

from colbert_qdrant.evaluation.cards.card_report import CardFigure, CardReport
from colbert_qdrant.evaluation.comparison import compare
from colbert_qdrant.evaluation.comparison_report import Comparison, Difference
from colbert_qdrant.evaluation.datasets import RetrievalDataset
from colbert_qdrant.evaluation.encodings import FdeReport, SearchQuality, fde_report, plot_recall
from colbert_qdrant.evaluation.evaluate import Evaluate, evaluate
from colbert_qdrant.evaluation.metrics.evaluated_run import EvaluatedRun
from colbert_qdrant.evaluation.result import Evaluation
from colbert_qdrant.evaluation.runs.run import Run

__all__ = [
    "CardFigure",
    "CardReport",
    "Comparison",
    "Difference",
    "Evaluate",
    "EvaluatedRun",
    "Evaluation",
    "FdeReport",
    "RetrievalDataset",
    "Run",
    "SearchQuality",
    "compare",
    "evaluate",
    "fde_report",
    "plot_recall",
]
