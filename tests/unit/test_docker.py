"""The Compose files are valid and careful, and their scripts and the commands of their README do what they say."""

from __future__ import annotations

import ast
import os
import re
import shutil
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from ruamel.yaml import YAML

import colbert_qdrant

DOCKER = Path(__file__).parents[2] / "docker"
FILES = sorted(DOCKER.glob("compose*.yaml"))
README = (DOCKER / "README.md").read_text()

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="the scripts are for bash, in the container")
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes the certificates")


def load(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = YAML(typ="safe").load(path)
    return content


def nodes() -> list[Any]:
    return [
        pytest.param(service, id=f"{path.name}-{name}")
        for path in FILES
        for name, service in load(path)["services"].items()
    ]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_there_is_one_file_for_each_case() -> None:
    assert [path.name for path in FILES] == ["compose.cluster.yaml", "compose.tls.yaml", "compose.yaml"]
    assert len({load(path)["name"] for path in FILES}) == len(FILES)  # else they would share their volumes


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_is_valid(path: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nodes_differ_only_in_their_purpose() -> None:
    purpose = {"command", "environment", "secrets", "ports", "volumes", "networks", "healthcheck", "depends_on"}
    first, *others = [param.values[0] for param in nodes()]
    for other in others:
        assert {**first, **dict.fromkeys(purpose)} == {**other, **dict.fromkeys(purpose)}


@pytest.mark.parametrize("service", nodes())
def test_versions_are_exact(service: dict[str, Any]) -> None:
    assert re.fullmatch(r"qdrant/qdrant:v\d+\.\d+\.\d+-unprivileged", service["image"])


@pytest.mark.parametrize("service", nodes())
def test_only_this_machine_reaches_a_node_and_only_peers_its_consensus(service: dict[str, Any]) -> None:
    published = [port.split(":") for port in service["ports"]]
    assert [(host, inside) for host, _, inside in published] == [("127.0.0.1", "6333"), ("127.0.0.1", "6334")]
    assert "network_mode" not in service


@pytest.mark.parametrize("service", nodes())
def test_a_node_keeps_its_documents_and_comes_back(service: dict[str, Any]) -> None:
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] == "CMD"
    mounted = {target: source for source, target, *_ in (volume.split(":") for volume in service["volumes"])}
    named = {mounted["/qdrant/storage"], mounted["/qdrant/snapshots"]}
    assert len(named) == 2
    assert all(re.fullmatch(r"[a-z]+(-\d)?", source) for source in named)


@pytest.mark.parametrize("service", nodes())
def test_a_node_may_do_little(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["environment"]["QDRANT__TELEMETRY_DISABLED"] == "true"
    assert "privileged" not in service


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_key_is_written_down(path: Path) -> None:
    content = load(path)
    assert all(list(secret) == ["file"] for secret in content["secrets"].values())
    assert all(secret["file"] == f"./secrets/{name}" for name, secret in content["secrets"].items())
    for service in content["services"].values():
        assert set(service["secrets"]) == set(content["secrets"])
        assert service["command"][:2] == ["bash", "/start.sh"]
        for name, value in service["environment"].items():
            if re.search("KEY|TOKEN|SECRET|PASSWORD", name):
                assert value.removeprefix("/run/secrets/") in content["secrets"]
    assert not re.search(r"api_?key\w*['\"]?\s*[:=][^\S\n]*\S", path.read_text(), re.IGNORECASE)


def test_no_key_gets_into_the_repository() -> None:
    assert "secrets/" in (DOCKER / ".gitignore").read_text().split()
    assert not re.search(r"\b[0-9a-f]{32,}\b", README)


def test_every_volume_and_network_of_the_cluster_is_its_own() -> None:
    content = load(DOCKER / "compose.cluster.yaml")
    services = content["services"]
    volumes = [volume.split(":")[0] for service in services.values() for volume in service["volumes"]]
    own = [volume for volume in volumes if not volume.startswith(".")]
    assert sorted(own) == sorted(set(own)) == sorted(content["volumes"])
    assert content["networks"]["peers"] == {"internal": True}
    ports = [port for service in services.values() for port in service["ports"]]
    assert len(ports) == len({port.split(":")[1] for port in ports})
    for name, service in services.items():
        options = dict(zip(service["command"][2::2], service["command"][3::2], strict=True))
        assert service["networks"]["peers"]["aliases"] == [f"{name}.peers"]
        assert options.pop("--uri") == f"http://{name}.peers:6335"
        if name == "node-1":
            assert not options
        else:
            assert options == {"--bootstrap": services["node-1"]["command"][3]}
            assert service["depends_on"] == {"node-1": {"condition": "service_healthy"}}


def start(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run ``start.sh`` with a stand-in for Qdrant, and with ``folder`` in place of the container's secrets."""
    script = (DOCKER / "start.sh").read_text().replace("/run/secrets", str(folder))
    qdrant = folder / "qdrant"
    qdrant.write_text('#!/usr/bin/env bash\nenv | grep ^QDRANT__\nprintf "argument %s\\n" "$@"\n')
    qdrant.chmod(0o755)
    command = ["bash", "-c", script, "/start.sh", "--uri", "a b"]
    environment = {"PATH": os.environ["PATH"]}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@needs_bash
def test_start_hands_over_keys_and_arguments(tmp_path: Path) -> None:
    (tmp_path / "api_key").write_text("4e5\n")
    (tmp_path / "read_only_api_key").write_text("=$HOME 'x'\n")
    assert start(tmp_path).stdout.splitlines() == [
        "QDRANT__SERVICE__API_KEY=4e5",
        "QDRANT__SERVICE__READ_ONLY_API_KEY==$HOME 'x'",
        "argument --uri",
        "argument a b",
    ]


@needs_bash
@pytest.mark.parametrize("name", ["api_key", "read_only_api_key"])
@pytest.mark.parametrize("content", [None, "", "\n"])
def test_start_does_not_start_an_open_server(name: str, content: str | None, tmp_path: Path) -> None:
    for each in ("api_key", "read_only_api_key"):
        (tmp_path / each).write_text("4e5\n")
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text(content)
    done = start(tmp_path)
    assert done.returncode != 0
    assert name in done.stderr
    assert not done.stdout


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the README's commands make."""
    folder = tmp_path_factory.mktemp("docker")
    commands = "".join(block for block in blocks("sh") if "docker" not in block.split())
    subprocess.run(["bash", "-euc", commands], cwd=folder, capture_output=True, check=True)
    return folder / "secrets"


def healthy(path: Path, server: HTTPServer, secrets: Path | None = None) -> bool:
    for service in load(path)["services"].values():
        _, *command = [part.replace("$$", "$") for part in service["healthcheck"]["test"]]
        command = [part.replace("6333", str(server.port)).replace("/run/secrets", str(secrets)) for part in command]
        if subprocess.run(command, capture_output=True, check=False, timeout=10).returncode:
            return False
    return True


@needs_bash
@pytest.mark.parametrize(("name", "endpoint"), [("compose.yaml", "/readyz"), ("compose.cluster.yaml", "/healthz")])
def test_health_check(name: str, endpoint: str) -> None:
    with HTTPServer(host="127.0.0.1") as server:
        server.expect_request(endpoint).respond_with_data("ready")
        assert healthy(DOCKER / name, server)
        server.clear()
        server.expect_request(endpoint).respond_with_data("200 shards are not ready", status=503)
        assert not healthy(DOCKER / name, server)
    assert not healthy(DOCKER / name, server)


@needs_bash
@needs_openssl
def test_health_check_over_tls(secrets: Path, tmp_path: Path) -> None:
    path = DOCKER / "compose.tls.yaml"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(secrets / "server.pem", secrets / "server.key")
    with HTTPServer(host="127.0.0.1", ssl_context=context) as server:
        server.expect_request("/readyz").respond_with_data("ready")
        assert healthy(path, server, secrets)
        shutil.copy(secrets / "server.pem", tmp_path / "ca.pem")  # another authority
        assert not healthy(path, server, tmp_path)
        server.clear()
        server.expect_request("/readyz").respond_with_data("200 shards are not ready", status=503)
        assert not healthy(path, server, secrets)


@needs_bash
@needs_openssl
def test_the_commands_of_the_readme_make_every_secret(secrets: Path) -> None:
    wanted = {name for path in FILES for name in load(path)["secrets"]}
    assert wanted <= {path.name for path in secrets.iterdir()}
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert all((secrets / name).stat().st_mode & 0o777 == 0o644 for name in wanted)
    assert len((secrets / "api_key").read_text().strip()) == 64
    assert (secrets / "api_key").read_text() != (secrets / "read_only_api_key").read_text()


def test_the_readme_has_a_snippet_for_each_file() -> None:
    assert len(blocks("python")) == len(FILES)
    assert all(path.name in README for path in FILES)


@pytest.mark.parametrize("code", blocks("python"))
def test_snippets_use_the_public_interface(code: str) -> None:
    imported = {
        alias.name
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.ImportFrom) and node.module == "colbert_qdrant"
        for alias in node.names
    }
    assert "ColbertCollection" in imported
    assert imported <= set(colbert_qdrant.__all__)
    compile(code, "README.md", "exec")
