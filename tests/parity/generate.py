"""Writes the golden arrays: every checkpoint encoded by the libraries that the encoder has to agree with.

Each library runs in an environment of its own, made with Python 3.11. For PyLate, which would otherwise bring a
different torch::

    pip install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
    pip install transformers==5.3.0 sentence-transformers==5.3.0 datasets accelerate pandas \
        ujson==5.12.0 ninja==1.11.1.4 scipy
    pip install --no-deps pylate==1.6.0
    python -m tests.parity.generate pylate

For Sentence Transformers::

    pip install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
    pip install sentence-transformers==6.2.0
    python -m tests.parity.generate sentence-transformers

The module runs from the root of the repository and needs no network. It writes `<checkpoint>.<library>.npz` with the
arrays `query_00`, `document_00` and so on in the order of `texts`; with PyLate also `scores`, the MaxSim of every query
with every document, and for one checkpoint the pooled documents `pooled_00` and so on.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from tests.parity.checkpoints import NAMES, build
from tests.parity.texts import DOCUMENTS, QUERIES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Array = np.ndarray[Any, np.dtype[np.float32]]

GOLDENS: Final = Path(__file__).parent / "goldens"
# Sentence Transformers believes the list of modules of "stanford-modules" and returns what comes before the projection
READ_BY: Final = {
    "pylate": tuple(name for name in NAMES if not name.startswith("mve-")),
    "sentence-transformers": tuple(name for name in NAMES if name != "stanford-modules"),
}
POOLED: Final = "pylate-bert"
TOLERANCE: Final = 1e-6
_PACKAGES: Final = ("numpy", "pylate", "scipy", "sentence-transformers", "tokenizers", "torch", "transformers")


class Reference(Protocol):
    """A library with a checkpoint loaded."""

    def queries(self, texts: Sequence[str]) -> list[Array]:
        """Encode queries in one batch."""
        ...

    def documents(self, texts: Sequence[str]) -> list[Array]:
        """Encode documents in one batch."""
        ...

    def extras(self, queries: Sequence[Array], documents: Sequence[Array]) -> dict[str, Array]:
        """Whatever else the library computes that has to be matched."""
        ...


class Pylate:
    """PyLate's `ColBERT`."""

    def __init__(self, name: str, folder: Path) -> None:
        torch: Any = importlib.import_module("torch")
        models: Any = importlib.import_module("pylate.models")
        # the loader would keep half precision
        self._model = models.ColBERT(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
        self._name = name
        # saved prompts are used only where they are named
        self._prompted = name == "pylate-prompts"

    def queries(self, texts: Sequence[str]) -> list[Array]:
        return self._encode(texts, "query")

    def documents(self, texts: Sequence[str]) -> list[Array]:
        return self._encode(texts, "document")

    def extras(self, queries: Sequence[Array], documents: Sequence[Array]) -> dict[str, Array]:
        scores: Any = importlib.import_module("pylate.scores")
        # pair by pair: among padded documents a padding token scores 0, which beats every negative similarity
        pairs = [
            [float(scores.colbert_scores(query[None], document[None])[0, 0]) for document in documents]
            for query in queries
        ]
        extras: dict[str, Array] = {"scores": np.array(pairs, np.float32)}
        if self._name == POOLED:
            pooled = _checked(DOCUMENTS, lambda texts: self._encode(texts, "document", pool_factor=2))
            extras |= _named("pooled", pooled)
        return extras

    def _encode(self, texts: Sequence[str], side: str, **settings: Any) -> list[Array]:
        prompt_name = side if self._prompted else None
        encoded: list[Array] = self._model.encode(
            list(texts),
            prompt_name=prompt_name,
            batch_size=len(texts),
            is_query=side == "query",
            show_progress_bar=False,
            **settings,
        )
        return encoded


class SentenceTransformers:
    """The `MultiVectorEncoder` of Sentence Transformers."""

    def __init__(self, name: str, folder: Path) -> None:
        torch: Any = importlib.import_module("torch")
        library: Any = importlib.import_module("sentence_transformers")
        self._model = library.MultiVectorEncoder(
            str(folder), device="cpu", model_kwargs={"dtype": torch.float32}, local_files_only=True
        )

    def queries(self, texts: Sequence[str]) -> list[Array]:
        encoded: list[Array] = self._model.encode_query(
            list(texts), batch_size=len(texts), convert_to_numpy=True, show_progress_bar=False
        )
        return encoded

    def documents(self, texts: Sequence[str]) -> list[Array]:
        encoded: list[Array] = self._model.encode_document(
            list(texts), batch_size=len(texts), convert_to_numpy=True, show_progress_bar=False
        )
        return encoded

    def extras(self, queries: Sequence[Array], documents: Sequence[Array]) -> dict[str, Array]:
        return {}


_LIBRARIES: Final[dict[str, Callable[[str, Path], Reference]]] = {
    "pylate": Pylate,
    "sentence-transformers": SentenceTransformers,
}


def main() -> None:
    """Write the golden arrays of one library."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("library", choices=sorted(_LIBRARIES))
    parser.add_argument("--out", type=Path, default=GOLDENS)
    arguments = parser.parse_args()
    library: str = arguments.library
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    os.environ["HF_HUB_OFFLINE"] = "1"
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(1)
    for name in READ_BY[library]:
        with tempfile.TemporaryDirectory() as folder:
            arrays = _encode(_LIBRARIES[library](name, build(name, Path(folder))))
        np.savez_compressed(out / f"{name}.{library}.npz", **arrays)  # type: ignore[arg-type]
        print(f"{name}: {len(arrays)} arrays")
    _note_versions(out / "VERSIONS.json", library)


def _encode(reference: Reference) -> dict[str, Array]:
    queries = _checked(QUERIES, reference.queries)
    documents = _checked(DOCUMENTS, reference.documents)
    return _named("query", queries) | _named("document", documents) | reference.extras(queries, documents)


def _checked(texts: Sequence[str], encode: Callable[[Sequence[str]], list[Array]]) -> list[Array]:
    """Encode each text alone, and see that company, its number and its order change nothing."""
    alone = [np.asarray(encode([text])[0], np.float32) for text in texts]
    orders = [list(range(len(texts))), list(reversed(range(len(texts)))), list(range(0, len(texts), 2))]
    orders.append([int(index) for index in np.random.RandomState(0).permutation(len(texts))])
    for size in (2, 3, 7, len(texts)):
        for order in orders:
            for start in range(0, len(order), size):
                batch = order[start : start + size]
                for index, together in zip(batch, encode([texts[index] for index in batch]), strict=True):
                    if together.shape != alone[index].shape:
                        raise AssertionError(f"{texts[index]!r}: {together.shape}, alone {alone[index].shape}")
                    difference = float(np.abs(together - alone[index]).max())
                    if not difference <= TOLERANCE:
                        raise AssertionError(f"{texts[index]!r}: {difference} from itself in a batch of {size}")
    return alone


def _named(kind: str, arrays: Sequence[Array]) -> dict[str, Array]:
    return {f"{kind}_{index:02}": array for index, array in enumerate(arrays)}


def _note_versions(path: Path, library: str) -> None:
    noted: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    packages = [package for package in _PACKAGES if package != "pylate" or library == "pylate"]
    noted[library] = {"python": platform.python_version(), **{package: version(package) for package in packages}}
    path.write_text(json.dumps(noted, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
