"""Defines a run: the documents that a search found for each query, with their scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from colbert_qdrant.config.checks import require_instance


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """The documents that a search found for each query of a test collection.

    Attributes:
        name: The name in tables and in run files.
        hits: For each query id, the score of each document by its id, as strings. A higher score is better.
    """

    name: str
    hits: Mapping[str, Mapping[str, float]]

    def __post_init__(self) -> None:
        require_instance("name", self.name, str, "the name of the run")
        require_instance("hits", self.hits, Mapping, "a dict of scores by document id, for each query id")
