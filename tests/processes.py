"""Scripts in processes of their own that start at once: forked from one that has imported what takes seconds.

Where it matters what has been imported, a test starts a new interpreter instead.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from multiprocessing.connection import Connection
    from types import TracebackType
    from typing import Self

PROCESSES: Final = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.preloaded"])


class Script:
    """`subprocess.Popen` of ``python -c SCRIPT ARGUMENTS``, or of ``python FILE ARGUMENTS``, with three pipes.

    Args:
        script: Its text, or the file that it is in.
        arguments: What it finds in ``sys.argv``.
        environment: Variables that it has besides those of the tests.
    """

    def __init__(self, script: str | Path, *arguments: object, environment: Mapping[str, str] | None = None) -> None:
        its_input, stdin = PROCESSES.Pipe(duplex=False)
        stdout, its_output = PROCESSES.Pipe(duplex=False)
        stderr, its_errors = PROCESSES.Pipe(duplex=False)
        its_own = (its_input, its_output, its_errors)
        what = (script, [*map(str, arguments)], dict(environment or {}), its_own)
        self._process = PROCESSES.Process(target=_run, args=what, daemon=True)
        self._process.start()
        for pipe in its_own:
            pipe.close()
        self.stdin, self.stdout, self.stderr = _file(stdin, "w"), _file(stdout, "r"), _file(stderr, "r")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self.kill()
        for file in (self.stdin, self.stdout, self.stderr):
            file.close()
        self.wait()

    def kill(self) -> None:
        """End it at once, with SIGKILL."""
        self._process.kill()

    def interrupt(self) -> None:
        """Press Ctrl-C in its terminal."""
        os.kill(self._process.pid or 0, signal.SIGINT)

    def wait(self, timeout: float = 60) -> int:
        """Its exit code, when it has ended.

        Raises:
            subprocess.TimeoutExpired: It has not, in so many seconds.
        """
        self._process.join(timeout)
        if self._process.exitcode is None:
            self.kill()
            raise subprocess.TimeoutExpired("the script", timeout)
        return self._process.exitcode

    def communicate(self) -> tuple[str, str]:
        """All that it prints until it ends, having no more input."""
        self.stdin.close()
        with ThreadPoolExecutor(2) as threads:
            printed, complained = threads.map(lambda file: file.read(), (self.stdout, self.stderr))
        return printed, complained


def run_script(
    script: str | Path, *arguments: object, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`subprocess.run` of such a script."""
    with Script(script, *arguments, environment=environment) as running:
        printed, complained = running.communicate()
        return subprocess.CompletedProcess([str(script)], running.wait(), printed, complained)


def _file(pipe: Connection, mode: str) -> IO[str]:
    with pipe:
        return os.fdopen(os.dup(pipe.fileno()), mode)


def _run(
    script: str | Path, arguments: list[str], environment: Mapping[str, str], pipes: tuple[Connection, ...]
) -> None:
    for number, pipe in enumerate(pipes):
        os.dup2(pipe.fileno(), number)
        pipe.close()
    sys.stdin = os.fdopen(0, closefd=False)
    os.environ.update(environment)
    if isinstance(script, Path):
        sys.argv, sys.path[:0] = [str(script), *arguments], [str(script.parent)]
        runpy.run_path(str(script), run_name="__main__")
    else:
        sys.argv = ["-c", *arguments]
        exec(compile(script, "<string>", "exec"), {"__name__": "__main__"})
