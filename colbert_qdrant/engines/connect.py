"""Makes clients of a server, and keeps their keys out of reprs, logs and pickles."""

from __future__ import annotations

import ipaddress
import math
import os
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import SplitResult, urlsplit

import httpx
from qdrant_client import AsyncQdrantClient, QdrantClient

from colbert_qdrant._support.secret import Secret
from colbert_qdrant.config.checks import keep_plain, require_bool, require_int, require_number
from colbert_qdrant.engines.keys import TokenProvider, hide, is_async, token_provider
from colbert_qdrant.engines.tls import grpc_credentials, rest_context
from colbert_qdrant.engines.transport import bound
from colbert_qdrant.errors import ConfigurationError

Made = TypeVar("Made", QdrantClient, AsyncQdrantClient)

_KEPT_OPEN: Final = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=3)
"""Connections are used again, also to this machine, where the client itself opens one for each request. Servers close
them after 5 seconds."""

_LONGEST_RECONNECT_MS: Final = 5_000
"""After which a server that was away is tried again over gRPC; gRPC itself waits up to two minutes."""

_HOST: Final = re.compile(r"[\w.-]+|[0-9a-f:.]+")
_WARNING: Final = "(Api key|Auth token provider) is used with an insecure connection"


def connect(
    url: str,
    *,
    api_key: str | Secret | None = None,
    api_key_env: str | None = None,
    api_key_file: str | os.PathLike[str] | None = None,
    auth_token_provider: TokenProvider | None = None,
    prefer_grpc: bool = False,
    grpc_port: int = 6334,
    timeout: float = 60,
    ca_file: str | os.PathLike[str] | None = None,
    client_certificate: str | os.PathLike[str] | None = None,
    client_key: str | os.PathLike[str] | None = None,
    allow_insecure: bool = False,
) -> QdrantClient:
    """Make a client whose key is never sent in the clear, nor shown where the client or an error is printed.

    The key goes as ``Authorization: Bearer``, which servers take as they take ``api-key``. That way the client holds a
    `Secret`, and not the key. Nothing is sent before the first request.

    Args:
        url: Where the server is: ``"https://qdrant.example.org:6333"``.
        api_key: The key, or a JWT; at most one of this and the next three is given.
        api_key_env: The environment variable that holds it.
        api_key_file: The file that holds it, such as a secret of Docker or Kubernetes. Line breaks at its end do not
            count.
        auth_token_provider: Asked for a token before every request, for tokens that expire. No deadline ends a blocking
            one: it has to bound its own time.
        prefer_grpc: Speak gRPC where the client can.
        grpc_port: Where the server listens for it.
        timeout: Seconds that the server has for an answer. The client's own 5 are few for token vectors.
        ca_file: Certificates (PEM) of the authorities to trust, in the place of the usual ones.
        client_certificate: This side's certificate (PEM), for a server that asks for one.
        client_key: Its private key (PEM, without password), unless that is in the same file.
        allow_insecure: Send the key unencrypted over ``http://`` to another machine. Everybody in between can read it.

    Raises:
        ConfigurationError: A setting is wrong, cannot be read or contradicts another one, or the key would leave this
            machine unencrypted.

    Example:
        >>> connect("http://qdrant.example.org:6333", api_key="correct-horse")
        Traceback (most recent call last):
        colbert_qdrant.errors.ConfigurationError: http://qdrant.example.org:6333 is not encrypted, ...
    """
    if not isinstance(url, str):
        raise ConfigurationError(f"url is a {type(url).__name__}: give the address of a server, as a string")
    # from here on a traceback with local variables has nothing to tell
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
        raise ConfigurationError("auth_token_provider is async: give one that is not, or use connect_async")
    return _make(QdrantClient, settings)


def connect_async(
    url: str,
    *,
    api_key: str | Secret | None = None,
    api_key_env: str | None = None,
    api_key_file: str | os.PathLike[str] | None = None,
    auth_token_provider: TokenProvider | None = None,
    prefer_grpc: bool = False,
    grpc_port: int = 6334,
    timeout: float = 60,
    ca_file: str | os.PathLike[str] | None = None,
    client_certificate: str | os.PathLike[str] | None = None,
    client_key: str | os.PathLike[str] | None = None,
    allow_insecure: bool = False,
) -> AsyncQdrantClient:
    """Make an async client; arguments and errors are those of `connect`, and ``auth_token_provider`` may be async."""
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
    """The settings of `connect`, whose words these are, without anything that must not be shown."""

    url: str
    api_key: Secret | None
    api_key_env: str | None
    api_key_file: str | os.PathLike[str] | None
    auth_token_provider: TokenProvider | None
    prefer_grpc: bool
    grpc_port: int
    timeout: float
    ca_file: str | os.PathLike[str] | None
    client_certificate: str | os.PathLike[str] | None
    client_key: str | os.PathLike[str] | None
    allow_insecure: bool

    def __post_init__(self) -> None:
        keep_plain(self)
        require_bool("prefer_grpc", self.prefer_grpc)
        require_int("grpc_port", self.grpc_port, minimum=1, maximum=65_535)
        require_number("timeout", self.timeout, minimum=1)
        require_bool("allow_insecure", self.allow_insecure)
        if self.client_key is not None and self.client_certificate is None:
            raise ConfigurationError("client_key is given without client_certificate: give both, or neither")

    def arguments(self) -> dict[str, Any]:
        """What the client is made with. Reads the files and the environment variable that are named.

        Raises:
            ConfigurationError: See `connect`.
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
            "prefer_grpc": self.prefer_grpc,
            "grpc_port": self.grpc_port,
            "timeout": math.ceil(self.timeout),
            "auth_token_provider": provider,
            # a thread that asks for the version without the certificates; collections ask for it when they are opened
            "check_compatibility": False,
            "limits": _KEPT_OPEN,
            "grpc_options": of_grpc,
            **own,
        }

    def _plain(self, where: SplitResult, *, with_key: bool) -> dict[str, Any]:
        if self.ca_file is not None or self.client_certificate is not None:
            raise ConfigurationError(f"{self.url} is not encrypted, so there is no use for certificates: use https://")
        if _is_this_machine(where.hostname or ""):
            # a proxy that the environment names is another machine
            return {"trust_env": False, "grpc_options": {"grpc.enable_http_proxy": 0}}
        if with_key and not self.allow_insecure:
            raise ConfigurationError(
                f"{self.url} is not encrypted, and everybody in between could read the key: use https://, or pass "
                "allow_insecure=True if you trust the network as you trust the server"
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
        grpc_options = {"grpc_options": grpc_credentials(**files)} if self.prefer_grpc else {}
        return {"verify": rest_context(**files), **grpc_options}


def without_secrets(url: str) -> str:
    """A URL without what is secret in it, if anything is; never raises."""
    shown = re.sub(r"^([^/@]*//)?.*@", r"\1***@", str(url), flags=re.DOTALL)
    return re.sub(r"[?#].*", "?***", shown, flags=re.DOTALL)


def _split(url: str) -> SplitResult:
    if "@" in url:
        raise ConfigurationError(
            f"url {url!r} has a user name or password in it, and URLs end in logs: give a key as api_key_file, "
            "api_key_env or api_key"
        )
    if "?" in url:
        raise ConfigurationError(f"url {url!r} has a query or a fragment, which would be lost: leave it out")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ConfigurationError(f"url {url!r} is none: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigurationError(
            f"url {url!r} has no scheme that servers have: begin it with https:// or http://, or use EdgeClient for a "
            "folder and QdrantClient(':memory:') for none"
        )
    if not _HOST.fullmatch(host) or port == 0 or not url.isprintable() or set(url) & set(" \\"):
        raise ConfigurationError(f"url {url!r} has no host, or characters that no address has")
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
        warnings.filterwarnings("ignore", _WARNING, UserWarning)  # what it warns of is allowed by now
        return bound(kind(**arguments))
