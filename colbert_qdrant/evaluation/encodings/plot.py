"""Plots recall against the number of candidates."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

from colbert_qdrant.config.checks import require_instance
from colbert_qdrant.errors import ConfigurationError, MissingExtraError
from colbert_qdrant.evaluation.encodings.report import FdeReport
from colbert_qdrant.shown import shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure
else:
    Figure = Any  # hints resolve without matplotlib, an optional extra that is slow to import


def plot_recall(reports: Mapping[str, FdeReport], path: str | Path | None = None) -> Figure:
    """Plot recall against the number of candidates.

    Each report has its own color. Lines are solid for exact search, and dashed for the graph.

    Args:
        reports: Reports by label.
        path: The file to save the plot to; its extension chooses PNG, SVG or PDF. By default, no file is written.

    Raises:
        ConfigurationError: If there is no report.
        MissingExtraError: If matplotlib is not installed.

    Example:
        >>> def compare(encoders, documents, queries):
        ...     reports = {name: fde_report(fde, documents, queries) for name, fde in encoders.items()}
        ...     return plot_recall(reports, "recall.svg")
    """
    require_instance("reports", reports, Mapping, "a dict, an FdeReport for each label")
    for label, report in reports.items():
        require_instance(f"reports[{shown(label)}]", report, FdeReport, "an FdeReport")
    require_instance("path", path, (str, PathLike, NoneType), "the path of a file")
    if not reports:
        raise ConfigurationError("reports is empty: pass a dict with an FdeReport for each label")
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("plot_recall needs matplotlib: pip install 'colbert-qdrant[plot]'") from error
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for number, (label, report) in enumerate(reports.items()):
        for quality, style, kind in ((report.exact, "-", "exact"), (report.graph, "--", "graph")):
            if quality is not None:
                depths, shares = list(quality.recall), list(quality.recall.values())
                axes.plot(depths, shares, style, color=f"C{number}", marker=".", label=f"{label}, {kind}")
    depths = sorted({depth for report in reports.values() for depth in report.exact.recall})
    axes.set_xscale("log")
    axes.set_xticks(depths, [str(depth) for depth in depths], minor=False)
    axes.set_xticks([], minor=True)
    axes.set_xlabel("candidates")
    axes.set_ylabel("recall of the exact MaxSim top 10")
    axes.grid(alpha=0.3)
    axes.legend()
    if path is not None:
        figure.savefig(path)
    return figure
