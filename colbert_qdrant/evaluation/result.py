"""Defines the result of an evaluation."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from os import PathLike
from pathlib import Path
from types import NoneType
from typing import Any, Final, Self

from colbert_qdrant.config.checks import given_path, require_bool, require_instance
from colbert_qdrant.edge.files import write_file
from colbert_qdrant.errors import ConfigurationError, DatasetError
from colbert_qdrant.evaluation.metrics.evaluated_run import EvaluatedRun
from colbert_qdrant.evaluation.metrics.intervals import mean_of_means_interval
from colbert_qdrant.evaluation.state import file_name, writable, write_run_file
from colbert_qdrant.evaluation.tables import tables
from colbert_qdrant.shown import shown

_FORMAT: Final = 1


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that decide an evaluation, by name."""
    found = {}
    for name in ("colbert-qdrant", "ir-measures", "qdrant-client", "qdrant-edge-py"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _runs(data: Mapping[str, Any]) -> tuple[EvaluatedRun, ...]:
    if not data["runs"]:
        raise ValueError("it has no runs")
    return tuple(
        EvaluatedRun(
            dataset=run["dataset"],
            mode=run["mode"],
            run=None,
            values={metric: _numbers(run["values"][metric]) for metric in data["metrics"]},
            milliseconds=run["milliseconds"],
        )
        for run in data["runs"]
    )


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    made = {query: float(value) for query, value in dict(values).items()}
    if not made or not all(map(math.isfinite, made.values())):
        raise ValueError("a metric has no values, or one that is not a finite number")
    return made


def _listed(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else [*interval]


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """The quality of each mode on each data set; ``str()`` formats it as a table.

    ``evaluation["two-stage"]`` is the run of a mode on the only data set.

    Attributes:
        target: The model or the collection that was measured.
        metrics: The names of the metrics, in the order of the table.
        runs: The measured runs, by data set and mode.
        skipped: For each mode that was not measured, the reason.
        folder: The folder with the run files; ``None`` if nothing was written.
        candidates: Number of documents that the first stage passed to MaxSim; ``None`` for a run that was passed.
        depth: Number of hits per query; ``None`` for a run that was passed.
        versions: The versions of the packages that measured.
    """

    target: str
    metrics: tuple[str, ...]
    runs: tuple[EvaluatedRun, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    candidates: int | None = None
    depth: int | None = None
    versions: Mapping[str, str] = field(default_factory=package_versions)

    @property
    def datasets(self) -> tuple[str, ...]:
        """The names of the data sets, in order."""
        return tuple(dict.fromkeys(run.dataset for run in self.runs))

    @property
    def modes(self) -> tuple[str, ...]:
        """The measured modes, in order."""
        return tuple(dict.fromkeys(run.mode for run in self.runs))

    def run(self, mode: str, dataset: str | None = None) -> EvaluatedRun:
        """Return the run of a mode on a data set, which may be left out if there is only one.

        Raises:
            ConfigurationError: If there is no such run, or there are several data sets.
        """
        require_instance("mode", mode, str, "the name of a mode or of a run")
        require_instance("dataset", dataset, (str, NoneType), "the name of a data set")
        if dataset is None and len(self.datasets) > 1:
            raise ConfigurationError(f"there are several data sets: name one of {', '.join(map(repr, self.datasets))}")
        for run in self.runs:
            if run.mode == mode and dataset in (None, run.dataset):
                return run
        where = "" if dataset is None else f" on {shown(dataset)}"
        known = ", ".join(f"{run.mode!r} on {run.dataset!r}" for run in self.runs)
        raise ConfigurationError(f"there is no run of {shown(mode)}{where}: there is {known}")

    def __getitem__(self, mode: str) -> EvaluatedRun:
        """Return the run of a mode on the only data set; see `run`."""
        return self.run(mode)

    def mean(self, metric: str, mode: str, dataset: str | None = None) -> float:
        """Return the mean of a metric over the queries of a data set, or the mean of the means of all data sets.

        Raises:
            ConfigurationError: If the metric was not measured, or there is no such run.
        """
        names = self.datasets if dataset is None else [dataset]
        return sum(self.run(mode, name).mean(metric) for name in names) / len(names)

    def interval(self, metric: str, mode: str, dataset: str | None = None) -> tuple[float, float] | None:
        """Return the 95 % interval of `mean`, by a bootstrap over the queries of each data set.

        It is ``None`` if each data set has a single query.

        Raises:
            ConfigurationError: If the metric was not measured, or there is no such run.
        """
        names = self.datasets if dataset is None else [dataset]
        return mean_of_means_interval([self.run(mode, name).of(metric).values() for name in names])

    def __str__(self) -> str:
        parts = [each.text() for each in tables(self, details=False)]
        return "\n\n".join([*parts, *([self._skipped()] if self.skipped else [])])

    def to_markdown(self, *, details: bool = False) -> str:
        """Return the tables in Markdown, for a model card.

        Args:
            details: Whether there is a table for each of several data sets with many metrics.
        """
        require_bool("details", details)
        return "\n\n".join(each.markdown() for each in tables(self, details=details)) + "\n"

    def _repr_markdown_(self) -> str:  # shown by notebooks
        return self.to_markdown()

    def _skipped(self) -> str:
        return "\n".join(f"not measured: {mode} ({reason})" for mode, reason in self.skipped.items())

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the hits as JSON values."""
        return {
            "format": _FORMAT,
            "target": self.target,
            "metrics": [*self.metrics],
            "candidates": self.candidates,
            "depth": self.depth,
            "versions": dict(self.versions),
            "skipped": dict(self.skipped),
            "folder": None if self.folder is None else str(self.folder),
            "runs": [self._of_run(run) for run in self.runs],
        }

    def _of_run(self, run: EvaluatedRun) -> dict[str, Any]:
        return {
            "dataset": run.dataset,
            "mode": run.mode,
            "queries": run.queries,
            "milliseconds": run.milliseconds,
            "means": {metric: run.mean(metric) for metric in self.metrics},
            "intervals": {metric: _listed(run.interval(metric)) for metric in self.metrics},
            "values": {metric: dict(run.values[metric]) for metric in self.metrics},
        }

    def to_json(self, path: str | PathLike[str]) -> None:
        """Write `to_dict` to a file, which `load` reads.

        Raises:
            ConfigurationError: If ``path`` is no path.
            EngineError: If the file cannot be written.
        """
        write_file(given_path("path", path), json.dumps(self.to_dict(), allow_nan=False, indent=1).encode())

    def write_runs(self, folder: str | PathLike[str]) -> None:
        """Write a run file for each data set and mode, such as ``scifact.two-stage.run``, into a folder.

        Raises:
            ConfigurationError: If ``folder`` is no path, or the evaluation was read from a file, which has no hits.
            EngineError: If a file cannot be written.
        """
        place = given_path("folder", folder, "the path of a folder")
        if any(run.run is None for run in self.runs):
            raise ConfigurationError("the evaluation was read from a file, which has no hits: evaluate again")
        with writable(place):
            place.mkdir(parents=True, exist_ok=True)
        for run in self.runs:
            if run.run is not None:
                named = replace(run.run, name=run.mode)
                write_run_file(named, place, prefix=f"{file_name(run.dataset)}.")

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read an evaluation that `to_json` wrote, without hits, to show it or to compare it with another one.

        Raises:
            DatasetError: If the file is missing, or is no such file.
        """
        file = given_path("path", path)
        try:
            data = dict(json.loads(file.read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            raise DatasetError(f"{path} cannot be read as an evaluation ({error}): pass a file of to_json") from error
        try:
            return cls.from_dict(data)
        except DatasetError as error:
            raise DatasetError(f"{path}: {error}") from error

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make an evaluation of the dict that `to_dict` returned.

        Raises:
            DatasetError: If it is no such dict, or a newer version made it.
        """
        require_instance("data", data, Mapping, "a dict from to_dict()")
        if data.get("format") != _FORMAT:
            raise DatasetError(
                f"format {shown(data.get('format'))} of an evaluation is unknown: pass what to_dict returned, and "
                "upgrade colbert-qdrant if a newer version made it"
            )
        try:
            return cls(
                target=data["target"],
                metrics=tuple(data["metrics"]),
                runs=_runs(data),
                skipped=dict(data["skipped"]),
                folder=None if data["folder"] is None else Path(data["folder"]),
                candidates=data["candidates"],
                depth=data["depth"],
                versions=dict(data["versions"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(f"the evaluation is incomplete ({error!r}): pass what to_dict returned") from error
