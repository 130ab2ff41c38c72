"""Validates names of files and folders: they must be valid on every system, and must not lead out of a folder."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

from colbert_qdrant.errors import ConfigurationError

_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]) *(\..*)?", re.IGNORECASE | re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MAX_BYTES = 255
_KEPT_IN_A_FOLDER = "but Qdrant Edge stores its data in a folder: give the path of a folder, or use"
_NO_FOLDERS = {
    r"(.*[/\\])?:memory:[/\\]?|memory:/.*": (
        f"is not a folder, {_KEPT_IN_A_FOLDER} QdrantClient(':memory:') or AsyncQdrantClient(':memory:')"
    ),
    r"file:/.*": "is a URL of a file: give the path only",
    r"[a-z][a-z0-9+.-]+:/.*|(.*[/\\])?(http|grpc)s?:(/.*)?": (
        f"is a URL, {_KEPT_IN_A_FOLDER} connect(url) or connect_async(url) for a server"
    ),
    r"localhost|(localhost|[\w-]+(\.[\w-]+)+|\[[0-9a-f:.]+\]|[\w-]+(?=:633[34])):\d+/?|"
    r"\d+(\.\d+){3}|[0-9a-f:]*::[0-9a-f:.]*|([\w-]+\.)+qdrant\.io/?": (
        f"is the address of a server, {_KEPT_IN_A_FOLDER} connect('http://…') or connect_async('http://…')"
    ),
    r"~(\w*[/\\].*)?": "starts with ~, which only shells expand: expand it with Path(…).expanduser()",
    r"(\$\w+|\$\{\w+\}|%\w+%)([/\\].*)?": (
        "starts with a variable, which only shells expand: expand it with os.path.expandvars(…)"
    ),
    **({} if os.name == "nt" else {r"[a-z]:[/\\].*|\\\\.*": "is a Windows path: give a path of this system"}),
}
"""Patterns of paths that are not folders, with the problem and the remedy."""


def check_name(name: object, what: str, *, max_bytes: int = _MAX_BYTES) -> None:
    """Raise `ConfigurationError` unless a name is valid for files and folders on every system.

    Args:
        name: The name.
        what: The kind of object that gets the name, for the message.
        max_bytes: The maximum length in UTF-8.
    """
    problem = _problem(name, max_bytes)
    if problem:
        raise ConfigurationError(
            f"{_shorten(name)} cannot be the name of {what} because {problem}: use letters, digits, - and _, since the "
            "name becomes a file or folder"
        )


def store_folder(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path of a store's folder.

    Raises:
        ConfigurationError: If the path is empty, contains control characters, is not valid Unicode, or does not name a
            folder.
    """
    if not isinstance(path, str | os.PathLike) or not isinstance(text := os.fspath(path), str):
        raise ConfigurationError(
            f"path is of type {type(path).__name__}: give the path of a folder, as a string or Path"
        )
    if not text.strip():
        raise ConfigurationError("path is empty: give the path of a folder, or '.' for the current folder")
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"path {text!a} is not valid Unicode: give the path of another folder") from error
    for pattern, problem in _NO_FOLDERS.items():
        if re.fullmatch(pattern, text.strip(), re.IGNORECASE | re.DOTALL):
            shown = f"{text.partition(':/')[0]}://..." if ":/" in text else text  # a URL may contain a key
            raise ConfigurationError(f"path {shown!a} {problem}")
    if found := _CONTROL.search(text):
        raise ConfigurationError(
            f"path {text!a} contains the control character {found[0]!a}: remove it; .strip() removes line breaks at "
            "the start and end"
        )
    return Path(text).absolute()


def cannot_travel(client: str) -> str:
    """Return the message for an attempt to pickle or copy a client."""
    return (
        f"{client} has its store open, and cannot be pickled or copied: send the path, and make the client in the "
        "process that uses it. Only one process can open a store; use a Qdrant server for several processes"
    )


def fold_name(name: str) -> str:
    """Return a key that is equal for names that some file systems treat as the same name."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _shorten(name: object) -> str:
    shown = ascii(name)  # a name may contain unprintable characters
    return shown if len(shown) <= 60 else f"{shown[:60]}…"


def _problem(name: object, max_bytes: int) -> str | None:
    if not isinstance(name, str):
        return f"it is a {type(name).__name__}, not a string"
    found = _FORBIDDEN.search(name)
    if found:
        return f"it contains {found[0]!r}"
    if not name or name[-1] in ". ":  # includes `.` and `..`
        return "it is empty, or ends with a dot or a space"
    if _DEVICE.fullmatch(name):
        return "Windows reserves it for a device"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "it is not valid Unicode"
    return f"it has {size} bytes, but the maximum is {max_bytes}" if size > max_bytes else None
