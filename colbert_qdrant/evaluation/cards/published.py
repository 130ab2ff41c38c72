"""The figures of a model card, which `card` prints beside measured ones.

The source of all figures is the model card of ``NeuML/colbert-muvera-pico`` on the Hugging Face Hub. It has no date; it
states Python 3.10.18, PyTorch 2.8.0, Transformers 4.57.0, Sentence Transformers 4.0.2, PyLate 1.3.2 and Datasets 4.1.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final

from colbert_qdrant.search.options import SearchMode


@dataclass(frozen=True, kw_only=True)
class PublishedModel:
    """A model with figures in the card.

    Attributes:
        label: The card's name of the model.
        hub: The name on the Hugging Face Hub.
        parameters: The number of parameters, as the card writes it.
    """

    label: str
    hub: str
    parameters: str


SOURCE: Final = "model card of NeuML/colbert-muvera-pico on the Hugging Face Hub"
MODELS: Final = (
    PublishedModel(label="ColBERT v2", hub="colbert-ir/colbertv2.0", parameters="110M"),
    PublishedModel(label="ColBERT MUVERA Femto", hub="NeuML/colbert-muvera-femto", parameters="0.2M"),
    PublishedModel(label="ColBERT MUVERA Pico", hub="NeuML/colbert-muvera-pico", parameters="0.4M"),
    PublishedModel(label="ColBERT MUVERA Nano", hub="NeuML/colbert-muvera-nano", parameters="0.9M"),
    PublishedModel(label="ColBERT MUVERA Micro", hub="NeuML/colbert-muvera-micro", parameters="4M"),
)
"""The models of the card's tables, in their order."""

BEIR_SETS: Final = ("nfcorpus", "scidocs", "scifact")
BEIR_TITLES: Final[Mapping[SearchMode, str]] = {
    "exact": "Full multi-vector MaxSim",
    "two-stage": "MUVERA encoding and MaxSim over its top 100",
    "fde": "MUVERA encoding only",
}
"""The card's three tables, by the mode of search that measures the same."""

BEIR_METHOD: Final = "examples/benchmarks.py of txtai"
BEIR_METRIC: Final = "nDCG@10"
BEIR: Final[Mapping[SearchMode, Mapping[str, tuple[float, float, float, float]]]] = {
    "exact": {
        "ColBERT v2": (0.3165, 0.1497, 0.6456, 0.3706),
        "ColBERT MUVERA Femto": (0.2513, 0.0870, 0.4710, 0.2698),
        "ColBERT MUVERA Pico": (0.3005, 0.1117, 0.6452, 0.3525),
        "ColBERT MUVERA Nano": (0.3180, 0.1262, 0.6576, 0.3673),
        "ColBERT MUVERA Micro": (0.3235, 0.1244, 0.6676, 0.3718),
    },
    "two-stage": {
        "ColBERT v2": (0.3025, 0.1538, 0.6278, 0.3614),
        "ColBERT MUVERA Femto": (0.2316, 0.0858, 0.4641, 0.2605),
        "ColBERT MUVERA Pico": (0.2821, 0.1004, 0.6090, 0.3305),
        "ColBERT MUVERA Nano": (0.2996, 0.1201, 0.6249, 0.3482),
        "ColBERT MUVERA Micro": (0.3095, 0.1228, 0.6464, 0.3596),
    },
    "fde": {
        "ColBERT v2": (0.2356, 0.1229, 0.5002, 0.2862),
        "ColBERT MUVERA Femto": (0.1851, 0.0411, 0.3518, 0.1927),
        "ColBERT MUVERA Pico": (0.1926, 0.0564, 0.4424, 0.2305),
        "ColBERT MUVERA Nano": (0.2355, 0.0807, 0.4904, 0.2689),
        "ColBERT MUVERA Micro": (0.2348, 0.0882, 0.4875, 0.2702),
    },
}
"""nDCG@10 on each of `BEIR_SETS`, and the average that the card states, by mode and the label of the model."""

NANO_METHOD: Final = "pylate.evaluation.NanoBEIREvaluator"
NANO_MODEL: Final = MODELS[2]
NANO_METRICS: Final = (
    *("accuracy@1", "accuracy@3", "accuracy@5", "accuracy@10"),
    *("precision@1", "precision@3", "precision@5", "precision@10"),
    *("recall@1", "recall@3", "recall@5", "recall@10"),
    *("ndcg@10", "mrr@10", "map@100"),
)
# fmt: off
NANO: Final[Mapping[str, tuple[float, ...]]] = {
    "NanoClimateFEVER": (
        0.22, 0.32, 0.4, 0.54,
        0.22, 0.11333333333333333, 0.09200000000000001, 0.062,
        0.125, 0.18, 0.22, 0.2723333333333333,
        0.22523375350232466, 0.2918015873015873, 0.17799142530014567,
    ),
    "NanoDBPedia": (
        0.68, 0.82, 0.86, 0.9,
        0.68, 0.5733333333333333, 0.49999999999999994, 0.47,
        0.054334623940057496, 0.13885343313592602, 0.19014904910202987, 0.32073944983710506,
        0.5579484125370805, 0.7584126984126983, 0.42613646438564345,
    ),
    "NanoFEVER": (
        0.68, 0.78, 0.88, 0.92,
        0.68, 0.27333333333333326, 0.19199999999999995, 0.1,
        0.6466666666666667, 0.7633333333333333, 0.87, 0.91,
        0.7844876010568872, 0.7531666666666667, 0.7413336663336665,
    ),
    "NanoFiQA2018": (
        0.3, 0.48, 0.54, 0.66,
        0.3, 0.2, 0.156, 0.098,
        0.13885714285714287, 0.28949206349206347, 0.34890476190476183, 0.4669047619047619,
        0.35173862968285535, 0.41173809523809524, 0.27418803367117023,
    ),
    "NanoHotpotQA": (
        0.84, 0.92, 0.96, 0.96,
        0.84, 0.44666666666666655, 0.288, 0.152,
        0.42, 0.67, 0.72, 0.76,
        0.7396469666031694, 0.8846666666666667, 0.6745663269195332,
    ),
    "NanoMSMARCO": (
        0.4, 0.56, 0.64, 0.72,
        0.4, 0.18666666666666668, 0.128, 0.07200000000000001,
        0.4, 0.56, 0.64, 0.72,
        0.5513379104118443, 0.4978571428571428, 0.5100075204701912,
    ),
    "NanoNFCorpus": (
        0.42, 0.5, 0.58, 0.62,
        0.42, 0.36, 0.316, 0.256,
        0.040942245985757866, 0.07446981664033472, 0.08961908265974948, 0.11750646414430962,
        0.31817112092123645, 0.4845555555555556, 0.12896096534086632,
    ),
    "NanoNQ": (
        0.34, 0.62, 0.66, 0.72,
        0.34, 0.20666666666666664, 0.132, 0.07400000000000001,
        0.32, 0.58, 0.62, 0.68,
        0.5190287199365009, 0.4836031746031745, 0.4681591756850757,
    ),
    "NanoQuoraRetrieval": (
        0.82, 0.9, 0.9, 0.92,
        0.82, 0.32666666666666666, 0.20799999999999996, 0.11199999999999999,
        0.7440000000000001, 0.8306666666666667, 0.8540000000000001, 0.8773333333333332,
        0.8467657844266899, 0.8625, 0.8312680912657447,
    ),
    "NanoSCIDOCS": (
        0.32, 0.52, 0.58, 0.66,
        0.32, 0.21333333333333332, 0.18, 0.12,
        0.066, 0.13366666666666668, 0.18566666666666662, 0.24566666666666667,
        0.2462853863944484, 0.4382222222222222, 0.17492730667100076,
    ),
    "NanoArguAna": (
        0.1, 0.3, 0.4, 0.46,
        0.1, 0.09999999999999998, 0.08000000000000002, 0.046000000000000006,
        0.1, 0.3, 0.4, 0.46,
        0.275284156147708, 0.21590476190476193, 0.22481590517812997,
    ),
    "NanoSciFact": (
        0.48, 0.64, 0.72, 0.78,
        0.48, 0.22666666666666668, 0.15999999999999998, 0.088,
        0.445, 0.62, 0.71, 0.78,
        0.6190838299940942, 0.5744444444444444, 0.5693936722581301,
    ),
    "NanoTouche2020": (
        0.673469387755102, 0.9183673469387755, 1.0, 1.0,
        0.673469387755102, 0.6462585034013605, 0.616326530612245, 0.4938775510204082,
        0.04572557745748646, 0.12524012746937077, 0.19598845564624598, 0.3058088560800141,
        0.5544751618654643, 0.7962585034013605, 0.37144809611649504,
    ),
}
"""`NANO_METRICS` of `NANO_MODEL` on each data set of NanoBEIR."""

NANO_MEAN: Final = (
    0.4825745682888539, 0.6367974882260596, 0.7015384615384617, 0.7584615384615384,
    0.4825745682888539, 0.2979173207744636, 0.23448665620094195, 0.16491365777080064,
    0.2728097120697778, 0.4050555467234125, 0.4649483089214964, 0.5320225280999634,
    0.5068836487292541, 0.573317809174952, 0.4287074345842918,
)
"""The means over the 13 data sets that the card states."""
# fmt: on


def published_model(name: str) -> PublishedModel | None:
    """Return the card's model of a name or a folder, by its last part; ``None`` if the card has no figures for it."""
    last = last_part(name).casefold()
    return next((each for each in MODELS if last_part(each.hub) == last), None)


def last_part(name: str) -> str:
    """Return the last part of a model's name.

    A folder may be ``"."``, or a copy in the Hub's cache, such as
    ``models--NeuML--colbert-muvera-pico/snapshots/0a1b2c``.
    """
    path = Path(name).absolute() if Path(name).is_dir() else PurePath(name)
    return path.parent.parent.name.rpartition("--")[2] if path.parent.name == "snapshots" else path.name
