"""How libraries are set up that read the environment when they are imported: this is imported before them.

Processes that tests start inherit it.
"""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

_ONE_THREAD: Final = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
"""pytest-xdist keeps the cores busy, and matrices are small: more threads would only wait for each other."""
_NO_LOGS: Final = {"GRPC_VERBOSITY": "NONE", "GRPC_TRACE": ""}
"""gRPC's C++ code writes straight to standard error."""
_NO_CACHES: Final = {"HF_DATASETS_CACHE": str(Path(tempfile.gettempdir(), "colbert-qdrant-tests", "datasets"))}
"""``datasets`` locks a file for each folder that it reads, and never deletes it."""
_IN_MEMORY: Final = Path("/dev/shm")
_ROOM: Final = 4 * 2**30


def _in_memory() -> dict[str, str]:
    """Temporary folders in memory, if there is room: the embedded engine syncs all that it writes to disk."""
    if not _IN_MEMORY.is_dir() or shutil.disk_usage(_IN_MEMORY).free < _ROOM:
        return {}
    return {"PYTEST_DEBUG_TEMPROOT": str(_IN_MEMORY)}


def _trust_nobody() -> None:
    """Every client would read all public authorities, for longer than most tests take; stub servers know none."""
    os.environ.pop("SSL_CERT_FILE", None)
    os.environ["SSL_CERT_DIR"] = str(Path(__file__).parent)


gc.disable()  # what is imported stays; whoever imports this enables it again after the other imports
for _name, _value in {**_ONE_THREAD, **_NO_LOGS, **_NO_CACHES, **_in_memory()}.items():
    os.environ.setdefault(_name, _value)
if "QDRANT_URL" not in os.environ:
    _trust_nobody()
