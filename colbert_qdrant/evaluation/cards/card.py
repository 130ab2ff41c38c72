"""Measures a model under the conditions of a model card, and puts the figures beside the published ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from colbert_qdrant._support.progress import ProgressReporter, require_progress
from colbert_qdrant._support.values import plain
from colbert_qdrant.config import CollectionConfig, MuveraConfig
from colbert_qdrant.config.checks import require_file_path, require_instance, require_int
from colbert_qdrant.encoders import ColbertEncoder, LateInteractionEncoder
from colbert_qdrant.encoders.base import require_encoder
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.evaluation.cards.card_report import AVERAGE, CardFigure, CardReport, mean, published_beir
from colbert_qdrant.evaluation.cards.published import (
    BEIR_METHOD,
    BEIR_METRIC,
    BEIR_SETS,
    BEIR_TITLES,
    NANO,
    NANO_METHOD,
    NANO_METRICS,
    NANO_MODEL,
    SOURCE,
    published_model,
)
from colbert_qdrant.evaluation.datasets import DatasetSource, RetrievalDataset, load_datasets

if TYPE_CHECKING:
    from colbert_qdrant.evaluation.metrics.evaluated_run import EvaluatedRun
    from colbert_qdrant.evaluation.result import Evaluation
    from colbert_qdrant.search.options import SearchMode

CARD_CONFIG: Final = CollectionConfig(fde=MuveraConfig(k_sim=5, dim_proj=16, r_reps=20, fill_empty=False))
"""txtai's MUVERA has these parameters by default, and leaves empty cells of a document empty."""

_CANDIDATES: Final = 100
"""The number of candidates that the card's table states."""

_TITLE_SEPARATOR: Final = ". "
"""txtai's script writes this between title and text."""

_NANO_CONDITIONS: Final = (
    f"NanoBEIR as {NANO_METHOD}: exact MaxSim over all documents with a text, and no document is left out."
)
_DIFFERENCES: Final = (
    'Other differences: the precision of stored vectors, the tokens of a text, and versions. The page "Your numbers '
    "beside the model card's\" of colbert-qdrant's documentation explains them."
)


def measure_card(
    evaluate: Callable[..., Evaluation],
    model: str | PathLike[str],
    datasets: DatasetSource | Sequence[DatasetSource],
    *,
    encoder: LateInteractionEncoder | None,
    root: str | PathLike[str] | None,
    candidates: int,
    config: CollectionConfig | None,
    folder: str | PathLike[str] | None,
    progress: bool | ProgressReporter,
) -> CardReport:
    """Measure a model on the data sets of the card; see `Evaluate.card`."""
    name, candidates = _checked_name(model), plain(candidates)
    require_int("candidates", candidates, minimum=10)  # for nDCG@10
    require_progress(plain(progress))
    _check_sources(encoder, root, config)
    settings = config or CARD_CONFIG
    loaded = [_named(each) for each in load_datasets(datasets, root=root, title_separator=_TITLE_SEPARATOR)]
    reader = encoder or ColbertEncoder.from_pretrained(_local(name, root))
    how: dict[str, Any] = {"config": settings, "folder": folder, "progress": progress}
    nano = [each for each in loaded if each.name in NANO]
    beir = [replace(each, excludes_query_id=True) for each in loaded if each.name not in NANO]
    published = published_model(name)
    label = None if published is None else published.label
    figures = list[CardFigure]()
    conditions = [f"Measured: evaluate.card of colbert-qdrant {version('colbert-qdrant')}."]
    if label is not None or any(each.name in BEIR_SETS for each in beir):
        conditions.append(f"Published: {SOURCE}.")
    if beir:
        many = {"candidates": candidates, "depth": min(candidates, _CANDIDATES)}
        measured = evaluate(reader, beir, modes=list(BEIR_TITLES), metrics=BEIR_METRIC, **many, **how)
        for mode in BEIR_TITLES:
            figures += _beir_figures(measured, mode, label)
        conditions.append(_beir_conditions(settings, candidates))
    if nano:
        measured = evaluate(reader, nano, modes="exact", metrics="nano-beir", **how)
        figures += _nano_figures(measured, has_figures=label == NANO_MODEL.label)
        conditions.append(_NANO_CONDITIONS)
    conditions += [*_of_encoder(reader), _DIFFERENCES]
    return CardReport(model=name, label=label, figures=tuple(figures), conditions=tuple(conditions))


def _checked_name(model: str | PathLike[str]) -> str:
    require_file_path("model", model, "the name or the folder of a model")
    name = fspath(model)
    if not name.strip():
        raise ConfigurationError("model is empty: pass the name or the folder of a model")
    return name


def _check_sources(encoder: object, root: object, config: object) -> None:
    if encoder is not None:
        require_encoder(encoder)
    if root is not None:
        require_file_path("root", root, "the path of a folder")
    require_instance("config", config, (CollectionConfig, type(None)), "a CollectionConfig")


def _local(name: str, root: str | PathLike[str] | None) -> str:
    """Return the local copy of a model in ``root``, or the name; the Hub does not distinguish case in names."""
    if root is None or Path(name).is_absolute():
        return name
    if Path(root, name).is_dir():
        return str(Path(root, name))
    copies = {each.relative_to(root).as_posix().lower(): str(each) for each in Path(root).glob("*/*/")}
    return copies.get(name.lower(), name)


def _named(dataset: RetrievalDataset) -> RetrievalDataset:
    """Return a data set under the name that the figures have, such as ``scifact`` for ``SciFact``."""
    names = {name.lower(): name for name in (*BEIR_SETS, *NANO)}
    return replace(dataset, name=names.get(dataset.name.lower(), dataset.name))


def _beir_figures(measured: Evaluation, mode: SearchMode, label: str | None) -> Iterator[CardFigure]:
    runs = [measured.run(mode, name) for name in measured.datasets]
    names = [run.dataset for run in runs]
    for run in runs:
        yield _figure("BEIR", run, BEIR_METRIC, BEIR_METRIC, published_beir(mode, label, run.dataset, names))
    if len(runs) > 1:
        yield CardFigure(
            table="BEIR",
            dataset=AVERAGE,
            mode=mode,
            metric=BEIR_METRIC,
            measured=measured.mean(BEIR_METRIC, mode),
            published=published_beir(mode, label, AVERAGE, names),
            interval=measured.interval(BEIR_METRIC, mode),
        )


def _nano_figures(measured: Evaluation, *, has_figures: bool) -> Iterator[CardFigure]:
    runs = [measured.run("exact", name) for name in measured.datasets]
    of_card = [dict(zip(NANO_METRICS, NANO[run.dataset], strict=True)) if has_figures else {} for run in runs]
    metrics = list(zip(NANO_METRICS, measured.metrics, strict=True))
    if len(runs) > 1:
        for name, metric in metrics:
            yield CardFigure(
                table="NanoBEIR",
                dataset=AVERAGE,
                mode="exact",
                metric=name,
                measured=measured.mean(metric, "exact"),
                published=mean([values.get(name) for values in of_card]),
                interval=measured.interval(metric, "exact"),
            )
    for run, values in zip(runs, of_card, strict=True):
        for name, metric in metrics:
            yield _figure("NanoBEIR", run, name, metric, values.get(name))


def _figure(table: str, run: EvaluatedRun, name: str, metric: str, published: float | None) -> CardFigure:
    return CardFigure(
        table=table,
        dataset=run.dataset,
        mode=run.mode,  # type: ignore[arg-type]
        metric=name,
        measured=run.mean(metric),
        published=published,
        interval=run.interval(metric),
    )


def _beir_conditions(config: CollectionConfig, candidates: int) -> str:
    settings = dict(config.encoding.to_dict())
    kind = settings.pop("type")
    fewer = "" if candidates == _CANDIDATES else f", instead of the card's {_CANDIDATES}"
    other = "" if config.encoding == CARD_CONFIG.encoding else ", with other parameters than txtai's"
    return (
        f"BEIR as {BEIR_METHOD}: title and text are joined by {_TITLE_SEPARATOR!r}, and a document with the id of its "
        f"query is left out. MaxSim ranks {candidates} candidates{fewer}. The encoding is {kind} "
        f"({', '.join(f'{name}={value}' for name, value in settings.items())}){other}. The random numbers and the "
        "index of txtai's encoding are others."
    )


def _of_encoder(encoder: LateInteractionEncoder) -> Iterator[str]:
    """Describe the rules of a checkpoint that change its figures."""
    if isinstance(encoder, ColbertEncoder):
        query, document = encoder.spec.query, encoder.spec.document
        filled = "are filled up with mask tokens" if query.expansion else "are not filled up"
        yield f"Queries have at most {query.length} tokens and {filled}, documents at most {document.length}."
