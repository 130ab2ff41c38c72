"""How libraries are set up that read the environment when they are imported: `conftest.py` imports this before them.

Processes that tests start inherit it. What somebody has set is left as it is.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

_ONE_THREAD: Final = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
"""pytest-xdist keeps the cores busy, and matrices are small: more threads would only wait for each other."""
_NO_LOGS: Final = {"GRPC_VERBOSITY": "NONE", "GRPC_TRACE": ""}
"""gRPC's C++ code writes straight to standard error."""


def _authorities() -> dict[str, str]:
    """None: every client would read all there are, for longer than most tests take, and no stub server has one's word.

    Whoever has a server tested may need them.
    """
    return {} if "QDRANT_URL" in os.environ else {"SSL_CERT_DIR": str(Path(__file__).parent)}


_IN_MEMORY: Final = Path("/dev/shm")
_ROOM: Final = 4 * 2**30


def _in_memory() -> dict[str, str]:
    """Temporary folders in memory, if there is room: the embedded engine syncs all that it writes to disk."""
    if not _IN_MEMORY.is_dir() or shutil.disk_usage(_IN_MEMORY).free < _ROOM:
        return {}
    return {"PYTEST_DEBUG_TEMPROOT": str(_IN_MEMORY)}


for _name, _value in {**_ONE_THREAD, **_NO_LOGS, **_authorities(), **_in_memory()}.items():
    os.environ.setdefault(_name, _value)
