"""A migration beside the plainest copy of the same bytes.

    python tests/benchmarks/migrate.py [--points 20000] [--rounds 3] [--preset accurate]

A collection of token vectors alone (60 × 128 in float16 each) becomes one with encodings, in the embedded engine, with
no model. The copy reads the same points in pages and writes them with an encoding of the same size that it has at hand:
it computes nothing, checks nothing and could not be resumed. The two take turns.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from qdrant_client import models

sys.path.insert(0, str(Path(__file__).parents[2]))

from colbert_qdrant import CollectionConfig, EdgeClient, Migration, MuveraConfig
from tests.benchmarks.common import machine

TOKENS, DIM, PAGE = 60, 128, 64


def main() -> None:
    """Print points per second of both, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--preset", choices=("small", "balanced", "accurate"), default="accurate")
    arguments = parser.parse_args()
    fde = MuveraConfig.preset(arguments.preset)
    print(f"{machine()}; {arguments.points:,} points of {TOKENS} × {DIM}, encodings of {fde.dim:,} dimensions")
    folder = Path(tempfile.mkdtemp())
    try:
        client = EdgeClient(folder / "store")
        fill(client, arguments.points)
        seconds: dict[str, list[float]] = {"copy": [], "migration": []}
        for number in range(arguments.rounds):
            for name in list(seconds)[:: 1 if number % 2 else -1]:
                started = time.perf_counter()
                copy(client, fde) if name == "copy" else migrate(client, fde)
                seconds[name].append(time.perf_counter() - started)
                print(f"  {name:<10} {arguments.points / seconds[name][-1]:8,.0f} points/s", flush=True)
                client.delete_collection("new")
        ratio = statistics.median(seconds["copy"]) / statistics.median(seconds["migration"])
        print(f"a migration is {ratio:.2f} × as fast as the copy (median of {arguments.rounds} rounds)")
        client.close()
    finally:
        shutil.rmtree(folder)


def fill(client: EdgeClient, points: int) -> None:
    """The collection to be migrated: random unit vectors around a thousand directions."""
    random = np.random.default_rng(0)
    directions = random.standard_normal((1_000, DIM)).astype(np.float32)
    client.create_collection(
        "old",
        vectors_config={
            "colbert": models.VectorParams(
                size=DIM,
                distance=models.Distance.DOT,
                datatype=models.Datatype.FLOAT16,
                multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
                hnsw_config=models.HnswConfigDiff(m=0),
            )
        },
    )
    for start in range(0, points, PAGE):
        batch: list[Any] = []
        for id in range(start, min(start + PAGE, points)):
            rows: Any = directions[random.integers(0, len(directions), TOKENS)]
            rows = rows + random.standard_normal(rows.shape).astype(np.float32) / 2
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            payload = {"text": "some words of it " * 20, "number": id}
            batch.append(models.PointStruct.model_construct(id=id, vector={"colbert": rows}, payload=payload))
        client.upsert("old", batch)


def copy(client: EdgeClient, fde: MuveraConfig) -> None:
    """Read and write, and nothing else."""
    encoding = np.random.default_rng(1).standard_normal(fde.dim).astype(np.float32)
    config = CollectionConfig(fde=fde)
    vectors: Any = client.get_collection("old").config.params.vectors
    client.create_collection(
        "new",
        vectors_config={
            **vectors,
            "fde": models.VectorParams(
                size=fde.dim, distance=models.Distance.DOT, datatype=models.Datatype(config.fde_datatype)
            ),
        },
    )
    offset: Any = None
    while True:
        records, offset = client.scroll("old", limit=PAGE, offset=offset, with_vectors=True)
        points = []
        for record in records:
            stored: Any = record.vector
            both = {**stored, "fde": encoding}
            points.append(models.PointStruct.model_construct(id=record.id, vector=both, payload=record.payload))
        client.upsert("new", points)
        if offset is None:
            return


def migrate(client: EdgeClient, fde: MuveraConfig) -> None:
    """Plan and run."""
    Migration.plan(client, "old", "new", fde=fde).run()


if __name__ == "__main__":
    main()
