"""Keeps API keys out of repr, logs and pickles."""

from __future__ import annotations

from typing import Final, NoReturn

_MASK: Final = "Secret('***')"


class Secret:
    """A key that is hidden from printing, logging, formatting, comparing and pickling.

    Args:
        value: The key.

    Example:
        >>> key = Secret("correct horse")
        >>> f"{key}", [key]
        ("Secret('***')", [Secret('***')])
        >>> len(key.reveal())
        13
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the key."""
        return self._value

    def __repr__(self) -> str:
        return _MASK

    def __format__(self, format_spec: str) -> str:
        return format(_MASK, format_spec)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            "a Secret cannot be pickled or copied, so that the key stays in this process: make the client in the "
            "process that uses it, from api_key_env or api_key_file"
        )
