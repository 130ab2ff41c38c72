"""Measures the quality of the modes of search on test collections."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Final

from colbert_qdrant._support.progress import ProgressReporter, require_progress
from colbert_qdrant._support.values import plain
from colbert_qdrant.collection import ColbertCollection
from colbert_qdrant.config import CollectionConfig
from colbert_qdrant.config.checks import require_instance, require_int
from colbert_qdrant.edge.names import store_folder
from colbert_qdrant.encoders import LateInteractionEncoder
from colbert_qdrant.errors import ConfigurationError, DatasetError
from colbert_qdrant.evaluation.cards.card import measure_card
from colbert_qdrant.evaluation.cards.card_report import CardReport
from colbert_qdrant.evaluation.cards.published import BEIR_SETS
from colbert_qdrant.evaluation.datasets import DatasetSource, RetrievalDataset, load_datasets
from colbert_qdrant.evaluation.metrics.evaluated_run import EvaluatedRun
from colbert_qdrant.evaluation.metrics.measures import check_metrics, depth_of, measure_run
from colbert_qdrant.evaluation.modes import MODES, check_modes, choose_modes, need_tokens
from colbert_qdrant.evaluation.query_tokens import encode_queries
from colbert_qdrant.evaluation.result import Evaluation, package_versions
from colbert_qdrant.evaluation.runs.run import Run
from colbert_qdrant.evaluation.searching import Searches
from colbert_qdrant.evaluation.state import Identity, Workspace, cache_folder, digest, file_name
from colbert_qdrant.evaluation.targets import Target, identity_of, make_target, stores_passages, with_encoder
from colbert_qdrant.search.options import SearchMode
from colbert_qdrant.shown import shown

_METRICS: Final = ("nDCG@10", "RR@10", "R@100")


class Evaluate:
    """Measures the quality of every mode of search on test collections; call it as ``evaluate(target, dataset)``."""

    def __call__(
        self,
        target: ColbertCollection | LateInteractionEncoder | str | PathLike[str] | Run,
        dataset: DatasetSource | Sequence[DatasetSource],
        *,
        modes: SearchMode | Sequence[SearchMode] | None = None,
        metrics: str | Sequence[str] = _METRICS,
        candidates: int = 100,
        depth: int = 100,
        config: CollectionConfig | None = None,
        split: str = "test",
        root: str | PathLike[str] | None = None,
        folder: str | PathLike[str] | None = None,
        progress: bool | ProgressReporter = True,
    ) -> Evaluation:
        """Measure the quality of every mode of search on one or several test collections.

        Nothing is written to a collection that you pass. For a model, an embedded collection is built from
        the documents of the data set, and kept in ``folder``. Queries are encoded once for all modes. After an
        interruption, the same call continues, and encodes nothing twice. After a crash, the documents continue at their
        last checkpoint.

        For a model, another call with the same documents searches only with the modes that are missing in ``folder``.
        A collection is measured again by every call, because its documents may have changed.

        Args:
            target: A `ColbertCollection` with the documents, an encoder, the name or folder of a ColBERT model, or a
                `Run` of any other system. If a collection stores passages, their best score is that of the document.
            dataset: A `RetrievalDataset`, the path of a BEIR folder, a name such as ``"scifact"`` or ``"NanoBEIR"``, or
                a list of these.
            modes: The modes to measure: ``"exact"``, ``"two-stage"``, ``"fde"``, ``"hybrid"`` and ``"bm25"``. By
                default, all that the collection can do; `Evaluation.skipped` names the others.
            metrics: Names of metrics, such as ``"nDCG@10"``, ``"RR@10"``, ``"R@100"`` or ``"nano-beir"``.
            candidates: Number of documents that the first stage passes to MaxSim.
            depth: Number of hits per query, at most ``candidates``.
            config: The settings of the collection that is built for a model; by default
                ``CollectionConfig(bm25=Bm25Config())``.
            split: The part of the queries, if the data set is a path or a name.
            root: The folder of local copies of data sets with names.
            folder: The folder for run files and progress; by default a folder in the user's cache. The environment
                variable ``COLBERT_QDRANT_CACHE`` moves the cache.
            progress: ``True`` for a progress bar in a terminal or a notebook, and log lines elsewhere. Or pass your own
                reporter.

        Raises:
            ConfigurationError: If a metric or a mode does not exist or cannot be measured, or an argument is wrong.
            DatasetError: If the data set has no judgments, or judges documents that do not exist.
            MissingExtraError: If a package of the extra ``evaluate`` is not installed.
            DiskFullError: If the disk of ``folder`` is full.

        Example:
            >>> dataset = RetrievalDataset(name="boats", queries={"q1": "?"}, qrels={"q1": {"a": 1}})
            >>> found = Run(name="mine", hits={"q1": {"b": 2.0, "a": 1.0}})
            >>> evaluate(found, dataset, metrics="RR@10")["mine"].mean("RR@10")
            0.5
        """
        require_progress(plain(progress))
        names = check_metrics(metrics)
        options = _Options(
            modes=check_modes(modes), candidates=plain(candidates), depth=plain(depth), progress=progress
        )
        if isinstance(target, Run):
            _require_none(modes=modes, config=config, folder=folder)
        else:
            options.check_depth(names)
        require_instance("config", config, (CollectionConfig, type(None)), "a CollectionConfig")
        place = None if folder is None else store_folder(folder)
        datasets = load_datasets(dataset, split=split, root=root)
        if isinstance(target, Run):
            return _evaluate_run(target, datasets, names)
        measured = make_target(target, config)
        return _evaluate_target(measured, datasets, names, options, place or _cache_folder(measured, config))

    def card(
        self,
        model: str | PathLike[str],
        datasets: DatasetSource | Sequence[DatasetSource] = BEIR_SETS,
        *,
        encoder: LateInteractionEncoder | None = None,
        root: str | PathLike[str] | None = None,
        candidates: int = 100,
        config: CollectionConfig | None = None,
        folder: str | PathLike[str] | None = None,
        progress: bool | ProgressReporter = True,
    ) -> CardReport:
        """Measure a model as a model card does, and show the figures beside the published ones.

        The card is that of ``NeuML/colbert-muvera-pico``. It has nDCG@10 of five models on three data sets of BEIR, by
        txtai's ``benchmarks.py``. For its own model, it has 15 metrics on NanoBEIR, by PyLate. Here, the modes
        ``"exact"``, ``"two-stage"`` and ``"fde"`` measure BEIR, and ``"exact"`` measures NanoBEIR.

        The conditions are those of the card where they are known. For BEIR, title and text are joined by ``". "``, and
        a document with the id of its query is no hit. MUVERA has txtai's parameters, and leaves empty cells empty. The
        tokens of a text are those of the checkpoint. The seed of MUVERA, the index and the precision of stored vectors
        can differ.

        Args:
            model: The name or the folder of the model. Its last part finds the published figures, and a model without
                figures is measured, too.
            datasets: Names such as ``"nfcorpus"``, ``"NanoSciFact"`` or ``"NanoBEIR"``, paths, or `RetrievalDataset`
                objects.
            encoder: The model, if it is loaded already.
            root: A folder with local copies of models and data sets, in folders with their names on the Hub.
            candidates: Number of documents that the encoding passes to MaxSim, at least 10.
            config: The settings of the collections; by default MUVERA as in txtai.
            folder: The folder for run files and progress, as in `evaluate`.
            progress: As in `evaluate`.

        Raises:
            ConfigurationError: If an argument is wrong.
            DatasetError: If a data set is missing or wrong.
            CheckpointError: If the model is missing or wrong.
            MissingExtraError: If a package of the extra ``evaluate`` is not installed.
        """
        return measure_card(
            self,
            model,
            datasets,
            encoder=encoder,
            root=root,
            candidates=candidates,
            config=config,
            folder=folder,
            progress=progress,
        )


evaluate: Final = Evaluate()


@dataclass(frozen=True, kw_only=True)
class _Options:
    modes: tuple[SearchMode, ...] | None
    candidates: int
    depth: int
    progress: bool | ProgressReporter

    def __post_init__(self) -> None:
        require_int("candidates", self.candidates, minimum=1)
        require_int("depth", self.depth, minimum=1)

    def check_depth(self, metrics: Sequence[str]) -> None:
        """Raise `ConfigurationError` if a metric needs more hits than the searches return."""
        if self.depth > self.candidates:
            raise ConfigurationError(
                f"depth={self.depth} is more than candidates={self.candidates}, but two stages return at most their "
                "candidates: raise candidates, or lower depth"
            )
        for metric in metrics:
            needed = depth_of(metric)
            if needed is not None and needed > self.depth:
                raise ConfigurationError(
                    f"metric {metric!r} needs {needed:,} hits per query, but depth={self.depth}: raise depth and "
                    "candidates, or use a smaller cutoff"
                )


def _require_none(**options: object) -> None:
    for name, value in options.items():
        if value is not None:
            raise ConfigurationError(f"{name} is for searches, but a Run has its hits already: leave it out")


def _evaluate_run(run: Run, datasets: Iterator[RetrievalDataset], metrics: Sequence[str]) -> Evaluation:
    measured = tuple(_measured(run.name, run, each, metrics, None) for each in datasets)
    return Evaluation(target=run.name, metrics=tuple(metrics), runs=measured)


def _cache_folder(target: Target, config: CollectionConfig | None) -> Path:
    """Return the folder of a target and its settings, so that comparing two encodings keeps both."""
    return cache_folder(target.name, digest([target.key, None if config is None else config.to_dict()]))


def _evaluate_target(
    target: Target,
    datasets: Iterator[RetrievalDataset],
    metrics: tuple[str, ...],
    options: _Options,
    place: Path,
) -> Evaluation:
    modes, skipped = choose_modes(options.modes, target.abilities, candidates=options.candidates, depth=options.depth)
    runs: list[EvaluatedRun] = []
    with _told(place), ExitStack() as locked:
        workspaces: list[Workspace] = []
        for dataset in datasets:
            identity = _identity(target, dataset, modes, options)
            workspace = locked.enter_context(Workspace(place / file_name(dataset.name)))
            workspace.begin(identity, modes=MODES, anew=target.changes)
            workspaces.append(workspace)
            found = _evaluate_one(target, dataset, modes, options, workspace)
            runs += [_measured(mode, run, dataset, metrics, ms) for mode, run, ms in found]
        for workspace in workspaces:
            workspace.finish()
    return Evaluation(
        target=target.name,
        metrics=metrics,
        runs=tuple(runs),
        skipped=skipped,
        folder=place,
        candidates=options.candidates,
        depth=options.depth,
    )


def _identity(target: Target, dataset: RetrievalDataset, modes: Sequence[SearchMode], options: _Options) -> Identity:
    queries = _judged_queries(dataset)
    return Identity(
        target=target.key,
        content=target.content(dataset, modes),
        queries=digest([identity_of(target.encoder), queries]),
        search=digest([options.candidates, options.depth, dataset.excludes_query_id, package_versions()]),
    )


def _judged_queries(dataset: RetrievalDataset) -> dict[str, str]:
    if not dataset.queries:
        raise DatasetError(
            f"data set {shown(dataset.name)} has judgments and no queries to search for: load it with queries, or pass "
            "a Run as the target"
        )
    return {query: dataset.queries[query] for query, judged in dataset.qrels.items() if judged}


def _evaluate_one(
    target: Target, dataset: RetrievalDataset, modes: Sequence[SearchMode], options: _Options, workspace: Workspace
) -> list[tuple[str, Run, float | None]]:
    """Return the run of each mode with the milliseconds of a search, and keep all progress in the folder."""
    queries, name = _judged_queries(dataset), dataset.name
    found: list[tuple[str, Run, float | None]] = []
    with ExitStack() as stack:
        collection = target.open(dataset, workspace, stack, progress=options.progress)
        if need_tokens(modes):
            encoder = encode_queries(
                queries.values(), target.encoder, workspace, dataset=name, progress=options.progress
            )
            collection = with_encoder(collection, encoder)
        searches = Searches(
            collection=collection,
            queries=queries,
            candidates=options.candidates,
            depth=options.depth,
            excludes_query_id=dataset.excludes_query_id,
            of_passages=stores_passages(collection),
        )
        for mode in modes:
            hits = workspace.hits(mode)
            searches.run(mode, hits, label=f"{name}, {mode}", progress=options.progress)
            run = Run(name=mode, hits=hits.hits)
            workspace.add_run(run)
            found.append((mode, run, statistics.median(hits.milliseconds)))
    return found


def _measured(
    mode: str, run: Run, dataset: RetrievalDataset, metrics: Sequence[str], milliseconds: float | None
) -> EvaluatedRun:
    return EvaluatedRun(
        dataset=dataset.name,
        mode=mode,
        run=run,
        values=measure_run(run, dataset, metrics),
        milliseconds=milliseconds,
    )


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Tell a user who presses Ctrl-C how to continue."""
    try:
        yield
    except KeyboardInterrupt as error:
        error.args = (
            f"Interrupted: make the call again with the same arguments to continue. The progress is in {folder}.",
        )
        raise
