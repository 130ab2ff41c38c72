"""Reads and checks API keys; no frame that raises an error here has a key in a local variable."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from colbert_qdrant._support.secret import Secret
from colbert_qdrant.errors import ConfigurationError

TokenProvider: TypeAlias = Callable[[], str] | Callable[[], Awaitable[str]]
"""A function that returns a token for each request, for tokens that expire; only `connect_async` accepts async ones."""

_KEY: Final = re.compile(r"[!-~]+")
_HEADER: Final = re.compile(
    r"""((?:authorization|api-key)["']?\s*[:=,]?\s*["']?(?:bearer\s+)?|bearer\s+)[\w~+/=.-]+""", re.IGNORECASE
)
_SHORTEST_HIDDEN: Final = 4
"""The minimum length of a key that is masked anywhere in a text; shorter keys occur in words."""


class UnsendableTokenError(Exception):
    """A user's token provider returned a token that cannot be sent in a header; internal to the package."""


class TokenProviderError(Exception):
    """A user's token provider raised an error; internal to the package."""


def hide(key: str | Secret | None) -> Secret | None:
    """Wrap a key in a `Secret`; never raises, because the key is checked later."""
    return key if key is None or isinstance(key, Secret) else Secret(key)


def token_provider(
    *,
    api_key: Secret | None,
    api_key_env: str | None,
    api_key_file: str | os.PathLike[str] | None,
    auth_token_provider: TokenProvider | None,
) -> TokenProvider | None:
    """Return the function that provides a token for each request; ``None`` without a key.

    Raises:
        ConfigurationError: If more than one key is given, a source has no key, or a key has forbidden characters.
    """
    sources = {
        "api_key": api_key,
        "api_key_env": api_key_env,
        "api_key_file": api_key_file,
        "auth_token_provider": auth_token_provider,
    }
    given = [name for name, value in sources.items() if value is not None]
    if len(given) > 1:
        raise ConfigurationError(f"{' and '.join(given)} are set, but only one key can be used: leave out all but one")
    if not isinstance(api_key_env, str | None):  # the message does not show the value, which may be a key
        raise ConfigurationError("api_key_env must be the name of an environment variable, a string")
    if not isinstance(api_key_file, str | os.PathLike | None):
        raise ConfigurationError("api_key_file must be the path of a file")
    if auth_token_provider is not None:
        if not callable(auth_token_provider):
            raise ConfigurationError(
                "auth_token_provider must be a function that returns a token: pass a fixed key as api_key"
            )
        return _Checking(auth_token_provider)
    if api_key is not None:
        return _checked(api_key, "api_key").reveal
    if api_key_env is not None:
        return _checked(_from_environment(api_key_env), f"environment variable {api_key_env}").reveal
    if api_key_file is not None:
        return _checked(_from_file(Path(api_key_file)), f"file {api_key_file}").reveal
    return None


def is_async(provider: TokenProvider | None) -> bool:
    """Tell, without a call, whether a provider is an async function."""
    return inspect.iscoroutinefunction(provider) or inspect.iscoroutinefunction(getattr(provider, "__call__", None))  # noqa: B004


def _from_environment(name: str) -> Secret:
    if not _is_set(name):
        raise ConfigurationError(f"environment variable {name} is not set: set it to the key, or leave out api_key_env")
    return Secret(os.environ[name])


def _is_set(name: str) -> bool:
    try:
        return name in os.environ
    except ValueError:  # not a valid name of a variable
        return False


def _from_file(path: Path) -> Secret:
    try:
        # bytes that are not UTF-8 are replaced here, and rejected by the check of the key
        return Secret(path.read_bytes().decode("utf-8", "replace").rstrip("\r\n"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"api_key_file {str(path)!r} cannot be read ({error}): give the path of a readable file"
        ) from error


def _checked(key: Secret, source: str) -> Secret:
    if not isinstance(key.reveal(), str):
        raise ConfigurationError(f"{source}: a key must be a string or a Secret, got {type(key.reveal()).__name__}")
    if not key.reveal():
        raise ConfigurationError(f"{source}: the key is empty: leave it out for a server without keys")
    if not _KEY.fullmatch(key.reveal()):
        raise ConfigurationError(
            f"{source}: the key has spaces, line breaks, control or non-ASCII characters, which cannot be sent in a "
            "header: check that it was copied completely, without quotes or comments"
        )
    return key


def without_keys(text: str, keys: Iterable[str] = ()) -> str:
    """Mask the given keys, and the values of all authorization headers, in a text.

    Example:
        >>> without_keys("502 from proxy; Authorization: Bearer correct-horse")
        '502 from proxy; Authorization: Bearer ***'
    """
    for key in keys:
        text = text.replace(key, "***") if len(key) >= _SHORTEST_HIDDEN else text
    return _HEADER.sub(r"\1***", text)


def keys_of(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the known keys that a client with these options sent last."""
    provider = options.get("auth_token_provider")
    holder = getattr(provider, "__self__", None)
    secrets = [options.get("api_key"), holder, provider.last if isinstance(provider, _Checking) else None]
    revealed = [each.reveal() if isinstance(each, Secret) else each for each in secrets]
    return tuple(each for each in revealed if isinstance(each, str))


class _Checking:
    """A user's token provider whose tokens are checked before they are sent; a later error would show them.

    Attributes:
        last: The token that the provider returned last.
    """

    def __init__(self, provider: TokenProvider) -> None:
        self._provider = provider
        self.last: Secret | None = None

    def __call__(self) -> Any:
        try:
            given: Any = self._provider()
        except Exception as error:
            raise TokenProviderError(_named(error)) from error
        if inspect.isawaitable(given):
            return self._awaited(given)
        given = Secret(given)
        return self._kept(given)

    async def _awaited(self, awaitable: Awaitable[str]) -> str:
        try:
            given = Secret(await awaitable)
        except Exception as error:
            raise TokenProviderError(_named(error)) from error
        return self._kept(given)

    def _kept(self, token: Secret) -> str:
        try:
            self.last = _checked(token, "auth_token_provider")
        except ConfigurationError as error:
            raise UnsendableTokenError(str(error)) from None
        return token.reveal()


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
