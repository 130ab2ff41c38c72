"""Keeps the progress of an evaluation in a folder, so that the same call continues after an interruption.

The folder of a data set has its queries as token vectors (``queries/``), and the hits of each mode (``exact.jsonl``).
Each finished mode has a run file (``exact.run``), and ``state.json`` tells how they were made. For a model, the folder
also has the embedded store with the documents (``store/``) and the journal of the ingest.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import portalocker
from safetensors import SafetensorError
from safetensors.numpy import load, save

from colbert_qdrant.edge.files import TEMPORARY_SUFFIX, write_file, write_json
from colbert_qdrant.encoders.digests import json_digest
from colbert_qdrant.errors import ColbertQdrantError, ConfigurationError, DatasetError, DiskFullError
from colbert_qdrant.evaluation.runs.run import Run
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray

_FORMAT: Final = 1
_KEYS: Final = ("target", "content", "queries", "search", "built", "unstored", "finished")
_LOCK: Final = "lock"
_STATE: Final = "state.json"
_VARIABLE: Final = "COLBERT_QDRANT_CACHE"
_RUN_FILES: Final = (".run", ".json")
_LONGEST: Final = 80
"""The bytes of a readable name; file systems allow 255, and names get a digest and endings."""


def digest(value: Any) -> str:
    """Return the SHA-256 of a JSON value, in letters that a file name can have."""
    return json_digest(value).removeprefix("sha256:")


def cache_folder(name: str, key: str) -> Path:
    """Return the folder of a target below the user's cache folder: its readable name, and a short digest of ``key``.

    Raises:
        ConfigurationError: If the user has no home folder, and no variable names another one.
    """
    try:
        cache = Path(os.environ.get(_VARIABLE) or _user_cache() / "colbert-qdrant").expanduser().absolute()
    except RuntimeError as error:
        raise ConfigurationError(
            f"there is no home folder for the cache of evaluations ({error}): pass folder=, or set {_VARIABLE}"
        ) from error
    return cache / "evaluate" / f"{_readable(name)}-{digest(key)[:8]}"


def _user_cache() -> Path:
    chosen = os.environ.get("XDG_CACHE_HOME")
    return Path(chosen) if chosen else Path.home() / ".cache"


def file_name(name: str) -> str:
    """Return a name as the name of a file or folder on any system; different names stay different."""
    made = _readable(name)
    return made if made == name else f"{made}-{digest(name)[:8]}"


def _readable(name: str) -> str:
    made = re.sub(r"[^\w.-]+", "-", name).strip("-.")
    return made.encode()[-_LONGEST:].decode(errors="ignore").strip("-.") or "unnamed"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The sources of the files in a folder; files with other sources are not used.

    Attributes:
        target: The model or the collection.
        content: A digest of the documents and the settings of the collection.
        queries: A digest of the queries and the model.
        search: A digest of the options of the searches.
    """

    target: str
    content: str
    queries: str
    search: str


@dataclass
class HitsFile:
    """The hits of one mode, appended for a few queries at a time.

    Attributes:
        path: The file; each line has the hits of one query.
        hits: For each query that was searched, the score of each document by its id.
        milliseconds: The time of each query's search.
    """

    path: Path
    hits: dict[str, dict[str, float]] = field(default_factory=dict)
    milliseconds: list[float] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read a file, and cut off a line that was torn by a crash."""
        made, end = cls(path), 0
        with writable(path), contextlib.suppress(FileNotFoundError), path.open("r+b") as file:
            for line in file:
                try:
                    query, hits, milliseconds = json.loads(line)
                    scores = dict(hits)
                except (ValueError, TypeError):
                    break
                if not line.endswith(b"\n"):
                    break
                made.hits[query] = scores
                made.milliseconds.append(milliseconds)
                end += len(line)
            if file.seek(0, os.SEEK_END) > end:
                file.truncate(end)
        return made

    def append(self, found: Mapping[str, Mapping[str, float]], milliseconds: float) -> None:
        """Add the hits of some queries, and the time of each search.

        Raises:
            DiskFullError: If the disk is full.
            ConfigurationError: If the file cannot be written.
        """
        lines = [json.dumps([query, list(hits.items()), milliseconds]) for query, hits in found.items()]
        with writable(self.path), self.path.open("ab") as file:
            file.write("".join(f"{line}\n" for line in lines).encode())
        self.hits |= {query: dict(hits) for query, hits in found.items()}
        self.milliseconds += [milliseconds] * len(found)


class Workspace:
    """The folder of one data set, locked for this call.

    Args:
        path: The folder, which is created if it does not exist.

    Raises:
        ConfigurationError: If another evaluation uses the folder, it has files of something else, or it cannot be
            written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = path / "store"
        self.journal = path / "ingest.journal"
        self._queries = path / "queries"
        self._state: dict[str, Any] = {}

    def __enter__(self) -> Self:
        with writable(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            others = {each.name for each in self.path.iterdir()} - {_LOCK, f"{_STATE}{TEMPORARY_SUFFIX}"}
            if others and _STATE not in others:
                raise ConfigurationError(
                    f"folder {self.path} has other files, such as {min(others)!r}: pass another folder="
                )
            self._lock = (self.path / _LOCK).open("ab")
        try:
            portalocker.lock(self._lock, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
        except portalocker.LockException as error:
            self._lock.close()
            raise ConfigurationError(
                f"folder {self.path} is used by another evaluation that is running: wait until it ends, or pass "
                "another folder="
            ) from error
        with contextlib.suppress(FileNotFoundError, ValueError, TypeError, KeyError):
            state = json.loads((self.path / _STATE).read_bytes())
            self._state = state if {*state} == {"format", *_KEYS} and state["format"] == _FORMAT else {}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lock.close()

    def begin(self, identity: Identity, *, modes: Sequence[str], anew: bool) -> None:
        """Remove files that were made of other sources.

        Args:
            identity: The sources of this evaluation.
            modes: All modes.
            anew: Whether the results of a finished evaluation are removed, too.

        Raises:
            ConfigurationError: If the folder belongs to another target.
        """
        old = self._state
        if old and old["target"] != identity.target:
            raise ConfigurationError(
                f"folder {self.path} has the results of {old['target']}, not of {identity.target}: pass another "
                "folder=, or delete it"
            )
        wanted = asdict(identity)
        same = {name for name, value in wanted.items() if old.get(name) == value}
        if anew and old.get("finished"):
            same.discard("search")
        if old.get("built") and not self.store.exists():  # deleted to free its space
            same.discard("content")
        kept = {name: value if name in same else "" for name, value in wanted.items()}
        # first, because a call with the old sources must not use what a crash leaves of the files
        self._save({**kept, "target": identity.target, **_built(old if "content" in same else {}), "finished": False})
        self._remove(modes, kept=same)
        self._save({**self._state, **wanted})

    def _remove(self, modes: Sequence[str], *, kept: Collection[str]) -> None:
        with writable(self.path):
            if "content" not in kept:
                _remove_folder(self.store)
                self.journal.unlink(missing_ok=True)
            if "queries" not in kept:
                _remove_folder(self._queries)
            if len(kept) < len(fields(Identity)):
                for mode in modes:
                    self._remove_results(mode)

    @property
    def built(self) -> bool:
        """Whether the store has all documents."""
        return bool(self._state["built"])

    @property
    def unstored(self) -> str:
        """A sentence about the documents that cannot be stored; empty if all are."""
        return str(self._state["unstored"])

    def finish_build(self, unstored: str) -> None:
        """Record that the store has all documents, except those that the sentence is about."""
        self._save({**self._state, "built": True, "unstored": unstored})

    def finish(self) -> None:
        """Record that the evaluation is finished."""
        self._save({**self._state, "finished": True})

    def hits(self, mode: str) -> HitsFile:
        """Read the hits that a mode has found so far."""
        return HitsFile.open(self.path / f"{mode}.jsonl")

    def add_run(self, run: Run) -> None:
        """Write the run file of a finished mode, unless there is one."""
        if not any((self.path / f"{run.name}{ending}").exists() for ending in _RUN_FILES):
            write_run_file(run, self.path)

    def query_parts(self, dim: int) -> Iterator[TokenEmbeddings]:
        """Yield the token vectors of the queries that are encoded already, in order."""
        start = 0
        while (path := self._part(start)).exists():
            try:
                arrays = load(path.read_bytes())
                part = TokenEmbeddings(arrays["values"], arrays["lengths"], truncated=arrays["truncated"])
            except (SafetensorError, KeyError, ColbertQdrantError):
                return
            if part.dim != dim:
                return
            yield part
            start += len(part)

    def add_queries(self, start: int, tokens: TokenEmbeddings) -> None:
        """Keep the token vectors of some queries, the first of which has the number ``start``."""
        with writable(self.path):
            self._queries.mkdir(exist_ok=True)
        arrays: dict[str, NDArray[Any]] = {
            "values": tokens.values,
            "lengths": tokens.lengths,
            "truncated": tokens.truncated.astype(np.bool_),
        }
        write_file(self._part(start), save(arrays))

    def _part(self, start: int) -> Path:
        return self._queries / f"{start:08}.safetensors"

    def _remove_results(self, mode: str) -> None:
        for ending in (".jsonl", *_RUN_FILES):
            (self.path / f"{mode}{ending}").unlink(missing_ok=True)

    def _save(self, state: Mapping[str, Any]) -> None:
        self._state = dict(state)
        write_json(self.path / _STATE, _FORMAT, self._state)


def _built(state: Mapping[str, Any]) -> dict[str, Any]:
    return {"built": bool(state.get("built")), "unstored": str(state.get("unstored") or "")}


def _remove_folder(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)


def write_run_file(run: Run, folder: Path, prefix: str = "") -> None:
    """Write a run file in TREC's format, or in JSON if an id has white space."""
    try:
        run.write(folder / f"{prefix}{file_name(run.name)}.run")
    except DatasetError:
        run.write(folder / f"{prefix}{file_name(run.name)}.json")


@contextlib.contextmanager
def writable(path: Path) -> Iterator[None]:
    """Turn the errors of the file system into this library's."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DiskFullError(
                f"{path} cannot be written, because its disk is full: free some space, and run the same call again"
            ) from error
        raise ConfigurationError(
            f"{path} cannot be written ({error}): pass folder=, a folder that this process may write, or set "
            f"{_VARIABLE}"
        ) from error
