"""Fixed dimensional encodings, measured.

    python tests/benchmarks/fde.py speed [--rounds 9] [--peer fastembed=PYTHON txtai=PYTHON …]
    python tests/benchmarks/fde.py lemur [--rounds 9]

``speed`` is MUVERA's documents per second: 150 tokens of 128 dimensions each, 20 repetitions of 32 cells and 16
dimensions, so 10,240 of them. Everyone encodes the same documents on one core, in a process of its own; they take
turns. The floor is one product of all tokens with all hyperplanes and projections. A peer (``fastembed``, ``txtai``,
``muvera-python``, ``muvfde``, ``pymuvera``) needs an environment of its own, whose interpreter is given.

``lemur`` is milliseconds of LEMUR for the same documents, on all cores, beside the product of their tokens with the
learn tokens alone. What it was fitted to does not matter for that. Quality is measured by ``fde_quality.py``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Texts = list[np.ndarray[Any, np.dtype[np.float32]]]
Encode = Callable[[Any], Any]

TOKENS, DIM = 150, 128
QUERY_TOKENS = 32
R_REPS, K_SIM, DIM_PROJ = 20, 5, 16
DOCUMENTS = 128
KINDS = ("random", "words")
OWN = ("floor", "ours", "ours, not filled", "ours, as fastembed", "ours, query by query")
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1")


def main() -> None:
    """Run the section that is asked for."""
    options = _options()
    sys.path[:0] = [str(Path(__file__).parents[2])]
    options.run(options)


def speed(options: argparse.Namespace) -> None:
    """Print everyone's documents per second."""
    from tests.benchmarks.common import machine, race

    interpreters = dict.fromkeys(OWN, sys.executable) | dict(peer.split("=", 1) for peer in options.peer)
    print(f"{machine()}; one thread; {DOCUMENTS} documents of {TOKENS} tokens; {options.rounds} rounds")
    for kind in KINDS:
        commands = {name: [python, __file__, "worker", name, kind] for name, python in interpreters.items()}
        seconds = race(commands, options.rounds, env=os.environ | ONE_THREAD)
        print(f"\n{kind} tokens")
        for name, taken in seconds.items():
            each = min(taken) / DOCUMENTS
            floor, ours = (
                statistics.median(own / other for own, other in zip(taken, seconds[reference], strict=True))
                for reference in ("floor", "ours")
            )
            print(
                f"  {name:<22} {1 / each:7.0f} texts/s, {1e3 * each:7.3f} ms each at best"
                f"   {floor:6.2f} × the floor   {ours:6.2f} × ours"
            )
        sys.stdout.flush()


def lemur(options: argparse.Namespace) -> None:
    """Print LEMUR's milliseconds and the floor's."""
    from colbert_qdrant import LemurConfig, LemurEncoder
    from tests.benchmarks.common import machine

    encoder = LemurEncoder.fit(_tokens(_texts("words", seed=0, length=TOKENS)), config=LemurConfig(epochs=0))
    learn, rows = encoder.parameters.learn, 2_048
    texts = _texts("words", seed=1, length=TOKENS)
    documents, queries = _tokens(texts), _tokens([text[:QUERY_TOKENS] for text in texts])

    def floor() -> None:
        for start in range(0, len(documents.values), rows):
            for first in range(0, len(learn), rows // 2):
                documents.values[start : start + rows] @ learn[first : first + rows // 2].T

    measured: dict[str, Callable[[], object]] = {
        "floor": floor,
        "documents": lambda: encoder.encode_documents(documents),
        "queries, one by one": lambda: [encoder.encode_queries(queries[n : n + 1]) for n in range(DOCUMENTS)],
    }
    seconds: dict[str, list[float]] = {name: [] for name in measured}
    for number in range(options.rounds + 1):
        for name, run in measured.items():
            started = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - started)
    print(
        f"{machine()}; {DOCUMENTS} documents of {TOKENS} tokens, {len(learn):,} learn tokens, {options.rounds} rounds"
    )
    for name, taken in seconds.items():
        ratio = statistics.median(own / other for own, other in zip(taken, seconds["floor"], strict=True))
        print(f"  {name:<22} {1e3 * statistics.median(taken) / DOCUMENTS:7.2f} ms each   {ratio:6.2f} × the floor")


def _work(options: argparse.Namespace) -> None:
    """Encode the documents of the round that is asked for, and answer with the seconds it took."""
    encode = _WORKERS[options.name]()
    prepare = _PREPARED.get(options.name.partition(",")[0], list)
    for line in sys.stdin:
        texts = _texts(options.kind, seed=int(line), length=QUERY_TOKENS if "query" in options.name else TOKENS)
        given = prepare(texts)
        started = time.perf_counter()
        encode(given)
        print(json.dumps(time.perf_counter() - started), flush=True)


def _texts(kind: str, *, seed: int, length: int) -> Texts:
    """Unit vectors: anywhere, or noisy copies of the few words of a text, in a space that leans to one side."""
    random = np.random.default_rng(seed)
    values = random.standard_normal((DOCUMENTS, length, DIM))
    if kind == "words":
        words = random.standard_normal((2_000, DIM)) + 0.5 * random.standard_normal(DIM)
        chosen = [random.choice(random.integers(0, len(words), 60), length) for _ in range(DOCUMENTS)]
        values = words[np.array(chosen)] + 0.3 * values
    return list((values / np.linalg.norm(values, axis=2, keepdims=True)).astype(np.float32))


def _floor() -> Encode:
    matrix = np.random.default_rng(0).standard_normal((DIM, R_REPS * (K_SIM + DIM_PROJ)), np.float32)

    def encode(values: np.ndarray[Any, np.dtype[np.float32]]) -> None:
        for start in range(0, len(values), 8 * TOKENS):
            values[start : start + 8 * TOKENS] @ matrix

    return encode


def _ours(**options: Any) -> Encode:
    from colbert_qdrant import MuveraConfig, MuveraEncoder

    config = MuveraConfig(r_reps=R_REPS, k_sim=K_SIM, dim_proj=DIM_PROJ, **options)
    return MuveraEncoder(config, token_dim=DIM).encode_documents


def _our_queries() -> Encode:
    from colbert_qdrant import MuveraEncoder

    encoder = MuveraEncoder(token_dim=DIM)
    return lambda tokens: [encoder.encode_queries(tokens[number : number + 1]) for number in range(len(tokens))]


def _tokens(texts: Texts) -> Any:
    from colbert_qdrant import TokenEmbeddings

    return TokenEmbeddings.from_matrices(texts)


def _fastembed() -> Encode:
    muvera = importlib.import_module("fastembed.postprocess").Muvera(
        dim=DIM, k_sim=K_SIM, dim_proj=DIM_PROJ, r_reps=R_REPS
    )
    return lambda texts: [muvera.process_document(text) for text in texts]


def _txtai() -> Encode:
    muvera = importlib.import_module("txtai.models.pooling.muvera").Muvera(
        repetitions=R_REPS, hashes=K_SIM, projection=DIM_PROJ
    )
    return lambda texts: muvera(texts, "data")


def _muvera_python() -> Encode:
    muvera = importlib.import_module("muvera").Muvera(
        num_repetitions=R_REPS,
        num_simhash_projections=K_SIM,
        dimension=DIM,
        projection_type="ams_sketch",
        projection_dimension=DIM_PROJ,
    )
    encode: Encode = muvera.encode_documents
    return encode


def _muvfde() -> Encode:
    muvfde = importlib.import_module("muvfde")
    config = muvfde.fixed_dimensional_encoding_config()
    config.set_num_repetitions(R_REPS)
    config.set_num_simhash_projections(K_SIM)
    config.set_projection_dimension(DIM_PROJ)
    config.set_projection_type(muvfde.projection_type.AMS_SKETCH)
    config.set_encoding_type(muvfde.encoding_type.AVERAGE)
    config.enable_fill_empty(True)
    return lambda texts: [muvfde.generate_fixed_dimensional_encoding(text, config) for text in texts]


def _pymuvera() -> Encode:
    pymuvera = importlib.import_module("pymuvera")
    muvera = pymuvera.MUVERAEncoder(
        dimension=DIM,
        num_simhash_projections=K_SIM,
        num_repetitions=R_REPS,
        projection_type=importlib.import_module("pymuvera.config").ProjectionType.AMS_SKETCH,
        projection_dimension=DIM_PROJ,
        fill_empty_partitions=True,
    )
    encode: Encode = muvera.encode_documents_batch
    return encode


_WORKERS: dict[str, Callable[[], Encode]] = {
    "floor": _floor,
    "ours": lambda: _ours(fill_empty=True),
    "ours, not filled": _ours,
    "ours, as fastembed": lambda: _ours(variant="fastembed"),
    "ours, query by query": _our_queries,
    "fastembed": _fastembed,
    "txtai": _txtai,
    "muvera-python": _muvera_python,
    "muvfde": _muvfde,
    "pymuvera": _pymuvera,
}
"""What encodes a list of texts, or what they were prepared as."""

_PREPARED: dict[str, Callable[[Texts], Any]] = {"floor": np.concatenate, "ours": _tokens}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sections = parser.add_subparsers(required=True, metavar="{speed,lemur}")
    section = sections.add_parser("speed", help="documents per second")
    section.add_argument("--rounds", type=int, default=9)
    section.add_argument("--peer", nargs="+", default=[], metavar="NAME=PYTHON", help="a library and who has it")
    section.set_defaults(run=speed)
    section = sections.add_parser("lemur", help="milliseconds of LEMUR")
    section.add_argument("--rounds", type=int, default=9)
    section.set_defaults(run=lemur)
    worker = sections.add_parser("worker")
    worker.add_argument("name", choices=_WORKERS)
    worker.add_argument("kind", choices=KINDS)
    worker.set_defaults(run=_work)
    return parser.parse_args()


if __name__ == "__main__":
    main()
