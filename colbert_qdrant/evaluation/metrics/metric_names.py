"""Reads the names of metrics: ir-measures' syntax, a model card's names, and the preset ``"nano-beir"``."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from colbert_qdrant._support.values import plain
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.evaluation.datasets.qrels import LARGEST_GRADE
from colbert_qdrant.shown import listed, shown

NANO_BEIR: Final = (
    *(f"{name}@{cutoff}" for name in ("Accuracy", "Precision", "Recall") for cutoff in (1, 3, 5, 10)),
    "nDCG(rel=1)@10",
    "MRR@10",
    "MAP@100",
)
"""The metrics of a card's NanoBEIR table, in its order."""

_PRESETS: Final = {"nano-beir": NANO_BEIR}
_CARD: Final = {"Accuracy": "Success", "Precision": "P", "Recall": "R", "MRR": "RR", "MAP": "AP"}
"""The names of a card, and the measure of ir-measures that each is; MAP is scaled."""
_PREFIX: Final = "maxsim_"
_PROVIDERS: Final = ("pytrec_eval", "cwl_eval", "compat", "judged", "msmarco")
"""The parts of ir-measures that compute. The others split or round ids and values, or repeat what these do."""
_LARGEST: Final = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric, and how ir-measures computes it.

    Attributes:
        name: The name in tables.
        measure: The measure of ir-measures.
        at_most_cutoff: Whether average precision divides by at most the cutoff, instead of by all relevant documents.
        binary_from: Relevance from which a document has the gain 1; ``None`` for graded gains.
    """

    name: str
    measure: Any
    at_most_cutoff: bool = False
    binary_from: int | None = None

    @property
    def cutoff(self) -> int | None:
        """The number of documents that the metric looks at; ``None`` for all."""
        cutoff: int | None = self.measure.params.get("cutoff")
        return cutoff

    def on(self, qrels: Mapping[str, Mapping[str, int]]) -> Any:
        """Return the measure of ir-measures on judgments."""
        if self.binary_from is None:
            return self.measure
        grades = {relevance for judged in qrels.values() for relevance in judged.values()}
        gains = {grade: int(grade >= self.binary_from) for grade in sorted(grades) if grade > 0}
        return self.measure if all(grade == gain for grade, gain in gains.items()) else self.measure(gains=gains)

    def scale(self, judged: Mapping[str, int]) -> float:
        """Return the factor from the value of ir-measures to the value of the metric."""
        if not self.at_most_cutoff or self.cutoff is None:
            return 1.0
        relevant: int = sum(relevance >= self.measure["rel"] for relevance in judged.values())
        return max(relevant / self.cutoff, 1.0)

    @property
    def definition(self) -> tuple[str, bool, int | None]:
        """Describes the computation, which is equal for two names of one metric."""
        return repr(self.measure), self.at_most_cutoff, self.binary_from


def parse_metrics(metrics: str | Sequence[str], measures: Any) -> list[Metric]:
    """Return metrics by their names, in order, each definition once; ``measures`` is the module ``ir_measures``."""
    names = [metrics] if isinstance(metrics, str) else listed(metrics)
    if names is None:
        raise ConfigurationError(
            f"metrics must be a name or a list of names, got {type(metrics).__name__} {shown(metrics)}: pass "
            '["nDCG@10", "R@100"], for example'
        )
    if not names:
        raise ConfigurationError('metrics are empty: pass at least one, such as "nDCG@10"')
    found: dict[Any, Metric] = {}
    for name in names:
        for each in _expanded(name):
            metric = _parse(each, measures)
            found.setdefault(metric.definition, metric)
    return list(found.values())


def metric_provider(measures: Any) -> Any:
    """Return the parts of ir-measures that compute the metrics."""
    return measures.providers.FallbackProvider([measures.providers.registry[name] for name in _PROVIDERS])


def _expanded(name: object) -> Sequence[str]:
    name = plain(name)
    if not isinstance(name, str):
        raise ConfigurationError(
            f'a metric must be a string such as "nDCG@10", got {type(name).__name__} {shown(name)}'
        )
    return _PRESETS.get(name.strip().lower(), [name])


def _parse(text: str, measures: Any) -> Metric:
    name, params, at = _parts(text, measures)
    of_card = name.lower().startswith(_PREFIX)
    if of_card:
        name = name[len(_PREFIX) :]
    shown_name = {each.lower(): each for each in _CARD}.get(name.lower())
    if at is None and shown_name in {"MRR", "MAP"}:  # the same as RR and AP, because there is no cutoff
        name, shown_name = _CARD[shown_name], None
    by_name = {each.lower(): each for each in sorted(measures.measures.registry)}
    registered = by_name.get((_CARD[shown_name] if shown_name else name).lower())
    if registered is None or (of_card and not shown_name and name.lower() != "ndcg"):
        _refuse_unknown(text, measures)
    measure = measures.measures.registry[registered]
    params = params if at is None else {**params, measure.AT_PARAM: at}
    if measure.NAME == "nDCG" and of_card:
        params.setdefault("rel", 1)
    binary_from = params.pop("rel", None) if measure.NAME == "nDCG" else None
    measure = measure(**_checked(text, params, measure))
    if binary_from is not None:
        _check_rel(text, binary_from)
        if "gains" in measure.params:
            raise ConfigurationError(f"metric {shown(text)} has rel and gains: remove rel or gains")
    _require_provider(text, measure, measures)
    return Metric(
        name=_name(measure, shown_name, binary_from),
        measure=measure,
        at_most_cutoff=shown_name == "MAP",
        binary_from=binary_from,
    )


def _parts(text: str, measures: Any) -> tuple[str, dict[str, Any], Any]:
    """Return the name, the parameters in parentheses and the value after ``@``."""
    if re.fullmatch(r"\w+(-\w+)+", text.strip()):  # the form of a preset, which is a subtraction in Python
        _refuse_unknown(text, measures)
    try:
        node: Any = ast.parse(text.strip(), mode="eval").body
        at = None
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            node, at = node.left, ast.literal_eval(node.right)
        params: dict[str, Any] = {}
        if isinstance(node, ast.Call) and not node.args:
            params = {str(each.arg): ast.literal_eval(each.value) for each in node.keywords}
            node = node.func
        if isinstance(node, ast.Name):
            return node.id, params, at
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        pass
    several = re.fullmatch(r"[\w@]+([\s,]+[\w@]+)+", text.strip())
    hint = (
        "pass several metrics as a list" if several else 'write it as "nDCG@10", or with parameters as "AP(rel=2)@100"'
    )
    raise ConfigurationError(f"metric {shown(text)} cannot be read: {hint}")


def _checked(text: str, params: Mapping[str, Any], measure: Any) -> dict[str, Any]:
    """Return the parameters of a measure in the order of their names."""
    known = measure.SUPPORTED_PARAMS
    if unknown := sorted(params.keys() - known.keys()):
        raise ConfigurationError(
            f"metric {shown(text)} has an unknown parameter {unknown[0]}: {measure.NAME} takes "
            f"{', '.join(sorted(known)) or 'none'}"
        )
    checked: dict[str, Any] = {
        name: float(value) if known[name].dtype is float and type(value) is int else value
        for name, value in sorted(params.items())
    }
    for name, value in checked.items():
        wanted = known[name].dtype
        if not known[name].validate(value) or (wanted is not None and type(value) is not wanted):
            raise ConfigurationError(f"metric {shown(text)}: {name} must be {_kind(known[name])}, got {shown(value)}")
        if name == "cutoff" and not 1 <= value <= _LARGEST:
            raise ConfigurationError(f"metric {shown(text)}: the cutoff must be between 1 and {_LARGEST}")
        if name == "rel":
            _check_rel(text, value)
        if name == "gains" and not all(type(key) is int and _is_gain(gain) for key, gain in value.items()):
            raise ConfigurationError(
                f"metric {shown(text)}: gains must map integers to integers from 0 to {LARGEST_GRADE:,}, "
                "as {1: 0, 2: 1}"
            )
    for name, param in known.items():
        if param.required and name not in checked:
            raise ConfigurationError(
                f"metric {shown(text)} needs {name}: add it, as "
                + (f'"{text.strip()}@10"' if name == measure.AT_PARAM == "cutoff" else f'"{measure.NAME}({name}=…)"')
            )
    return checked


def _kind(param: Any) -> str:
    kinds = {int: "an integer", float: "a number", str: "a string", bool: "True or False", dict: "a dict"}
    choices = param.choices if isinstance(param.choices, list | tuple) else ()
    return f"one of {', '.join(map(repr, choices))}" if choices else kinds.get(param.dtype, str(param.dtype))


def _is_gain(value: object) -> bool:
    return type(value) is int and 0 <= value <= LARGEST_GRADE


def _check_rel(text: str, value: object) -> None:
    if type(value) is not int or not 1 <= value <= _LARGEST:
        raise ConfigurationError(f"metric {shown(text)}: rel must be an integer of at least 1, got {shown(value)}")


def _name(measure: Any, shown_name: str | None, binary_from: int | None) -> str:
    text = repr(measure)
    if shown_name is not None:
        return text.replace(measure.__name__, shown_name, 1)
    if binary_from is None:
        return text
    rest = text.removeprefix("nDCG")
    return f"nDCG(rel={binary_from}" + (f",{rest[1:]}" if rest.startswith("(") else f"){rest}")


def _require_provider(text: str, measure: Any, measures: Any) -> None:
    if metric_provider(measures).supports(measure):
        return
    able = [each for each in measures.DefaultPipeline.providers if each.supports(measure)]
    missing = [each for each in able if each.NAME in _PROVIDERS]
    if missing:
        raise ConfigurationError(
            f"metric {shown(text)} needs {missing[0].NAME}, which is not installed: {missing[0].install_instructions()}"
        )
    reason = f"only {able[0].NAME} computes it, which is not supported" if able else "nothing computes it"
    raise ConfigurationError(f"metric {shown(text)} cannot be measured, because {reason}: {_available(measures)}")


def _refuse_unknown(text: str, measures: Any) -> NoReturn:
    wanted = text.strip().lower().removeprefix(_PREFIX).partition("@")[0].partition("(")[0]
    kinds = {kind.NAME for kind in measures.measures.registry.values()}
    names = {each.lower(): each for each in (*_PRESETS, *_CARD, *sorted(kinds))}
    nearest = difflib.get_close_matches(wanted, names, n=1, cutoff=0.5)
    hint = f"did you mean {names[nearest[0]]!r}? " if nearest else ""
    raise ConfigurationError(f"unknown metric {shown(text)}: {hint}{_available(measures)}")


def _available(measures: Any) -> str:
    supported = {
        kind.NAME
        for kind in measures.measures.registry.values()
        for provider in metric_provider(measures).providers
        if provider.is_available() and any(kind.NAME == each.NAME for each in provider.SUPPORTED_MEASURES)
    }
    by_cutoff = ", ".join(f"{name}@k" for name in _CARD)
    return f"use one of {', '.join(sorted(supported, key=str.lower))}, {by_cutoff}, or the preset 'nano-beir'"
