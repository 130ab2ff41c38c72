"""Knows the data sets of BEIR and NanoBEIR by their names, and where the Hugging Face Hub has them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from colbert_qdrant.errors import DatasetError
from colbert_qdrant.shown import shown

BEIR: Final = (
    "arguana",
    "climate-fever",
    "dbpedia-entity",
    "fever",
    "fiqa",
    "hotpotqa",
    "msmarco",
    "nfcorpus",
    "nq",
    "quora",
    "scidocs",
    "scifact",
    "trec-covid",
    "webis-touche2020",
)
FORUMS: Final = (
    "android",
    "english",
    "gaming",
    "gis",
    "mathematica",
    "physics",
    "programmers",
    "stats",
    "tex",
    "unix",
    "webmasters",
    "wordpress",
)
NANO_BEIR: Final = (
    "NanoClimateFEVER",
    "NanoDBPedia",
    "NanoFEVER",
    "NanoFiQA2018",
    "NanoHotpotQA",
    "NanoMSMARCO",
    "NanoNFCorpus",
    "NanoNQ",
    "NanoQuoraRetrieval",
    "NanoSCIDOCS",
    "NanoArguAna",
    "NanoSciFact",
    "NanoTouche2020",
)
GROUPS: Final = {
    "NanoBEIR": NANO_BEIR,
    "cqadupstack": tuple(f"cqadupstack/{forum}" for forum in FORUMS),
}
"""Names that stand for several data sets."""

_OTHER_SPELLINGS: Final = {
    "dbpedia": "dbpedia-entity",
    "fiqa2018": "fiqa",
    "quoraretrieval": "quora",
    "touche": "webis-touche2020",
    "touche2020": "webis-touche2020",
    "nanodbpediaentity": "NanoDBPedia",
    "nanofiqa": "NanoFiQA2018",
    "nanoquora": "NanoQuoraRetrieval",
    "nanotouche": "NanoTouche2020",
}
_OWNERS: Final = re.compile(r"^(beir|zetaalphaai)/")


@dataclass(frozen=True, kw_only=True)
class HubTable:
    """One of the three tables of a data set on the Hub.

    Attributes:
        repository: The repository.
        config: The configuration that has the table; ``None`` if the repository has only this table.
        split: The split that has it.
    """

    repository: str
    config: str | None
    split: str


@dataclass(frozen=True, kw_only=True)
class KnownDataset:
    """A data set of the Hub.

    Attributes:
        name: Its name.
        corpus: The documents.
        queries: The queries.
        qrels: The judgments.
    """

    name: str
    corpus: HubTable
    queries: HubTable
    qrels: HubTable


def is_known(name: str) -> bool:
    """Tell whether a data set or a group has this name, in any spelling."""
    return _normalized(name) in _NAMES


def canonical_name(name: str) -> str:
    """Return the name of a data set or a group for any spelling.

    Raises:
        DatasetError: If no data set has a similar name.
    """
    found = _NAMES.get(_normalized(name))
    if found is None:
        near = [_NAMES[each] for each in get_close_matches(_normalized(name), _NAMES, n=3)]
        similar = f"did you mean {' or '.join(map(repr, dict.fromkeys(near)))}? Otherwise, " if near else ""
        raise DatasetError(
            f"there is no folder, ZIP archive or data set {shown(name)}: {similar}pass a path, or use one of "
            f"{', '.join((*BEIR, *GROUPS, *NANO_BEIR))}"
        )
    return found


def tables_of(name: str, split: str) -> tuple[KnownDataset, ...]:
    """Return where the tables of a data set are; the second place, if there is one, is a copy.

    Raises:
        DatasetError: If the name is one of a group of data sets, or the data set has no such split.
    """
    if name in GROUPS:
        raise DatasetError(
            f"{name!r} is a group of data sets, which evaluate() takes: load one of {', '.join(GROUPS[name])}"
        )
    if name in NANO_BEIR:
        if split not in {"test", "train"}:
            raise DatasetError(f"{name!r} has no split {shown(split)}, because it has only one: leave out split=")
        copy = "sentence-transformers/NanoBEIR-en"
        return _at(name, f"zeta-alpha-ai/{name}", "train"), _at(name, copy, name)
    base, _, forum = name.partition("/")
    repository = f"BeIR/{base}"
    return (
        KnownDataset(
            name=name,
            corpus=HubTable(repository=repository, config=forum or "corpus", split="corpus"),
            queries=HubTable(repository=repository, config=forum or "queries", split="queries"),
            qrels=HubTable(repository=f"{repository}-qrels", config=forum or None, split=split),
        ),
    )


def excludes_query_id(name: str) -> bool:
    """Tell whether the queries of a data set are among its documents, so that BEIR does not count them as hits."""
    return name.lower() in {"arguana", "quora"}


def _at(name: str, repository: str, split: str) -> KnownDataset:
    corpus, queries, qrels = (
        HubTable(repository=repository, config=config, split=split) for config in ("corpus", "queries", "qrels")
    )
    return KnownDataset(name=name, corpus=corpus, queries=queries, qrels=qrels)


def _normalized(name: str) -> str:
    return _OWNERS.sub("", re.sub(r"[-_. ]", "", name.lower())).replace("/", "")


_NAMES: Final = {_normalized(name): name for name in (*BEIR, *GROUPS, *NANO_BEIR, *GROUPS["cqadupstack"])} | {
    _normalized(spelling): name for spelling, name in _OTHER_SPELLINGS.items()
}
"""Names by their spelling without case and separators."""
