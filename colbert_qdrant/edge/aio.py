"""Provides `AsyncEdgeClient`, which runs the embedded engine in a worker process for event loops."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import os
import sys
from asyncio.subprocess import Process
from collections.abc import Callable, Coroutine
from itertools import count
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

from colbert_qdrant.edge.arguments import check_arguments, wrong_arguments
from colbert_qdrant.edge.checkpoints import Durability, check_durability
from colbert_qdrant.edge.client import EdgeClient
from colbert_qdrant.edge.names import cannot_travel, store_folder
from colbert_qdrant.edge.wire import GOODBYE, HEADER, INTERRUPT, pack, unpack, unpack_error
from colbert_qdrant.errors import ClosedError, ConfigurationError, EngineError

_MODULE: Final = "colbert_qdrant.edge.worker"
_PATIENCE: Final = 60.0
"""Seconds that a process gets to write everything to disk before it is killed."""


class WorkerEndedError(EngineError):
    """The engine's process ended during a request; acknowledged writes are kept."""


class AsyncEdgeClient:
    """An async `EdgeClient` with the engine in another process.

    The engine holds Python's global interpreter lock while it works, so a thread would block the event loop. The
    engine's process starts at the first call and restarts after a crash. It ends at `close`, or with this process.
    Methods, arguments, results and errors are those of `EdgeClient`.

    Args:
        path: The folder of the store; it is created if it does not exist.
        durability: Which writes survive a power cut; see `EdgeClient`.

    Raises:
        ConfigurationError: If the path is empty, contains control characters, or is not valid Unicode. If it is
            ``":memory:"``, a URL or the address of a server. If it starts with ``~`` or a variable, which only shells
            expand. If ``durability`` is unknown.

    Example:
        >>> import asyncio, tempfile
        >>> async def names(path):
        ...     async with AsyncEdgeClient(path) as client:
        ...         return (await client.get_collections()).collections
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     asyncio.run(names(folder))
        []
    """

    def __init__(self, path: str | PathLike[str], *, durability: Durability = "checkpoint") -> None:
        with wrong_arguments("AsyncEdgeClient"):
            self._path, self._durability = store_folder(path), check_durability(durability)
        self._closed = False
        self._worker: _Worker | None = None
        self._start_lock = asyncio.Lock()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(cannot_travel(type(self).__name__))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the process after it has finished its requests and written everything to disk.

        A process that takes longer than a minute is killed; acknowledged writes are not lost.
        """
        self._closed = True
        if self._worker is not None:  # it may still be starting, which this aborts
            await self._worker.end()
        async with self._start_lock:
            self._worker = None

    async def _call(self, method: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        return await (await self._current_worker()).ask(method, arguments, named)

    async def _current_worker(self) -> _Worker:
        async with self._start_lock:
            if self._closed:
                raise ClosedError(f"store {self._path} is closed: open a new AsyncEdgeClient")
            if self._worker is not None and self._worker.loop is not asyncio.get_running_loop():
                raise ConfigurationError(
                    f"the AsyncEdgeClient of store {self._path} belongs to another event loop, which used it first: "
                    "use it there, or close it and make another one here"
                )
            if self._worker is None or self._worker.has_ended:
                self._worker = await _Worker.start(self._path, self._durability)
                await self._open(self._worker)
            return self._worker

    async def _open(self, worker: _Worker) -> None:
        """Open the store in a new process; an error ends the process and is raised."""
        if self._closed:
            await worker.end()
            raise ClosedError(f"store {self._path} was closed while it was opened: open a new AsyncEdgeClient")
        try:
            await worker.ask("open", (), {})
        except BaseException:
            await worker.end()
            raise

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]: ...


class _Worker:
    """One run of the engine's process."""

    def __init__(self, process: Process) -> None:
        self.loop = asyncio.get_running_loop()
        self._process = process
        self._numbers = count()
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, path: Path, durability: Durability) -> Self:
        """Start the process, which opens the store at its first request."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", _MODULE, str(path), durability),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)},
        )
        return cls(process)

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended."""
        return self._reader.done()

    async def ask(self, method: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Return the result of a method. A cancelled call still runs to its end, except `optimize`, which stops."""
        number = next(self._numbers)
        message = pack(number, {"method": method, "arguments": list(arguments), "named": named})
        if self.has_ended or self._process.stdin is None:
            raise self._ended_error()
        self._pending[number] = answer = self.loop.create_future()
        try:
            self._process.stdin.write(message)
            with contextlib.suppress(ConnectionError):  # the reader gets this error too, and reports it
                await self._process.stdin.drain()
            return await answer
        except asyncio.CancelledError:
            if method == "optimize" and INTERRUPT is not None and not self.has_ended:
                self._process.send_signal(INTERRUPT)
            raise
        finally:
            self._pending.pop(number, None)

    async def end(self) -> None:
        """End the process after its pending requests; kill it if it does not end in time."""
        if self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(GOODBYE)  # a child that was forked from this process keeps its input open
            self._process.stdin.close()
        _, late = await asyncio.wait([self._reader], timeout=_PATIENCE)  # ends after the last response
        if late:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._reader

    async def _read(self) -> None:
        output = self._process.stdout
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while output is not None:
                number, text, buffers = HEADER.unpack(await output.readexactly(HEADER.size))
                self._answer(number, await output.readexactly(text + buffers), text)
        await self._process.wait()
        for future in self._pending.values():
            if not future.done():
                future.set_exception(self._ended_error())

    def _answer(self, number: int, body: bytes, text: int) -> None:
        future = self._pending.get(number)
        if future is None or future.done():
            return
        try:
            answer = unpack(body, text)
        except Exception as error:  # noqa: BLE001 - raised in the waiting task
            future.set_exception(error)
        else:
            if "error" in answer:
                future.set_exception(unpack_error(answer["error"]))
            else:
                future.set_result(answer["result"])

    def _ended_error(self) -> WorkerEndedError:
        return WorkerEndedError(
            f"the embedded engine's process ended (exit code {self._process.returncode}); acknowledged writes are "
            "kept, and the next call restarts it"
        )


def _as_coroutine(name: str, method: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    signature = inspect.signature(method)

    @functools.wraps(method)
    async def call(self: AsyncEdgeClient, *arguments: Any, **named: Any) -> Any:
        bound = signature.bind(self, *arguments, **named)
        with wrong_arguments(name):
            check_arguments(bound)
            return await self._call(name, bound.args[1:], bound.kwargs)

    return call


for _name, _method in inspect.getmembers(EdgeClient, inspect.isfunction):
    if not _name.startswith("_") and _name != "close":
        setattr(AsyncEdgeClient, _name, _as_coroutine(_name, _method))
