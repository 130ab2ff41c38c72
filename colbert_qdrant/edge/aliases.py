"""Reads and writes `aliases.json`, the aliases of a store's collections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qdrant_client import models

from colbert_qdrant.edge.files import read_json, write_json
from colbert_qdrant.edge.names import check_name
from colbert_qdrant.errors import CollectionExistsError, CollectionNotFoundError, ConfigurationError, EngineError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

FORMAT: Final = 1
FILE_NAME: Final = "aliases.json"


class Aliases:
    """The aliases of one store, in one file that is read once and always replaced as a whole.

    Attributes:
        targets: The collection's name by alias. The mapping is replaced and never changed, so that other threads can
            read it at any time.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self.targets = _read(store / FILE_NAME)

    def change(self, operations: Sequence[models.AliasOperations], collections: Collection[str]) -> None:
        """Apply all operations in order, or none; errors are those of `update_collection_aliases`."""
        targets = dict(self.targets)
        for operation in operations:
            match operation:
                case models.CreateAliasOperation(create_alias=new):
                    self._require_collection(new, collections)
                    self._require_free(new.alias_name, collections)
                    targets[new.alias_name] = new.collection_name
                case models.DeleteAliasOperation(delete_alias=old):
                    targets.pop(old.alias_name, None)
                case models.RenameAliasOperation(rename_alias=names):
                    if names.old_alias_name not in targets:
                        raise CollectionNotFoundError(
                            f"alias {names.old_alias_name!r} does not exist in {self._store}: compare "
                            "the name with get_aliases()"
                        )
                    self._require_free(names.new_alias_name, collections)
                    targets[names.new_alias_name] = targets.pop(names.old_alias_name)
                case _:
                    raise ConfigurationError(
                        f"{operation!r} is not an alias operation: use CreateAliasOperation, DeleteAliasOperation or "
                        "RenameAliasOperation"
                    )
        self._replace(targets)

    def forget(self, collection: str) -> None:
        """Delete the aliases of a collection."""
        self._replace({alias: target for alias, target in self.targets.items() if target != collection})

    def require_none(self, name: str) -> None:
        """Raise `CollectionExistsError` if the name of a new collection is an alias."""
        if name in self.targets:
            raise CollectionExistsError(
                f"{name!r} is an alias of collection {self.targets[name]!r} in {self._store}: choose another name, or "
                "delete the alias with update_collection_aliases"
            )

    def _replace(self, targets: Mapping[str, str]) -> None:
        if targets != self.targets:
            write_json(self._store / FILE_NAME, FORMAT, {"aliases": targets})
            self.targets = targets

    def _require_collection(self, new: models.CreateAlias, collections: Collection[str]) -> None:
        if new.collection_name not in collections:
            raise CollectionNotFoundError(
                f"collection {new.collection_name!r} for alias {new.alias_name!r} does not exist in {self._store}: "
                "name a collection, not another alias"
            )

    def _require_free(self, alias: str, collections: Collection[str]) -> None:
        check_name(alias, "an alias")
        if alias in collections:
            raise CollectionExistsError(
                f"{alias!r} cannot be an alias, because it is a collection in {self._store}: choose another name, or "
                "delete the collection first"
            )


def _read(path: Path) -> Mapping[str, str]:
    if not path.exists():
        return {}
    try:
        return read_json(path, FORMAT, _check_names)
    except EngineError as error:
        raise EngineError(f"{error}, or delete it, which loses all aliases") from error


def _check_names(aliases: Mapping[str, str]) -> Mapping[str, str]:
    for alias, collection in aliases.items():
        check_name(alias, "an alias")
        check_name(collection, "a collection")
    return aliases
