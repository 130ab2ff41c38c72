"""What `connect` makes of its settings, and what it refuses, before anything is sent."""

from __future__ import annotations

import inspect
import re
import traceback
import warnings
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from colbert_qdrant import ConfigurationError, Secret, connect, connect_async
from colbert_qdrant.engines.connect import ServerSettings, without_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdrant_client import QdrantClient

KEY = "correct-horse-battery-staple"
REMOTE = "https://qdrant.example.org:6333"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "api_key"
    path.write_text(KEY + "\n")
    return path


@pytest.fixture(params=["api_key", "secret", "api_key_env", "api_key_file", "auth_token_provider"])
def key(request: pytest.FixtureRequest, key_file: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("KEY_OF_THE_TEST", KEY)
    each: dict[str, dict[str, Any]] = {
        "api_key": {"api_key": KEY},
        "secret": {"api_key": Secret(KEY)},
        "api_key_env": {"api_key_env": "KEY_OF_THE_TEST"},
        "api_key_file": {"api_key_file": key_file},
        "auth_token_provider": {"auth_token_provider": lambda: KEY},
    }
    return each[request.param]


def sent(client: QdrantClient) -> Any:
    """What the client asks for the token of a request."""
    provider: Any = client.init_options["auth_token_provider"]
    return provider()


def test_both_have_the_same_signature() -> None:
    first, second = inspect.signature(connect), inspect.signature(connect_async)
    assert first.parameters == second.parameters
    assert set(first.parameters) == set(inspect.signature(ServerSettings).parameters)


def test_a_key_may_come_from_anywhere(key: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for url in (REMOTE, "http://localhost:6333", "http://127.0.0.1", "http://127.9.8.7:1", "http://[::1]:6333"):
            client = connect(url, **key)
            assert sent(client) == KEY
            assert KEY not in repr(client.init_options)
            client.close()


def test_without_a_key_there_is_none() -> None:
    for url in (REMOTE, "http://qdrant.example.org", "http://localhost"):
        client = connect(url)
        assert client.init_options["auth_token_provider"] is None
        client.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://qdrant:6333",
        "http://10.0.0.1",
        "http://[2001:db8::1]",
        "http://0.0.0.0:6333",
        "http://localhost.example",
    ],
)
def test_a_key_does_not_leave_this_machine_unencrypted(url: str, key: dict[str, Any]) -> None:
    with pytest.raises(
        ConfigurationError, match=r"not encrypted.* use https://, or pass allow_insecure=True"
    ) as caught:
        connect(url, **key)
    assert KEY not in everything_about(caught.value)
    client = connect(url, **key, allow_insecure=True)
    assert sent(client) == KEY
    client.close()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"https://admin:{KEY}@qdrant.example.org", "https://***@qdrant.example.org"),
        (f"https://{KEY}@qdrant.example.org", "https://***@qdrant.example.org"),
        (f"https://admin:{KEY}/x@qdrant.example.org", "https://***@qdrant.example.org"),
        (f"admin:{KEY}@qdrant.example.org", "***@qdrant.example.org"),
        (f"https://qdrant.example.org/?api_key={KEY}", "https://qdrant.example.org/?***"),
        (f"https://qdrant.example.org#{KEY}", "https://qdrant.example.org?***"),
        (f"https://a\n:{KEY}@qdrant.example.org", "https://***@qdrant.example.org"),
    ],
)
@pytest.mark.parametrize("function", [connect, connect_async])
def test_a_secret_in_a_url_is_refused_and_not_repeated(function: Any, url: str, shown: str) -> None:
    assert without_secrets(url) == shown
    with pytest.raises(ConfigurationError, match=re.escape(shown)) as caught:
        function(url)
    assert KEY not in everything_about(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        *("localhost", "localhost:6333", "qdrant.example.org", "//localhost", "ftp://localhost", "https:localhost", ""),
        *("https://", "http://:6333", "http://[::1", "http://localhost:0", "http://localhost:99999", "http://a b"),
        *("http://localhost\\.example.org", "http://localhost\n.example.org", " http://localhost", "http://a$b"),
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^url "):
        connect(url)


@pytest.mark.parametrize(
    "bad", [KEY + "\n", " " + KEY, KEY + "\t", f"a {KEY}", KEY + "\0", KEY + "é", "", "\r\n", KEY.encode(), 7]
)
@pytest.mark.parametrize("function", [connect, connect_async])
def test_a_key_that_cannot_be_sent_is_refused_and_not_repeated(function: Any, bad: Any) -> None:
    for given in (bad, Secret(bad)):
        with pytest.raises(ConfigurationError, match=r"^api_key: (the key|a key) ") as caught:
            function(REMOTE, api_key=given)
        assert KEY not in everything_about(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"two\nlines", b"\xff\xfe" + KEY.encode(), f"KEY={KEY} # mine".encode()]
)
def test_a_file_without_a_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"^file {re.escape(str(path))}: the key ") as caught:
        connect(REMOTE, api_key_file=path)
    assert KEY not in everything_about(caught.value)


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    with pytest.raises(ConfigurationError, match="environment variable NOT_SET is not set"):
        connect(REMOTE, api_key_env="NOT_SET")
    with pytest.raises(ConfigurationError, match=r"api_key_file .*missing.* cannot be read"):
        connect(REMOTE, api_key_file=tmp_path / "missing")
    for name in ("ca_file", "client_certificate"):
        with pytest.raises(ConfigurationError, match=f"{name}.* cannot be used"):
            connect(REMOTE, **{name: tmp_path / "missing"})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"api_key": KEY, "api_key_env": "HOME"}, "api_key and api_key_env are set, but only one key can be used"),
        ({"auth_token_provider": KEY}, "auth_token_provider must be a function"),
        ({"client_key": "key.pem"}, "client_key is set without client_certificate"),
        ({"timeout": 0}, "timeout must be a number of at least 1"),
        ({"grpc_port": 70_000}, "grpc_port must be between"),
        ({"prefer_grpc": "yes"}, "prefer_grpc must be 'auto', True or False"),
        ({"allow_insecure": 1}, "allow_insecure must be True or False"),
        ({"ca_file": ""}, "ca_file '' cannot be used"),
    ],
)
def test_settings_that_make_no_sense_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        connect(REMOTE, **arguments)
    assert "auth_token_provider" in arguments or KEY not in everything_about(caught.value)


@pytest.mark.parametrize("arguments", [{"ca_file": "ca.pem"}, {"client_certificate": "me.pem"}])
def test_certificates_without_tls_are_not_ignored(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="so certificates have no effect: use https://"):
        connect("http://localhost:6333", **arguments)


def test_a_provider_that_has_to_be_awaited_is_for_the_async_client() -> None:
    async def provider() -> str:
        return KEY

    class Provider:
        async def __call__(self) -> str:
            return KEY

    for each in (provider, Provider()):
        with pytest.raises(ConfigurationError, match="use connect_async"):
            connect(REMOTE, auth_token_provider=each)
        assert connect_async(REMOTE, auth_token_provider=each).init_options["auth_token_provider"]


def test_the_client_has_time_for_token_vectors() -> None:
    client = connect(REMOTE)
    assert client.init_options["timeout"] == 60
    client.close()


@pytest.mark.parametrize("url", ["https://qdrant.example.org", "http://127.0.0.1:6333"])
def test_a_server_that_was_away_is_soon_found_again_over_grpc(url: str) -> None:
    with closing(connect(url, prefer_grpc=True)) as client:
        assert client.init_options["grpc_options"]["grpc.max_reconnect_backoff_ms"] == 5_000


def test_the_settings_can_be_printed() -> None:
    values = dict.fromkeys(inspect.signature(ServerSettings).parameters)
    given = {"url": REMOTE, "prefer_grpc": False, "grpc_port": 6334, "timeout": 60, "allow_insecure": False}
    settings = ServerSettings(**{**values, **given, "api_key": Secret(KEY)})  # type: ignore[arg-type]
    assert "Secret('***')" in repr(settings)
    assert KEY not in repr(settings) + repr(vars(settings))


def everything_about(error: BaseException) -> str:
    """A traceback with the local variables of all frames of this library, of the error and of what led to it."""
    told = "".join(traceback.format_exception(error)) + repr(error)
    return told + "".join(_locals(error))


def _locals(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if "colbert_qdrant" in Path(frame.f_code.co_filename).parts:
                yield repr(frame.f_locals)
        error = error.__cause__ or error.__context__
