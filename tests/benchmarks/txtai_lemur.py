"""txtai's LEMUR as an encoding to be measured, run by an interpreter of its own.

Its environment::

    pip install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
    pip install numpy safetensors tqdm
    pip install --no-deps txtai-minimal==9.14.0

It is fitted to the same token vectors, and learns from the same spans. The centring that its trainer does when it
encodes texts is left out, since it changes what MaxSim is. Run as a script this module is the worker: lines of a job
and a folder come in, ``fit FOLDER EPOCHS``, ``data FOLDER`` or ``query FOLDER``; arrays are files in the folder.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colbert_qdrant import TokenEmbeddings

DIM: Final = 2_048


class TxtaiLemur:
    """A worker that was fitted; times include the files that arrays go through.

    Args:
        python: The interpreter of the environment.
        documents: What it is fitted to.
        spans: What its features learn from, encoded as queries.
        epochs: Training; 0 leaves the features random.
    """

    dim = DIM

    def __init__(self, python: str, documents: TokenEmbeddings, spans: TokenEmbeddings, *, epochs: int) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._worker = subprocess.Popen(
            [python, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self._write("learn", spans)
        self._ask("fit", documents, epochs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._worker.stdin:
            self._worker.stdin.close()
        self._worker.wait()
        self._folder.cleanup()

    def encode_documents(self, tokens: TokenEmbeddings) -> NDArray[np.float32]:
        self._ask("data", tokens)
        return self._encoded()

    def encode_queries(self, tokens: TokenEmbeddings) -> NDArray[np.float32]:
        self._ask("query", tokens)
        return self._encoded()

    def fingerprint(self) -> dict[str, Any]:
        return {"config": {"type": "txtai-lemur", "dim": DIM}}

    def _ask(self, job: str, tokens: TokenEmbeddings, epochs: int = 0) -> None:
        if not (self._worker.stdin and self._worker.stdout):
            raise SystemExit("the worker of txtai has no pipes")
        self._write("tokens", tokens)
        self._worker.stdin.write(f"{job}\t{self._folder.name}\t{epochs}\n")
        if self._worker.stdout.readline() != "done\n":
            raise SystemExit(f"txtai failed at {job!r}: see its message above")

    def _write(self, name: str, tokens: TokenEmbeddings) -> None:
        np.savez(Path(self._folder.name, f"{name}.npz"), values=tokens.values, lengths=tokens.lengths)

    def _encoded(self) -> NDArray[np.float32]:
        encoded: NDArray[np.float32] = np.load(Path(self._folder.name, "encoded.npy"))
        return encoded


def _work() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr
    lemur: Any = None
    for line in sys.stdin:
        job, folder, epochs = line.rstrip("\n").split("\t")
        tokens = _read(Path(folder, "tokens.npz"))
        if job == "fit":
            trainer: Any = importlib.import_module("txtai.pipeline.train.lemur").LemurTrainer()
            learn = _read(Path(folder, "learn.npz"))
            lemur = trainer.fit(tokens, learn=learn, epochs=int(epochs), finalhiddendim=DIM)
        else:
            np.save(Path(folder, "encoded.npy"), lemur(tokens, job))
        answers.write("done\n")
        answers.flush()


def _read(path: Path) -> list[NDArray[np.float32]]:
    with np.load(path) as arrays:
        return np.split(arrays["values"], np.cumsum(arrays["lengths"])[:-1])


if __name__ == "__main__":
    _work()
