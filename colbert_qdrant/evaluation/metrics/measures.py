"""Computes the quality of a run with ir-measures: metrics by name, for every judged query."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from colbert_qdrant.errors import ConfigurationError, DatasetError, MissingExtraError
from colbert_qdrant.evaluation.datasets import RetrievalDataset
from colbert_qdrant.evaluation.metrics.metric_names import metric_provider, parse_metrics
from colbert_qdrant.evaluation.runs.run import Run
from colbert_qdrant.evaluation.runs.run_files import ranked
from colbert_qdrant.shown import shown


def check_metrics(metrics: str | Sequence[str]) -> tuple[str, ...]:
    """Return the names of metrics as tables show them, in order and without duplicates.

    Three kinds of names are accepted, in any case:

    - ir-measures' syntax: ``"nDCG@10"``, ``"R@100"``, ``"RR@10"``, ``"AP(rel=2)@100"``;
    - the names of a model card: ``"accuracy@1"``, ``"precision@3"``, ``"recall@10"``, ``"mrr@10"``, ``"map@100"``,
      with or without ``"MaxSim_"``;
    - ``"nano-beir"``, the fifteen metrics of a card's NanoBEIR table.

    ``AP@k`` divides by all relevant documents, as trec_eval does. ``MAP@k`` divides by at most k, as
    sentence-transformers does. ``Accuracy@k``, ``Precision@k``, ``Recall@k`` and ``MRR@k`` are ``Success@k``, ``P@k``,
    ``R@k`` and ``RR@k`` of ir-measures.

    ``nDCG@k`` has graded gains, as trec_eval does, and ``nDCG(rel=1)@k`` counts every relevant document as 1. The
    latter is ``"MaxSim_ndcg@10"`` and the nDCG of ``"nano-beir"``. They differ only if a judgment is above 1, so they
    are equal on NanoBEIR.

    Raises:
        ConfigurationError: If a metric does not exist, or a package that computes it is not installed.
        MissingExtraError: If ir-measures is not installed.

    Example:
        >>> check_metrics(["ndcg@10", "map@100", "R@100", "nDCG@10"])
        ('nDCG@10', 'MAP@100', 'R@100')
    """
    return tuple(metric.name for metric in parse_metrics(metrics, require_measures()))


def depth_of(metrics: str | Sequence[str]) -> int | None:
    """Return the largest cutoff of metrics, which is the depth that a run needs; ``None`` if they have no cutoff.

    Raises:
        ConfigurationError: If a metric does not exist.
        MissingExtraError: If ir-measures is not installed.

    Example:
        >>> depth_of(["nDCG@10", "R@100"])
        100
    """
    return max((each.cutoff for each in parse_metrics(metrics, require_measures()) if each.cutoff), default=None)


def same_metric(metric: str, among: Iterable[str]) -> str | None:
    """Return the name among others that is another spelling of a metric; ``None`` if no name is."""
    names = list(among)
    if metric in names:
        return metric
    try:
        measures = require_measures()
        wanted = parse_metrics(metric, measures)
        by_definition = {each.definition: name for name in names for each in parse_metrics(name, measures)}
    except (ConfigurationError, MissingExtraError):
        return None
    return by_definition.get(wanted[0].definition) if len(wanted) == 1 else None


def measure_run(run: Run, dataset: RetrievalDataset, metrics: str | Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the value of each metric for every judged query of a data set.

    The scores rank the documents as trec_eval does: it compares them as float32, and the larger id wins a tie. So
    pytrec_eval computes the same values from the run file. A judged query without hits has the value 0. If
    the data set has ``excludes_query_id``, documents with the id of their query are left out first.

    Args:
        run: The hits of each query.
        dataset: The judgments. A query is judged if it has at least one, even of relevance 0.
        metrics: Names of metrics; see `check_metrics`.

    Raises:
        ConfigurationError: If a metric does not exist.
        DatasetError: If the run has hits, but for none of the judged queries.
        MissingExtraError: If ir-measures is not installed.

    Example:
        >>> run = Run(name="mine", hits={"q1": {"a": 2.0, "b": 1.0}})
        >>> qrels = {"q1": {"b": 1}, "q2": {"a": 1}}
        >>> dataset = RetrievalDataset(name="small", queries={"q1": "Who?", "q2": "Where?"}, qrels=qrels)
        >>> measure_run(run, dataset, ["RR@10", "R@1"])
        {'RR@10': {'q1': 0.5, 'q2': 0.0}, 'R@1': {'q1': 0.0, 'q2': 0.0}}
    """
    rankings = {query: ranked(run.hits[query]) for query in dataset.qrels if run.hits.get(query)}
    if not rankings and any(run.hits.values()):
        raise DatasetError(
            f"run {shown(run.name)} has no hits for a judged query of {shown(dataset.name)}: it has the queries "
            f"{shown(sorted(run.hits)[:3])}, and judged are {shown(sorted(dataset.qrels)[:3])}; use the same ids"
        )
    if dataset.excludes_query_id:
        rankings = {query: [each for each in found if each != query] for query, found in rankings.items()}
    return measure_rankings(rankings, dataset.qrels, metrics)


def measure_rankings(
    rankings: Mapping[str, Sequence[str]], qrels: Mapping[str, Mapping[str, int]], metrics: str | Sequence[str]
) -> dict[str, dict[str, float]]:
    """Return the value of each metric for every judged query, from document ids in the order of their rank."""
    measures = require_measures()
    wanted = parse_metrics(metrics, measures)
    judged = {query: _pooled(judgments) for query, judgments in qrels.items() if judgments}
    # the negative rank as the score, because ir-measures' parts break ties and round scores differently
    run = {
        query: {document: -float(rank) for rank, document in enumerate(found)}
        for query, found in rankings.items()
        if found and query in judged
    }
    computed: dict[Any, dict[str, float]] = {}
    measured = {metric: metric.on(judged) for metric in wanted}
    for group in _groups(measured.values()):
        for value in metric_provider(measures).iter_calc(group, judged, run):
            computed.setdefault(value.measure, {})[value.query_id] = float(value.value)
    made = {}
    for metric, measure in measured.items():
        found = computed.get(measure, {})
        made[metric.name] = {
            query: found.get(query, 0.0) * metric.scale(judgments) for query, judgments in judged.items()
        }
    return made


def require_measures() -> Any:
    """Return the module ``ir_measures``.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        import ir_measures  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError(
            "metrics such as nDCG need ir-measures: pip install 'colbert-qdrant[evaluate]'"
        ) from error
    return ir_measures


def _pooled(judged: Mapping[str, int]) -> dict[str, int]:
    """Return judgments without negative ones, which mean unjudged in trec_eval, and which pytrec_eval fails at."""
    return {document: relevance for document, relevance in judged.items() if relevance >= 0}


def _groups(measures: Iterable[Any]) -> list[set[Any]]:
    """Return measures that may be computed together: ir-measures confuses those with different gains."""
    groups: dict[str, set[Any]] = {}
    for measure in measures:
        groups.setdefault(repr(measure.params.get("gains")), set()).add(measure)
    return list(groups.values())
