"""Checks names that become those of files and folders: valid on every system, and never a way out of a folder."""

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
_KEPT_IN_A_FOLDER = "and Qdrant Edge keeps its data in a folder: name a folder, or use"
_NO_FOLDERS = {
    r"(.*[/\\])?:memory:[/\\]?|memory:/.*": (
        f"is no folder, {_KEPT_IN_A_FOLDER} QdrantClient(':memory:') or AsyncQdrantClient(':memory:')"
    ),
    r"file:/.*": "is a URL of a file: give the path alone",
    r"[a-z][a-z0-9+.-]+:/.*|(.*[/\\])?(http|grpc)s?:(/.*)?": (
        f"is a URL, {_KEPT_IN_A_FOLDER} connect(url) or connect_async(url) for a server"
    ),
    r"localhost|(localhost|[\w-]+(\.[\w-]+)+|\[[0-9a-f:.]+\]|[\w-]+(?=:633[34])):\d+/?|"
    r"\d+(\.\d+){3}|[0-9a-f:]*::[0-9a-f:.]*|([\w-]+\.)+qdrant\.io/?": (
        f"is the address of a server, {_KEPT_IN_A_FOLDER} connect('http://…') or connect_async('http://…')"
    ),
    r"~(\w*[/\\].*)?": "begins with ~, which only shells read: expand it with Path(…).expanduser()",
    r"(\$\w+|\$\{\w+\}|%\w+%)([/\\].*)?": (
        "begins with a variable, which only shells read: expand it with os.path.expandvars(…)"
    ),
    **({} if os.name == "nt" else {r"[a-z]:[/\\].*|\\\\.*": "is one of Windows, and this is another system"}),
}
"""Patterns of what other clients, or shells, do not take for a folder, and what is wrong with it here."""


def check_name(name: object, what: str, *, max_bytes: int = _MAX_BYTES) -> None:
    """Raises `ConfigurationError` for what is no name of a file on some system, or leads elsewhere.

    The name may also be that of a folder; `what` says in the message whose it is.
    """
    problem = _problem(name, max_bytes)
    if problem:
        raise ConfigurationError(
            f"{_shorten(name)} cannot be the name of {what}, which becomes that of a file or folder: {problem}"
        )


def store_folder(path: str | os.PathLike[str]) -> Path:
    """Returns the folder that a path names, wherever the process goes.

    Raises:
        ConfigurationError: The path is empty, has a control character, is not valid Unicode, or names something else
            than a folder.
    """
    if not isinstance(path, str | os.PathLike) or not isinstance(text := os.fspath(path), str):
        raise ConfigurationError(f"path is of type {type(path).__name__}: name the folder of the store with a string")
    if not text.strip():
        raise ConfigurationError("path is empty: name the folder of the store, '.' for the current one")
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"path {text!a} is not valid Unicode: name the folder of the store") from error
    for pattern, problem in _NO_FOLDERS.items():
        if re.fullmatch(pattern, text.strip(), re.IGNORECASE | re.DOTALL):
            shown = f"{text.partition(':/')[0]}://..." if ":/" in text else text  # a URL may hold a key
            raise ConfigurationError(f"path {shown!a} {problem}")
    if found := _CONTROL.search(text):
        raise ConfigurationError(
            f"path {text!a} has the character {found[0]!a} in it: leave out line breaks and the like; .strip() takes "
            "away those around it"
        )
    return Path(text).absolute()


def cannot_travel(client: str) -> str:
    """Returns the message for somebody who pickles or copies a client."""
    return (
        f"an {client} holds its store, which is not pickled or copied: send the path, and make the client in the "
        "process that uses it. Only one process can have a store open; several share a Qdrant server"
    )


def fold_name(name: str) -> str:
    """Returns what is the same for all names that some file system takes for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _shorten(name: object) -> str:
    shown = ascii(name)  # a name may not be printable
    return shown if len(shown) <= 60 else f"{shown[:60]}…"


def _problem(name: object, max_bytes: int) -> str | None:
    if not isinstance(name, str):
        return f"it is a {type(name).__name__}, not a string"
    found = _FORBIDDEN.search(name)
    if found:
        return f"it has the character {found[0]!r}"
    if not name or name[-1] in ". ":  # `.` and `..` too
        return "it is empty, or ends with a dot or a space"
    if _DEVICE.fullmatch(name):
        return "Windows keeps it for a device"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "it is not valid Unicode"
    return f"it has {size} bytes, the most are {max_bytes}" if size > max_bytes else None
