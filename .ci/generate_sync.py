"""Generates the blocking classes from the asynchronous ones, which are written by hand.

    python .ci/generate_sync.py            write every generated file
    python .ci/generate_sync.py --check    fail if one is not what would be written

An ``await`` of a method of the class itself becomes a plain call. Any other becomes ``run_blocking(…)``, which runs a
coroutine whose engine blocks. Words and sentences that differ are listed below, and each has to occur.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGE: Final = ROOT / "colbert_qdrant"
NAMES: Final = {
    "AsyncColbertCollection": "ColbertCollection",
    "AsyncSearches": "Searches",
    "AsyncContents": "Contents",
    "AsyncWrites": "Writes",
    "searches.aio": "searches.sync",
    "contents.aio": "contents.sync",
    "writes.aio": "writes.sync",
    "AsyncAttachedCollection": "AttachedCollection",
    "AsyncMigration": "Migration",
    "AsyncQdrantClient": "QdrantClient",
    "AsyncEdgeClient": "EdgeClient",
    "AsyncClient": "Client",
    "async_engine": "blocking_engine",
    "attach_async": "attach",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
}
HEADER: Final = "# Generated from {source} by .ci/generate_sync.py: change it, and run `make generate`.\n\n"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A file, and what is generated from it.

    Attributes:
        folder: The package of both.
        texts: Texts of the source that differ in what is generated.
    """

    folder: str
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def source(self) -> Path:
        """The file that is written by hand."""
        return PACKAGE / self.folder / "aio.py"

    @property
    def target(self) -> Path:
        """The file that is generated."""
        return PACKAGE / self.folder / "sync.py"


PAIRS: Final = (
    Pair(
        folder="collection",
        texts={
            '"""The asynchronous collection for late interaction: ': '"""The collection for late interaction: ',
            """    \"\"\"`ColbertCollection` with all methods awaited: same names, same parameters, same errors.

    It sends requests through an ``AsyncQdrantClient`` or an `AsyncEdgeClient`, and many requests can run at the same
    time. Encoding and fitting run in threads, so encoders must be thread-safe; this library's encoders are. If a task
    is cancelled, each document is stored completely or not at all. A `create` or `drop` that has started is finished
    first. Progress is reported in the event loop, except that of a fit, which is reported in a thread.
""": """    \"\"\"A Qdrant collection with an FDE and token embeddings in every point.

    Use `create`, `open` or `open_or_create` to make one. It never closes the client.
""",
            "client: An ``AsyncQdrantClient`` (": "client: A ``QdrantClient`` (",
        },
    ),
    Pair(
        folder="collection/writes",
        texts={
            "asynchronous methods that": "methods that",
            """ An iterable may be asynchronous. A plain one is
                read in the event loop.
""": "\n",
            "If there is no such file, or an option is wrong.": "If there is no such file, an option is wrong, or the "
            "source is\n                asynchronous.",
        },
    ),
    Pair(
        folder="collection/contents",
        texts={
            "asynchronous methods that": "methods that",
            "import AsyncGenerator,": "import Generator,",
            "AsyncGenerator[Document, None]": "Generator[Document, None, None]",
            "An asynchronous generator": "A generator",
        },
    ),
    Pair(
        folder="collection/searches",
        texts={"asynchronous searches": "searches"},
    ),
    Pair(
        folder="attach",
        texts={
            "asynchronous late interaction": "late interaction",
            """    \"\"\"`AttachedCollection` with all methods awaited; made by `attach_async`.

    Texts are encoded and ranked in threads. Functions in ``by`` and ``text`` run in threads, too.
    \"\"\"
""": """    \"\"\"A collection without token vectors whose search results MaxSim ranks; made by `attach`.\"\"\"
""",
            "    This function is for event loops, but there is nothing to await.\n\n": "",
            "client: An ``AsyncQdrantClient`` (": "client: A ``QdrantClient`` (",
            "If the client is a blocking one,": "If the client is asynchronous,",
        },
    ),
    Pair(
        folder="migrate",
        texts={
            "collections to late interaction, as coroutines, and": "collections to late interaction, and",
            """    \"\"\"`Migration` with all methods awaited: same names, same parameters, same errors.

    Requests use an ``AsyncQdrantClient`` or an `AsyncEdgeClient`, and never block other tasks. Worker threads encode
    texts, convert points, and call ``text`` and ``confirm``. Progress reporters are called on the event loop, or in a
    thread during a fit. After a task is canceled, repeat the call, or use `resume`: the migration continues.
""": """    \"\"\"Migrates an existing collection to late interaction, without data loss and with a rollback.

    Create one with `plan`, or continue one on any machine with `resume`. Points keep their ids, payloads and vectors,
    in the same form: applications that read the source can read the target. ``print`` shows the plan.

    The clients stay yours: the migration never closes them.
""",
            "engine: an ``AsyncQdrantClient`` or an `AsyncEdgeClient`": "engine: a ``QdrantClient`` or an `EdgeClient`",
        },
    ),
)


def generate(pair: Pair) -> str:
    """Return the blocking form of a file."""
    text = pair.source.read_text()
    for old, new in pair.texts.items():
        if old not in text:
            raise SystemExit(f"{pair.source}: {old!r} does not occur: mend PAIRS")
        text = text.replace(old, new)
    text = _without_awaits(text)
    text = re.sub(r"^( *(?:>>>|\.\.\.) .*)$", lambda line: re.sub(r"\b(async|await) ", "", line[1]), text, flags=re.M)
    for old, new in NAMES.items():
        text = re.sub(rf"\b{old}\b", new, text)
    text = re.sub(r"  # noqa: ASYNC\d+[^\n]*", "", text)
    future = "from __future__ import annotations\n"
    text = text.replace(future, f"{future}\nfrom colbert_qdrant.engines.runtime import run_blocking\n", 1)
    source = pair.source.relative_to(ROOT).as_posix()
    return _tidy(HEADER.format(source=source) + text, pair.target)


def _without_awaits(text: str) -> str:
    """The same code without coroutines."""
    lines = text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))

    def place(line: int, column: int) -> int:
        return starts[line - 1] + len(lines[line - 1].encode()[:column].decode())

    edits: list[tuple[int, int, str]] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Await):
            start, end = place(node.lineno, node.col_offset), place(node.value.lineno, node.value.col_offset)
            if _is_own(node.value):
                edits.append((start, end, ""))
            else:
                edits.append((start, end, "run_blocking("))
                stop = place(node.end_lineno or 0, node.end_col_offset or 0)
                edits.append((stop, stop, ")"))
        elif isinstance(node, ast.AsyncFunctionDef | ast.AsyncWith):
            start = place(node.lineno, node.col_offset)
            edits.append((start, start + len("async "), ""))
        elif isinstance(node, ast.AsyncFor) or (isinstance(node, ast.comprehension) and node.is_async):
            raise SystemExit(f"line {node.target.lineno}: an `async for` has no blocking form: move it to a coroutine")
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _is_own(value: ast.expr) -> bool:
    """Whether what is awaited is a call of a method of the class itself."""
    return (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Attribute)
        and isinstance(value.func.value, ast.Name)
        and value.func.value.id in {"self", "cls"}
    )


def _tidy(text: str, target: Path) -> str:
    """The same code, sorted and formatted as the linter wants it."""
    name = ["--stdin-filename", str(target)]
    ruff = [sys.executable, "-m", "ruff"]
    commands = (
        [*ruff, "check", "--fix", "--quiet", "--exit-zero", "--select", "I,F401,TC", *name],
        [*ruff, "format", "--quiet", *name],
    )
    for command in commands:
        done = subprocess.run([*command, "-"], input=text, capture_output=True, text=True, check=True, cwd=ROOT)
        text = done.stdout
    return text


def main() -> None:
    """Write the generated files, or compare them."""
    stale = []
    for pair in PAIRS:
        text = generate(pair)
        if "--check" not in sys.argv:
            pair.target.write_text(text)
        elif not pair.target.exists() or pair.target.read_text() != text:
            stale.append(str(pair.target.relative_to(ROOT)))
    if stale:
        raise SystemExit(f"{', '.join(stale)}: not what is generated; run `make generate`")


if __name__ == "__main__":
    main()
