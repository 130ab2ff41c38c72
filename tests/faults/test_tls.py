"""Certificates: an authority of one's own, and a client's, over REST and gRPC."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from colbert_qdrant import ColbertCollection, ConfigurationError, Document, connect
from tests import grpc_server
from tests.encoders import WordEncoder
from tests.faults import server as rest_server
from tests.faults.test_both_protocols import GrpcNode
from tests.faults.test_http import CONFIG

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make certificates with")


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, certificates that it signed for a server and a client, and an authority that signed nothing."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("ca", "other"):
        openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", f"/CN={name}"),
            *("-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem"),
        )
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
    for name in ("server", "client"):
        key, asked, signed = (folder / f"{name}.{kind}" for kind in ("key", "csr", "pem"))
        openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", asked)
        openssl(
            *("x509", "-req", "-days", "1", "-in", asked, "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key"),
            *("-CAcreateserial", "-extfile", folder / "names", "-out", signed),
        )
    (folder / "both.pem").write_bytes((folder / "client.pem").read_bytes() + (folder / "client.key").read_bytes())
    openssl("rsa", "-aes128", "-passout", "pass:x", "-in", folder / "client.key", "-out", folder / "locked.key")
    return folder


@pytest.fixture(params=["rest", "grpc"])
def address(request: pytest.FixtureRequest, made: Path) -> Iterator[dict[str, Any]]:
    """Where a server is that asks clients for a certificate."""
    if request.param == "grpc":
        pair = ((made / "server.key").read_bytes(), (made / "server.pem").read_bytes())
        authority = (made / "ca.pem").read_bytes()
        credentials = grpc.ssl_server_credentials([pair], root_certificates=authority, require_client_auth=True)
        with grpc_server.serving(grpc_server.Server(), credentials=credentials) as speaking:
            yield {"url": "https://localhost", "grpc_port": speaking.port, "prefer_grpc": True, "timeout": 5}
        return
    files = {"certificate": made / "server.pem", "key": made / "server.key", "clients": made / "ca.pem"}
    with rest_server.serving(rest_server.FaultyServer(), **files) as server:
        yield {"url": f"https://localhost:{server.port}", "timeout": 5}


@pytest.mark.parametrize("files", [("client.pem", "client.key"), ("both.pem", None)])
def test_both_sides_know_each_other(address: dict[str, Any], made: Path, files: tuple[str, str | None]) -> None:
    certificate, key = files
    client = connect(
        **address,
        ca_file=made / "ca.pem",
        client_certificate=made / certificate,
        client_key=None if key is None else made / key,
        api_key="correct-horse",
    )
    assert not client.collection_exists("docs")
    client.close()


@pytest.mark.parametrize("authority", ["other.pem", None])
def test_a_server_of_another_authority_is_not_trusted(
    address: dict[str, Any], made: Path, authority: str | None
) -> None:
    ca_file = None if authority is None else made / authority
    pair = {"client_certificate": made / "client.pem", "client_key": made / "client.key"}
    client = connect(**{**address, **pair}, ca_file=ca_file)
    with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
        client.collection_exists("docs")
    client.close()


def test_a_client_without_certificate_is_turned_away(address: dict[str, Any], made: Path) -> None:
    client = connect(**address, ca_file=made / "ca.pem")
    with pytest.raises(Exception, match=r"(?i)certificate|ssl|tls|unavailable|disconnected|reset"):
        client.collection_exists("docs")
    client.close()


@pytest.mark.parametrize(
    "files",
    [
        {"ca_file": "server.csr"},
        {"client_certificate": "ca.key"},
        {"client_certificate": "client.pem", "client_key": "server.key"},
        {"client_certificate": "client.pem", "client_key": "locked.key"},
        {"client_certificate": "client.pem"},
    ],
)
def test_files_that_are_something_else_are_refused_at_once(made: Path, files: dict[str, str]) -> None:
    given: dict[str, Any] = {name: made / file for name, file in files.items()}
    with pytest.raises(
        ConfigurationError, match=r"cannot be used .*give a PEM file, with a private key without password"
    ):
        connect("https://localhost", prefer_grpc=True, **given)


@pytest.mark.parametrize("prefer_grpc", ["auto", False])
def test_documents_go_over_both_protocols_with_the_same_certificates(made: Path, prefer_grpc: Any) -> None:
    pair = ((made / "server.key").read_bytes(), (made / "server.pem").read_bytes())
    authority = (made / "ca.pem").read_bytes()
    credentials = grpc.ssl_server_credentials([pair], root_certificates=authority, require_client_auth=True)
    files = {"certificate": made / "server.pem", "key": made / "server.key", "clients": made / "ca.pem"}
    with (
        grpc_server.serving(GrpcNode(), credentials=credentials) as node,
        rest_server.serving(rest_server.FaultyServer(), **files) as rest,
    ):
        client = connect(
            f"https://localhost:{rest.port}",
            grpc_port=node.port,
            prefer_grpc=prefer_grpc,
            ca_file=made / "ca.pem",
            client_certificate=made / "both.pem",
            api_key="correct-horse",
        )
        docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG)
        docs.upsert([Document("a", "river")])
        client.close()
        assert (len(node.ids), len(rest.ledger)) == ((1, 0) if prefer_grpc else (0, 1))
