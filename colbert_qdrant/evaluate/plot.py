"""Draws recall against candidates."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

from colbert_qdrant.config.checks import require_instance
from colbert_qdrant.errors import ConfigurationError, MissingExtraError
from colbert_qdrant.evaluate.report import FdeReport
from colbert_qdrant.shown import shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure
else:
    Figure = Any  # hints resolve where matplotlib, an optional extra, is not installed, and nobody waits for it


def plot_recall(reports: Mapping[str, FdeReport], path: str | Path | None = None) -> Figure:
    """Draw recall against candidates, one colour for each report: exact search solid, the graph dashed.

    Args:
        reports: Label → report.
        path: The file to save it to, as PNG, SVG or PDF by the name's ending; by default none.

    Raises:
        ConfigurationError: There is no report.
        MissingExtraError: matplotlib is not installed.

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
        raise ConfigurationError("there is no report to draw: pass a label and an FdeReport for each")
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("plots are drawn by matplotlib: pip install 'colbert-qdrant[plot]'") from error
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
