"""Compute encodings from stored token vectors, without a model: `python examples/08_migrate_multivectors.py [STORE]`.

Before the migration, a search runs exact MaxSim over every document. After it, a search has two stages.
"""

import sys

import numpy as np
from qdrant_client import models

from colbert_qdrant import EdgeClient, Migration, MuveraConfig

store = sys.argv[1] if len(sys.argv) > 1 else "multivector-store"

with EdgeClient(store) as client:
    # your existing collection, with a multivector of 20 token vectors per point
    if not client.collection_exists("pages"):
        random = np.random.default_rng(0)
        vectors = {
            "late": models.VectorParams(
                size=64,
                distance=models.Distance.COSINE,
                multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
                hnsw_config=models.HnswConfigDiff(m=0),
            )
        }
        client.create_collection("pages", vectors_config=vectors)
        words = random.standard_normal((300, 64))
        points = [
            models.PointStruct(id=number, vector={"late": words[random.integers(0, 300, 20)].tolist()}, payload={})
            for number in range(500)
        ]
        client.upsert("pages", points=points)

    # encodings are computed from the stored token vectors, so no model is needed
    migration = Migration.plan(client, "pages", "pages-fde", fde=MuveraConfig.preset("balanced"))
    print(migration)
    report = migration.run(progress=True)
    print(f"{report.points} points written, {report.present} already present")
    print(migration.verify().to_markdown())
