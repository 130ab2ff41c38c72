"""Adds up the reports of all tasks of a write."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import fields
from typing import Any, Final

from colbert_qdrant.documents import IngestReport
from colbert_qdrant.shown import counted

_LOG: Final = logging.getLogger(__name__)


def total(reports: Iterable[IngestReport], *, stored: int | None, seconds: float) -> IngestReport:
    """Return the sum of the reports.

    Args:
        reports: The report of every task.
        stored: The number of documents in the collection, if it was empty before; ``None`` otherwise. It tells how many
            ids were in several tasks.
        seconds: The wall time of the whole write.
    """
    sums: dict[str, Any] = {each.name: 0 for each in fields(IngestReport)} | {"rejected": ()}
    for report in reports:
        sums = {name: value + getattr(report, name) for name, value in sums.items()}
    doubled = 0 if stored is None else max(0, sums["documents"] - stored)
    if doubled:
        _LOG.warning(
            "%s an id that another task wrote, too, and it is not determined which document is stored: make ids unique",
            counted(doubled, "document", "have"),
        )
    sums |= {
        "documents": sums["documents"] - doubled,
        "replaced": sums["replaced"] + doubled,
        "seconds": seconds,
    }
    return IngestReport(**sums)
