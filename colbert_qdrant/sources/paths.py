"""Finds the files of a source, and opens them."""

from __future__ import annotations

import glob
import gzip
import io
import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Literal, TypeAlias

from colbert_qdrant.errors import ConfigurationError, MissingExtraError
from colbert_qdrant.shown import holds, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Kind: TypeAlias = Literal["jsonl", "csv", "tsv", "parquet", "text"]

_KINDS: Final[dict[str, Kind]] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".txt": "text",
    ".md": "text",
    ".markdown": "text",
}
_COMPRESSIONS: Final = (".gz", ".zst")
_MAGIC: Final = frozenset("*?[")
DAMAGE: Final = (OSError, EOFError, zlib.error, zipfile.BadZipFile)
"""Errors of files that are torn, altered or gone."""

BUFFER_BYTES: Final = 2**18
_STEP_BYTES: Final = 2**12


@dataclass(frozen=True)
class File:
    """A file of a source.

    Attributes:
        path: Its path.
        kind: The kind of its content.
        id: The name of its document, if the file is one document.
    """

    path: Path
    kind: Kind
    id: str


def find_files(source: str | os.PathLike[str] | list[Any] | tuple[Any, ...]) -> list[File]:
    """Return the files of a path, a folder, a glob or a list of paths.

    The files of folders and globs are sorted by name. Files and folders with names that start with a dot are omitted.

    Raises:
        ConfigurationError: If there is no such file, or a file has an unknown kind.
    """
    if isinstance(source, list | tuple):
        return [file for each in source for file in _named(each, within_list=True)]
    return _named(source, within_list=False)


def open_file(path: Path) -> IO[bytes]:
    """Open a file for reading, and decompress ``.gz`` and ``.zst``.

    A path such as ``archive.zip/folder/file`` is that of a file in a ZIP archive, which is read in place.

    Raises:
        MissingExtraError: If a ``.zst`` file needs pyarrow, and it is not installed.
        EOFError: If a compressed file is empty.
        OSError: If the file cannot be opened.
    """
    suffix, archive = path.suffix.lower(), archive_of(path)
    if archive is not None:
        return _open_member(archive, path)
    if suffix in _COMPRESSIONS and not path.stat().st_size:
        raise EOFError("a compressed file has at least a header, and this one has 0 bytes")
    if suffix == ".gz":
        return _stepwise(gzip.GzipFile(path))
    if suffix == ".zst":
        return _stepwise(_zstd(path, lambda pa: pa.OSFile(os.fspath(path))))
    return path.open("rb", buffering=BUFFER_BYTES)


def archive_of(path: Path) -> Path | None:
    """Return the ZIP archive that a path leads into, or that it is; ``None`` if it is a path of the file system."""
    return next((each for each in (path, *path.parents) if each.suffix.lower() == ".zip" and each.is_file()), None)


def _open_member(archive: Path, path: Path) -> IO[bytes]:
    try:
        with zipfile.ZipFile(archive) as opened:  # its file stays open until the member is closed
            member = opened.open(path.relative_to(archive).as_posix())
    except (KeyError, RuntimeError, NotImplementedError) as error:  # missing, encrypted, another compression
        raise OSError(str(error)) from error
    if path.suffix.lower() == ".zst":
        return _stepwise(_zstd(path, lambda pa: pa.PythonFile(member, "r")))
    return _stepwise(gzip.GzipFile(fileobj=member) if path.suffix.lower() == ".gz" else member)


def _zstd(path: Path, file: Callable[[Any], Any]) -> Any:
    pa = pyarrow(f"{path.name} is compressed with Zstandard, which pyarrow reads")
    return pa.CompressedInputStream(file(pa), "zstd")


def is_among(path: str | os.PathLike[str], files: Iterable[str | os.PathLike[str]]) -> bool:
    """Tell whether a path is that of one of some files, whether they exist or not."""
    return any(is_same_path(path, each) for each in files)


def is_same_path(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Tell whether two paths are those of one file, whether it exists or not."""
    return holds(lambda: Path(one).samefile(other)) or holds(lambda: Path(one).resolve() == Path(other).resolve())


class _Steps(io.RawIOBase):
    """Reads an archive in small steps, because an error discards all bytes of its step."""

    def __init__(self, archive: Any) -> None:
        self._archive = archive
        self._read = archive.read1 if isinstance(archive, gzip.GzipFile) else archive.read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        step = self._read(min(len(buffer), _STEP_BYTES))
        buffer[: len(step)] = step
        return len(step)

    def close(self) -> None:
        self._archive.close()
        super().close()


def _stepwise(archive: Any) -> IO[bytes]:
    return io.BufferedReader(_Steps(archive), BUFFER_BYTES)


def pyarrow(purpose: str) -> Any:
    """Import pyarrow.

    Raises:
        MissingExtraError: If it is not installed; the message starts with the purpose.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtraError(f"{purpose}: pip install 'colbert-qdrant[arrow]'") from error
    return pa


def unreadable(error: BaseException, after: str) -> str:
    """Describe the damage of a file, and name the last row that was read."""
    return (
        f"the file cannot be read further ({type(error).__name__}: {error}), {after}: write or copy it again; every "
        "row before is read"
    )


def _named(source: Any, *, within_list: bool) -> list[File]:
    """Return the files that one path, folder or glob names."""
    try:
        given = os.fspath(source)
        given = str.__str__(given)  # the methods of a subclass may do anything
    except Exception:  # noqa: BLE001 - a caller's method
        given = None
    if not isinstance(given, str) or not given:
        raise ConfigurationError(f"a path must be a string or a Path, got {shown(source)}")
    try:
        path = Path(given)
        if path.is_dir():
            return _in_folder(path)
        if path.exists():
            kind = _kind(path)
            if kind is None:
                raise ConfigurationError(f"{given!r} has an unknown kind: {_REMEDY}")
            return [File(path, kind, path.as_posix() if within_list else path.name)]
        found = _matching(given) if isinstance(source, str) and _MAGIC & {*given} else []
    except (OSError, ValueError) as error:  # a name that is too long, or has a null
        if isinstance(error, ConfigurationError):
            raise
        raise ConfigurationError(f"there is no file {shown(given)} ({error}): pass another path") from error
    if not found:
        texts = "" if isinstance(source, os.PathLike) else "; for texts, pass Documents or (id, text) tuples"
        raise ConfigurationError(f"there is no file {shown(given)}: pass a path, a folder or a glob{texts}")
    return found


def _matching(pattern: str) -> list[File]:
    """Return the files that match a glob."""
    fixed = Path(pattern)
    while _MAGIC & {*str(fixed)}:
        fixed = fixed.parent
    paths = [Path(each) for each in glob.glob(pattern, recursive=True)]  # noqa: PTH207 - pathlib needs a folder
    files = []
    for path in sorted({each for each in paths if each.is_file()}, key=Path.as_posix):
        kind = _kind(path)
        if kind is None:
            raise ConfigurationError(f"{str(path)!r} matches {pattern!r}, and has an unknown kind: {_REMEDY}")
        files.append(File(path, kind, path.relative_to(fixed).as_posix()))
    return files


def _in_folder(folder: Path) -> list[File]:
    """Return the files of a folder and the folders within, all of data or all of text."""
    inside = sorted((each.relative_to(folder) for each in _walk(folder)), key=Path.as_posix)
    files = [
        File(folder / path, kind, path.as_posix())
        for path in inside
        if (kind := _kind(path)) and _is_regular(folder / path)
    ]
    texts = [file for file in files if file.kind == "text"]
    if not files:
        raise ConfigurationError(f"folder {str(folder)!r} has no file of a known kind: {_REMEDY}")
    if len(texts) not in {0, len(files)}:
        data = next(file for file in files if file.kind != "text")
        raise ConfigurationError(
            f"folder {str(folder)!r} has data ({data.id!r}) and texts ({texts[0].id!r}): choose some with a glob, such "
            f"as {str(folder / f'**/*{data.path.suffix}')!r}"
        )
    return files


def _is_regular(path: Path) -> bool:
    if path.is_symlink() and not path.exists():
        raise ConfigurationError(
            f"{str(path)!r} is a link to a file that does not exist: create it, or remove the link"
        )
    return path.is_file()


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, also of linked folders, but without names that start with a dot."""
    outer: dict[str, frozenset[str]] = {}  # the real folders around each folder, because links may make circles

    def fail(error: OSError) -> None:
        raise ConfigurationError(f"folder {str(folder)!r} cannot be read completely ({error}): correct that") from error

    for path, folders, names in os.walk(folder, followlinks=True, onerror=fail):
        real = os.path.realpath(path)
        around = outer.pop(path, frozenset()) | {real}
        folders[:] = [each for each in folders if each[0] != "." and os.path.realpath(f"{path}/{each}") not in around]
        outer |= {os.path.join(path, each): around for each in folders}  # noqa: PTH118 - the strings of os.walk
        yield from (Path(path, each) for each in names if each[0] != ".")


def _kind(path: Path) -> Kind | None:
    name = path.name.lower()
    base, suffix = os.path.splitext(name)  # noqa: PTH122 - of a name without a path
    inner = os.path.splitext(base)[1] if suffix in _COMPRESSIONS else suffix  # noqa: PTH122
    kind = _KINDS.get(inner)
    return None if kind == "parquet" and suffix in _COMPRESSIONS else kind


_REMEDY: Final = (
    "use .jsonl, .ndjson, .csv, .tsv, .txt, .md or .markdown, each also with .gz or .zst, or .parquet; json.loads "
    "reads a .json file"
)
