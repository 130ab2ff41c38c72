"""Builds the graphs of a shard, in a process of its own: ``python build.py SHARD``.

The engine keeps Python's global lock while it builds, so no signal reaches the process that calls it. Another process
can be waited for, interrupted and killed: the shard is then as it was, or has some of its graphs. As a program this
file imports nothing but the engine, so it starts at once.
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
"""Whether a process can inherit the lock of a store, without which another one could open it meanwhile."""

APART_BYTES: Final = 4 * 2**20
"""The bytes of segments that are built in less time than a process takes to start, or a user to interrupt it."""

_DIES_WITH_PARENT: Final = 1
_GO: Final = b"go"
"""Without it the process ends at once: an interrupt may come while it starts, when nobody knows it yet."""

_MESSAGE_CHARACTERS: Final = 500


def build_apart(shard: Path, *, lock: int) -> bool:
    """Builds the graphs of a shard that is closed here; returns whether there was something to do.

    Args:
        shard: The shard's folder.
        lock: The open file that the store is locked by: it stays so while the process lives.

    Raises:
        OSError: The process failed, or was killed by somebody else.
    """
    with subprocess.Popen(  # noqa: S603 - it is this file
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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all of a terminal's processes; the other one decides
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGKILL)
    if sys.stdin.buffer.read() != _GO:
        return
    import qdrant_edge as edge  # noqa: PLC0415 - after what must not be missed

    shard = edge.EdgeShard.load(path)
    changed = shard.optimize()
    shard.flush()  # which deletes what was replaced
    shard.close()
    sys.stdout.write("built" if changed else "")


if __name__ == "__main__":
    _main(sys.argv[1])
