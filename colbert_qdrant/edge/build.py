"""Builds the graphs of a shard in a separate process: ``python build.py SHARD``.

The engine holds Python's global interpreter lock while it builds, so that its process handles no signals. A separate
process can be awaited, interrupted and killed. An interrupted shard is unchanged, or has some of its graphs. As a
program, this file imports only the engine, so that it starts quickly.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

APART: Final = os.name == "posix"
"""Whether a child process can inherit the lock of a store; without it, another process could open the store."""

APART_BYTES: Final = 4 * 2**20
"""Segments up to this size are built faster than a process starts or a user interrupts it."""

_DIES_WITH_PARENT: Final = 1
_GO: Final = b"go"
"""The process ends at once unless it reads this: its parent may be interrupted before it knows the process."""

_MESSAGE_CHARACTERS: Final = 500


def build_apart(shard: Path, *, lock: int) -> bool:
    """Build the graphs of a shard that this process has closed; returns whether anything was built.

    Args:
        shard: The shard's folder.
        lock: The open lock file of the store, which stays locked while the process lives.

    Raises:
        OSError: If the process failed or was killed.
    """
    with subprocess.Popen(  # noqa: S603 - it runs this file
        [sys.executable, "-P", __file__, str(shard)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        pass_fds=(lock,),
    ) as process:
        try:
            output, errors = process.communicate(_GO)
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        text = errors.decode(errors="replace").strip()[-_MESSAGE_CHARACTERS:]
        raise OSError(f"the process that builds the graphs ended (exit code {process.returncode}): {text}")
    return output == b"built"


def _main(path: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the parent decides
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGKILL)
    if sys.stdin.buffer.read() != _GO:
        return
    import qdrant_edge as edge  # noqa: PLC0415 - slow, so after the handlers are set

    shard = edge.EdgeShard.load(path)
    changed = shard.optimize()
    shard.flush()  # deletes replaced segments
    shard.close()
    sys.stdout.write("built" if changed else "")


if __name__ == "__main__":
    _main(sys.argv[1])
