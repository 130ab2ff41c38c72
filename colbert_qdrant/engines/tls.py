"""Reads TLS certificates for REST and gRPC."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from colbert_qdrant.errors import ConfigurationError

if TYPE_CHECKING:
    import os


def rest_context(
    *,
    ca_file: str | os.PathLike[str] | None,
    client_certificate: str | os.PathLike[str] | None,
    client_key: str | os.PathLike[str] | None,
) -> ssl.SSLContext:
    """Return an SSL context with the authorities in a file, or those of httpx, and the client's certificate, if any.

    Raises:
        ConfigurationError: If a file cannot be read, or contains no certificate or key.
    """
    try:
        context = httpx.create_ssl_context() if ca_file is None else ssl.create_default_context(cafile=Path(ca_file))
    except (OSError, ValueError) as error:
        raise _unusable("ca_file", ca_file, error) from error
    if client_certificate is not None:
        try:
            # without this argument, OpenSSL would ask for a password on the terminal
            context.load_cert_chain(Path(client_certificate), client_key, password="")
        except (OSError, ValueError) as error:
            raise _unusable("client_certificate and client_key", client_certificate, error) from error
    return context


def grpc_credentials(
    *,
    ca_file: str | os.PathLike[str] | None,
    client_certificate: str | os.PathLike[str] | None,
    client_key: str | os.PathLike[str] | None,
) -> dict[str, bytes]:
    """Return the certificates for the client's ``grpc_options``; `rest_context` must have read the files before."""
    files = {
        "root_certificates": ca_file,
        "certificate_chain": client_certificate,
        "private_key": client_certificate if client_key is None else client_key,
    }
    return {name: Path(file).read_bytes() for name, file in files.items() if file is not None}


def _unusable(name: str, file: str | os.PathLike[str] | None, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"{name} {str(file)!r} cannot be used ({error}): give a PEM file, with a private key without password"
    )
