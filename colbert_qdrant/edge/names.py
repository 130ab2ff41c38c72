"""Checks names that become those of files and folders: valid on every system, and never a way out of a folder."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

from colbert_qdrant.errors import ConfigurationError

_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]) *(\..*)?", re.IGNORECASE | re.DOTALL)
_MAX_BYTES = 255


def check_name(name: str, what: str, *, max_bytes: int = _MAX_BYTES) -> None:
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
        ConfigurationError: The path is empty, has a NUL, or is not valid Unicode.
    """
    text = os.fspath(path)
    if not text:
        raise ConfigurationError("path is empty: name the folder of the store, '.' for the current one")
    try:
        if b"\0" in os.fsencode(text):
            raise ConfigurationError(f"path {text!a} has a NUL in it: name the folder of the store")
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"path {text!a} is not valid Unicode: name the folder of the store") from error
    return Path(text).absolute()


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
