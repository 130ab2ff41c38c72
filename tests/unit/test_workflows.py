"""The workflows are valid, and run the suites against every kind of server that tests know."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

WORKFLOWS = Path(__file__).parents[2] / ".github" / "workflows"
FILES = sorted(WORKFLOWS.glob("*.yml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_is_valid(path: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_servers_are_tested_over_rest_and_over_grpc() -> None:
    workflow: dict[str, Any] = YAML(typ="safe").load(WORKFLOWS / "servers.yml")
    assert set(workflow["on"]) == {"schedule", "workflow_dispatch"}
    [suites] = workflow["jobs"].values()
    assert [version.rpartition(".")[0] for version in suites["strategy"]["matrix"]["server"][:-1]] == [
        "v1.10",
        "v1.13",
        "v1.16",
        "v1.18",
        "v1.19",
    ]
    command = suites["steps"][-1]
    assert {"QDRANT_URL", "QDRANT_GRPC_PORT"} <= command["env"].keys()
    assert command["run"].endswith("pytest tests/contract tests/congruence -k server")
