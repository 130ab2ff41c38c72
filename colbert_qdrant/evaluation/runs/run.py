"""Defines a run: the documents that a search found for each query, with their scores."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Self

from colbert_qdrant._support.values import plain
from colbert_qdrant.config.checks import items_of, require_file_path, require_instance
from colbert_qdrant.documents import SearchHit
from colbert_qdrant.errors import ConfigurationError, DatasetError
from colbert_qdrant.evaluation.runs.run_files import read_run, write_run
from colbert_qdrant.shown import kind_of, listed, shown


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """The documents that a search found for each query of a test collection.

    Attributes:
        name: The name in tables and in run files.
        hits: For each query id, the score of each document by its id, as strings. A higher score is better.

    Raises:
        DatasetError: If an id is not a string, or a score is not a finite number.
        ConfigurationError: If the name is no string, or the hits cannot be read as dicts.

    Example:
        >>> run = Run(name="mine", hits={"q1": {"ferry": 2.5, "bridge": 1.0}})
        >>> len(run.hits["q1"])
        2
    """

    name: str
    hits: Mapping[str, Mapping[str, float]] = field(repr=False)

    def __post_init__(self) -> None:
        require_instance("name", self.name, str, "the name of the run")
        require_instance("hits", self.hits, Mapping, "a dict of scores by document id, for each query id")
        hits = {_id("query", query): _scores(query, scores) for query, scores in items_of("hits", self.hits)}
        object.__setattr__(self, "hits", hits)

    @classmethod
    def read(cls, path: str | PathLike[str], *, name: str | None = None) -> Self:
        """Read a run file of any system.

        A line of TREC's format has the query id, ``Q0``, the document id, the rank, the score and a tag, separated by
        spaces or tabs. Scores decide the ranking, and ranks are ignored, as in trec_eval. A ``.json`` file has
        ``{query id: {document id: score}}``. Either file may be compressed with gzip or Zstandard.

        Args:
            path: The file.
            name: The name of the run; by default the tag of the file, or the name of a JSON file.

        Raises:
            DatasetError: If the file is missing, empty or wrong; the message names the line.
            MissingExtraError: If a ``.zst`` file needs pyarrow, and it is not installed.
        """
        require_file_path("path", path, "the path of a run file")
        if name is not None:
            require_instance("name", name, str, "the name of the run")
        file = Path(path)
        tag, hits = read_run(file)
        return cls(name=name or tag or file.name.partition(".")[0], hits=hits)

    def write(self, path: str | PathLike[str]) -> None:
        """Write a run file, whose scores are read back exactly: TREC's format, or JSON to a ``.json`` file.

        The lines of a query have the order in which trec_eval ranks them. A file that ends in ``.gz`` is compressed.
        A crash leaves no half-written file. TREC's format leaves out queries without hits, and the tag has ``-``
        instead of white space.

        Raises:
            ConfigurationError: If the path is wrong, or ends in ``.zst``.
            DatasetError: If an id has white space, which TREC's format cannot have.
            DiskFullError: If the disk is full.
            EngineError: If the file cannot be written.
        """
        require_file_path("path", path, "the path of a run file")
        write_run(Path(path), self.name, self.hits)

    @classmethod
    def from_hits(cls, name: str, hits: Mapping[str, Iterable[SearchHit]]) -> Self:
        """Make a run of the hits of searches.

        Args:
            name: The name of the run.
            hits: The hits of each query by its id. The ids of documents become strings.

        Raises:
            ConfigurationError: If hits are no `SearchHit`.
            DatasetError: If two documents of a query have one id as strings, such as ``1`` and ``"1"``.

        Example:
            >>> Run.from_hits("mine", {"q1": [SearchHit(id=7, score=2.5)]}).hits
            {'q1': {'7': 2.5}}
        """
        require_instance("hits", hits, Mapping, "a dict of hits by query id")
        return cls(name=name, hits={query: _by_id(query, found) for query, found in hits.items()})


def _by_id(query: object, hits: object) -> dict[str, float]:
    found = listed(hits)
    if found is None or not all(isinstance(hit, SearchHit) for hit in found):
        raise ConfigurationError(f"the hits of query {shown(query)} must be a list of SearchHit, got {shown(hits)}")
    scores: dict[str, float] = {}
    ids: dict[str, Any] = {}
    for hit in found:
        document = str(plain(hit.id))
        if document in scores:
            both = f"{shown(ids[document])} and {shown(hit.id)}, which are the same as strings"
            problem = f"the documents {both}" if ids[document] != hit.id else f"the document {shown(hit.id)} twice"
            raise DatasetError(f"query {shown(query)} has {problem}: give each document its own id")
        scores[document], ids[document] = hit.score, hit.id
    return scores


def _id(kind: str, value: object) -> str:
    made = plain(value)
    if not isinstance(made, str):
        raise DatasetError(f"{kind} id {shown(value)} is {kind_of(value)}: use strings, as in qrels")
    return made


def _scores(query: object, scores: object) -> Mapping[str, float]:
    if not isinstance(scores, Mapping):
        raise DatasetError(
            f"the hits of query {shown(query)} are {kind_of(scores)} {shown(scores)}: pass a dict of scores by document"
        )
    made = dict(items_of(f"the hits of query {shown(query)}", scores))
    if {*map(type, made)} <= {str} and {*map(type, made.values())} <= {float} and _are_finite(made.values()):
        return made
    return {_id("document", document): _score(query, document, score) for document, score in made.items()}


def _score(query: object, document: object, score: object) -> float:
    made = plain(score)
    if isinstance(made, int | float) and not isinstance(made, bool):
        try:
            made = float(made)
        except OverflowError:
            made = math.inf
        if math.isfinite(made):
            return made
    raise DatasetError(
        f"the score of document {shown(document)} for query {shown(query)} is {shown(score)}: pass a finite number"
    )


def _are_finite(scores: Iterable[float]) -> bool:
    return all(map(math.isfinite, scores))
