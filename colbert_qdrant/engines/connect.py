"""Makes clients of a server, and keeps their keys out of reprs, logs and pickles."""

from __future__ import annotations

import ipaddress
import math
import os
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar
from urllib.parse import SplitResult, urlsplit

import httpx
from qdrant_client import AsyncQdrantClient, QdrantClient

from colbert_qdrant._support.secret import Secret
from colbert_qdrant.config.checks import keep_plain, require_bool, require_int, require_number
from colbert_qdrant.engines.choice import choose_later
from colbert_qdrant.engines.keys import TokenProvider, hide, is_async, token_provider
from colbert_qdrant.engines.tls import grpc_credentials, rest_context
from colbert_qdrant.engines.transport import bound
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.shown import shown

Made = TypeVar("Made", QdrantClient, AsyncQdrantClient)

_KEPT_OPEN: Final = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=3)
"""Keeps connections alive between requests, also to localhost, where the client would open one per request. Servers
close idle connections after 5 seconds."""

_LONGEST_RECONNECT_MS: Final = 5_000
"""The longest wait before gRPC tries again to reach a server; gRPC's default is two minutes."""

_HOST: Final = re.compile(r"[\w.-]+|[0-9a-f:.]+")
_WARNING: Final = "(Api key|Auth token provider) is used with an insecure connection"


def connect(
    url: str,
    *,
    api_key: str | Secret | None = None,
    api_key_env: str | None = None,
    api_key_file: str | os.PathLike[str] | None = None,
    auth_token_provider: TokenProvider | None = None,
    prefer_grpc: bool | Literal["auto"] = "auto",
    grpc_port: int = 6334,
    timeout: float = 60,
    ca_file: str | os.PathLike[str] | None = None,
    client_certificate: str | os.PathLike[str] | None = None,
    client_key: str | os.PathLike[str] | None = None,
    allow_insecure: bool = False,
) -> QdrantClient:
    """Make a client that never sends its key unencrypted and never shows it in reprs or errors.

    The key is sent as ``Authorization: Bearer``, which servers accept like ``api-key``. This way the client holds a
    `Secret` instead of the plain key. The client sends nothing before the first request.

    Args:
        url: The server's URL, such as ``"https://qdrant.example.org:6333"``.
        api_key: The key, or a JWT. Pass at most one of this and the next three arguments.
        api_key_env: The environment variable that holds the key.
        api_key_file: The file that holds the key, such as a Docker or Kubernetes secret. Trailing line breaks are
            ignored.
        auth_token_provider: A function that returns a token before every request, for tokens that expire. Deadlines do
            not interrupt a blocking function, so it needs its own timeout.
        prefer_grpc: ``"auto"`` writes documents over gRPC if its port answers and belongs to the same server. It uses
            REST for everything else. The first write makes the choice, and the log tells it.
            ``True`` uses gRPC for all requests that the client supports over gRPC, and ``False`` uses REST only.
        grpc_port: The server's gRPC port.
        timeout: Seconds to wait for a response. The client's default of 5 is short for token vectors.
        ca_file: Certificates (PEM) of the authorities to trust, instead of the default ones.
        client_certificate: The client's certificate (PEM), for servers that require one.
        client_key: The certificate's private key (PEM, without password), unless the same file contains it.
        allow_insecure: Send the key unencrypted over ``http://`` to another machine. Anyone on the network path can
            read it.

    Raises:
        ConfigurationError: If a setting is invalid, cannot be read or contradicts another one, or the key would leave
            this machine unencrypted.

    Example:
        >>> connect("http://qdrant.example.org:6333", api_key="correct-horse")
        Traceback (most recent call last):
        colbert_qdrant.errors.ConfigurationError: http://qdrant.example.org:6333 is not encrypted, ...
    """
    if not isinstance(url, str):
        raise ConfigurationError(f"url must be a string, got {type(url).__name__}: give the address of a server")
    # from here on, a traceback with local variables shows no secret
    url, api_key = without_secrets(url), hide(api_key)
    settings = ServerSettings(
        url=url,
        api_key=api_key,
        api_key_env=api_key_env,
        api_key_file=api_key_file,
        auth_token_provider=auth_token_provider,
        prefer_grpc=prefer_grpc,
        grpc_port=grpc_port,
        timeout=timeout,
        ca_file=ca_file,
        client_certificate=client_certificate,
        client_key=client_key,
        allow_insecure=allow_insecure,
    )
    if is_async(auth_token_provider):
        raise ConfigurationError("auth_token_provider is async: pass a blocking function, or use connect_async")
    return _make(QdrantClient, settings)


def connect_async(
    url: str,
    *,
    api_key: str | Secret | None = None,
    api_key_env: str | None = None,
    api_key_file: str | os.PathLike[str] | None = None,
    auth_token_provider: TokenProvider | None = None,
    prefer_grpc: bool | Literal["auto"] = "auto",
    grpc_port: int = 6334,
    timeout: float = 60,
    ca_file: str | os.PathLike[str] | None = None,
    client_certificate: str | os.PathLike[str] | None = None,
    client_key: str | os.PathLike[str] | None = None,
    allow_insecure: bool = False,
) -> AsyncQdrantClient:
    """Make an async client; see `connect` for arguments and errors. ``auth_token_provider`` may be async."""
    url, api_key = without_secrets(url), hide(api_key)
    settings = ServerSettings(
        url=url,
        api_key=api_key,
        api_key_env=api_key_env,
        api_key_file=api_key_file,
        auth_token_provider=auth_token_provider,
        prefer_grpc=prefer_grpc,
        grpc_port=grpc_port,
        timeout=timeout,
        ca_file=ca_file,
        client_certificate=client_certificate,
        client_key=client_key,
        allow_insecure=allow_insecure,
    )
    return _make(AsyncQdrantClient, settings)


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """The arguments of `connect`, with secrets hidden."""

    url: str
    api_key: Secret | None
    api_key_env: str | None
    api_key_file: str | os.PathLike[str] | None
    auth_token_provider: TokenProvider | None
    prefer_grpc: bool | Literal["auto"]
    grpc_port: int
    timeout: float
    ca_file: str | os.PathLike[str] | None
    client_certificate: str | os.PathLike[str] | None
    client_key: str | os.PathLike[str] | None
    allow_insecure: bool

    def __post_init__(self) -> None:
        keep_plain(self)
        if not isinstance(self.prefer_grpc, bool | str) or self.prefer_grpc not in (True, False, "auto"):
            raise ConfigurationError(f"prefer_grpc must be 'auto', True or False, got {shown(self.prefer_grpc)}")
        require_int("grpc_port", self.grpc_port, minimum=1, maximum=65_535)
        require_number("timeout", self.timeout, minimum=1)
        require_bool("allow_insecure", self.allow_insecure)
        if self.client_key is not None and self.client_certificate is None:
            raise ConfigurationError("client_key is set without client_certificate: set both, or neither")

    def arguments(self) -> dict[str, Any]:
        """Return the client's arguments; reads the given files and environment variable.

        Raises:
            ConfigurationError: If a setting is invalid; see `connect`.
        """
        where = _split(self.url)
        provider = token_provider(
            api_key=self.api_key,
            api_key_env=self.api_key_env,
            api_key_file=self.api_key_file,
            auth_token_provider=self.auth_token_provider,
        )
        own = self._encrypted() if where.scheme == "https" else self._plain(where, with_key=provider is not None)
        of_grpc = {"grpc.max_reconnect_backoff_ms": _LONGEST_RECONNECT_MS, **own.pop("grpc_options", {})}
        return {
            "url": self.url,
            "prefer_grpc": self.prefer_grpc is True,
            "grpc_port": self.grpc_port,
            "timeout": math.ceil(self.timeout),
            "auth_token_provider": provider,
            # the check runs in a thread without the certificates; opening a collection checks the version anyway
            "check_compatibility": False,
            "limits": _KEPT_OPEN,
            "grpc_options": of_grpc,
            **own,
        }

    def _plain(self, where: SplitResult, *, with_key: bool) -> dict[str, Any]:
        if self.ca_file is not None or self.client_certificate is not None:
            raise ConfigurationError(f"{self.url} is not encrypted, so certificates have no effect: use https://")
        if _is_this_machine(where.hostname or ""):
            # a proxy from the environment would be another machine
            return {"trust_env": False, "grpc_options": {"grpc.enable_http_proxy": 0}}
        if with_key and not self.allow_insecure:
            raise ConfigurationError(
                f"{self.url} is not encrypted, so anyone on the network path could read the key: use https://, or pass "
                "allow_insecure=True if you trust the network"
            )
        return {}

    def _encrypted(self) -> dict[str, Any]:
        if self.ca_file is None and self.client_certificate is None:
            return {}
        files = {
            "ca_file": self.ca_file,
            "client_certificate": self.client_certificate,
            "client_key": self.client_key,
        }
        own: dict[str, Any] = {"verify": rest_context(**files)}  # it also checks the files
        if self.prefer_grpc:
            own["grpc_options"] = grpc_credentials(**files)
        return own


def without_secrets(url: str) -> str:
    """Return a URL with its secret parts masked; never raises."""
    shown = re.sub(r"^([^/@]*//)?.*@", r"\1***@", str(url), flags=re.DOTALL)
    return re.sub(r"[?#].*", "?***", shown, flags=re.DOTALL)


def _split(url: str) -> SplitResult:
    if "@" in url:
        raise ConfigurationError(
            f"url {url!r} contains a user name or password, which would appear in logs: pass the key as api_key_file, "
            "api_key_env or api_key"
        )
    if "?" in url:
        raise ConfigurationError(f"url {url!r} has a query or a fragment, which would be ignored: leave it out")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ConfigurationError(
            f"url {url!r} is invalid ({error}): use the form https://qdrant.example.org:6333"
        ) from error
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigurationError(
            f"url {url!r} does not start with https:// or http://: add one, or use EdgeClient(path) for a folder or "
            "QdrantClient(':memory:') for memory"
        )
    if not _HOST.fullmatch(host) or port == 0 or not url.isprintable() or set(url) & set(" \\"):
        raise ConfigurationError(f"url {url!r} has no valid host or port: use the form https://qdrant.example.org:6333")
    return parts


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _make(kind: Callable[..., Made], settings: ServerSettings) -> Made:
    arguments = settings.arguments()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", _WARNING, UserWarning)  # an insecure connection is allowed at this point
        client = bound(kind(**arguments))
    if settings.prefer_grpc == "auto":
        choose_later(client)
    return client
