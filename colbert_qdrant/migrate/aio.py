"""Migrates existing collections to late interaction, as coroutines, and rolls back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self

from qdrant_client import models

from colbert_qdrant._support.progress import ProgressReporter
from colbert_qdrant._support.stays import StaysHere
from colbert_qdrant.config import CollectionConfig, FdeConfig, RetryConfig
from colbert_qdrant.encoders import LateInteractionEncoder
from colbert_qdrant.engines import AsyncClient, async_engine
from colbert_qdrant.migrate.cleanup import Side, ask, clean_up
from colbert_qdrant.migrate.decide import MigrationOptions
from colbert_qdrant.migrate.job import MigrationJob
from colbert_qdrant.migrate.plan import MigrationPlan, Strategy
from colbert_qdrant.migrate.planner import plan_migration, resume_migration
from colbert_qdrant.migrate.run import MigrationReport, run_migration
from colbert_qdrant.migrate.switch import roll_back, switch_alias
from colbert_qdrant.migrate.verdict import Verdict
from colbert_qdrant.migrate.verify import verify_target
from colbert_qdrant.points.texts import TextOf


class AsyncMigration(StaysHere):
    """`Migration` with all methods awaited: same names, same parameters, same errors.

    Requests use an ``AsyncQdrantClient`` or an `AsyncEdgeClient`, and never block other tasks. Worker threads encode
    texts, convert points, and call ``text`` and ``confirm``. Progress reporters are called on the event loop, or in a
    thread during a fit. After a task is canceled, repeat the call, or use `resume`: the migration continues.

    Example:
        >>> from qdrant_client import AsyncQdrantClient
        >>> from colbert_qdrant import AsyncMigration, ColbertEncoder
        >>> async def migrate(client: AsyncQdrantClient, encoder: ColbertEncoder) -> None:
        ...     migration = await AsyncMigration.plan(client, "docs-2024", "docs-2025", encoder=encoder)
        ...     print(migration)
        ...     await migration.run(progress=True)
        ...     verdict = await migration.verify()
        ...     if verdict.passed:
        ...         await migration.switch("docs")
    """

    _instead: ClassVar = (
        "create it with AsyncMigration.plan, or continue it with AsyncMigration.resume, in the process that uses it"
    )

    def __init__(self, job: MigrationJob) -> None:
        """Use `plan` or `resume` instead."""
        self._job = job

    @classmethod
    async def plan(
        cls,
        client: AsyncClient,
        source: str,
        target: str | None = None,
        *,
        target_client: AsyncClient | None = None,
        encoder: LateInteractionEncoder | None = None,
        fde: FdeConfig | None = None,
        config: CollectionConfig | None = None,
        text_key: str | None = None,
        text: TextOf | None = None,
        token_vector: str | None = None,
        reencode: bool = False,
        strategy: Strategy = "blue_green",
        filter: models.Filter | None = None,
        allow_irreversible: bool = False,
        retry: RetryConfig | None = None,
    ) -> Self:
        """Plan a migration: its steps, costs and risks. Nothing is written.

        The plan reuses the source's vectors: stored token vectors need no encoder. FDEs that FastEmbed computed are
        adopted if a recomputed sample proves their parameters. A collection of this library gets another encoding
        (``fde``), another encoder or another engine. A target begun by the same plan is resumed.

        Args:
            client: The client of the source's engine: an ``AsyncQdrantClient`` or an `AsyncEdgeClient`.
            source: The collection, or an alias of it.
            target: The new collection's name. The default is the source's name, with ``_colbert`` appended if both
                are in the same engine.
            target_client: The client of the target's engine; the source's by default.
            encoder: The encoder that turns texts into token vectors. Stored token vectors need no encoder; if you
                give one, they are compared with its output.
            fde: The encoding; the source's by default, or ``MuveraConfig()``.
            config: All settings of the target, instead of ``fde``. Ids, texts and copied vectors stay unchanged.
            text_key: The path of the texts in payloads, such as ``metadata.text`` or ``parts[].text``. By default,
                texts are looked for where LangChain, LlamaIndex, Haystack and FastEmbed store them.
            text: A function that takes a payload and returns its text, instead of a path.
            token_vector: The multivector with the token vectors, if the source has several.
            reencode: Whether to encode the texts even if the source has token vectors.
            strategy: ``"blue_green"`` writes a new collection, to which you switch an alias. ``"in_place"`` adds the
                vectors to the source's points, on servers since 1.19 and embedded engines.
            filter: The points to migrate; all by default.
            allow_irreversible: Whether to allow a plan that `rollback` cannot undo; its risks give the reason.
            retry: How to retry failed requests.

        Raises:
            CollectionNotFoundError: If the source does not exist.
            ConfigurationError: If an argument is missing that the plan needs, or if two arguments contradict each
                other.
        """
        options = MigrationOptions(
            encoder=encoder,
            fde=fde,
            config=config,
            text_key=text_key,
            text=text,
            token_vector=token_vector,
            reencode=reencode,
            strategy=strategy,
            filter=filter,
            allow_irreversible=allow_irreversible,
        )
        source_engine = async_engine(client, retry=retry)
        target_engine = source_engine if target_client is None else async_engine(target_client, retry=retry)
        return cls(await plan_migration(source_engine, target_engine, source, target, options))

    @classmethod
    async def resume(
        cls,
        client: AsyncClient,
        target: str,
        *,
        target_client: AsyncClient | None = None,
        encoder: LateInteractionEncoder | None = None,
        text: TextOf | None = None,
        retry: RetryConfig | None = None,
    ) -> Self:
        """Continue a migration that was started anywhere: its state is stored with the target.

        Args:
            client: The client of the source's engine.
            target: The target's name.
            target_client: The client of the target's engine, if it differs from the source's.
            encoder: The encoder of the migration. It is needed only if `run` and `verify` have to encode texts.
            text: The function that returns a payload's text, if the migration uses one.
            retry: How to retry failed requests.

        Raises:
            MigrationError: If the collection is not the target of a migration, or if the migration was started with
                another encoder.
        """
        source_engine = async_engine(client, retry=retry)
        target_engine = source_engine if target_client is None else async_engine(target_client, retry=retry)
        return cls(await resume_migration(source_engine, target_engine, target, encoder=encoder, text=text))

    @property
    def details(self) -> MigrationPlan:
        """The plan, with all its details."""
        return self._job.plan

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return self.details.to_dict()

    def __str__(self) -> str:
        return str(self.details)

    def __repr__(self) -> str:
        plan = self.details
        return f"{type(self).__name__}({plan.source!r} → {plan.target!r}, {plan.strategy}, {plan.kind})"

    async def run(
        self, *, progress: bool | ProgressReporter = False, points_per_second: float | None = None
    ) -> MigrationReport:
        """Write every point that the target lacks, or whose payload, dense or sparse vectors differ from the source.

        You can stop a run at any time, and run again. Each run also catches up with writes to the source, and deletes
        points that were deleted there. A change of token vectors or FDEs alone is found only in the sample of `verify`.
        In place, a run writes vectors that are missing, or that belong to a text that has changed.

        Args:
            progress: ``True`` shows a live bar in a terminal (needs the ``progress`` extra) or a notebook, and writes
                log lines elsewhere. Or pass your own reporter, which is told of every acknowledged batch.
            points_per_second: The highest rate of writes, to leave the server capacity for searches.

        Returns:
            The counts of points, and the time.

        Raises:
            ConfigurationError: If ``points_per_second`` is not greater than 0.
            MigrationError: If a risk blocks the plan, if the target is already in use, or if the server refuses
                points. All other points are written.
            RequestError: If the server keeps failing. Written points stay, and the next run continues from there.
        """
        return await run_migration(self._job, progress=progress, points_per_second=points_per_second)

    async def verify(
        self,
        *,
        sample: int = 64,
        queries: int = 16,
        min_recall: float = 0.8,
        timeout: float = 600.0,  # noqa: ASYNC109 - it bounds a part of the work
        progress: bool | ProgressReporter = False,
    ) -> Verdict:
        """Compare the target with the source, and its two-stage search with exact search; store the verdict.

        The comparison covers all ids, payloads, dense and sparse vectors, and payload indexes. It counts the points
        that have each vector, and compares the other vectors of a sample. In place, it compares all texts with those
        that were encoded. Servers continue to build graphs after `run`: this call waits for them.

        Args:
            sample: The number of points whose other vectors are compared and recomputed.
            queries: The number of queries, which are pieces of documents. Exact search is slow in large collections.
            min_recall: The lowest acceptable recall@10 of two-stage search, measured against exact search.
            timeout: The seconds to wait for the graphs; without graphs, the verdict does not pass.
            progress: As for `run`; reports every page of ids and payloads, and then the vectors in graphs.

        Returns:
            The verdict, with the reasons for a failure, and with warnings, which are not failures. After a switch,
            points that applications added to the target are not failures.

        Raises:
            ConfigurationError: If an argument is out of range.
            MigrationError: If the migration was not started.
        """
        return await verify_target(
            self._job, sample=sample, queries=queries, min_recall=min_recall, timeout=timeout, progress=progress
        )

    async def switch(self, alias: str, *, force: str | None = None) -> None:
        """Point an alias at the target, in one atomic request.

        Before that, writes to the source since the verification are copied. Afterwards, writes that arrived while the
        alias moved are copied. Once an alias points at the target, nothing replaces points that applications write
        there. A warning names points that were written on both sides during the switch.

        Args:
            alias: The alias, which may be new, or point at the source or any other collection.
            force: The reason to switch without a passed verification and without copying; it is stored.

        Raises:
            MigrationError: If the last verification did not pass, or if another client wrote to the target since. Also
                if texts have to be encoded and there is no encoder.
            ConfigurationError: If a collection has that name, if the reason is empty, or if the migration is in place.
        """
        await switch_alias(self._job, alias, force=force)

    async def rollback(self, *, force: str | None = None) -> None:
        """Point all aliases back at their collections from before `switch`; in place, remove the added vectors.

        Args:
            force: The reason to roll back although the target has points or versions that the source lacks. It is
                stored, and neither `run` nor `cleanup` deletes those points.

        Raises:
            MigrationError: If the previous collection of an alias is gone, or if another client changed the alias
                since. Also if source and target differ, since applications wrote to the target.
            ConfigurationError: If the reason is empty.
        """
        await roll_back(self._job, force=force)

    async def cleanup(self, what: Side | None = None, *, confirm: Callable[[str], bool] = ask) -> str | None:
        """Delete the collection that is no longer needed: the source after a switch, the target otherwise.

        Args:
            what: ``"source"`` or ``"target"``. It is required if the two are in different engines, or if another
                client changed an alias since.
            confirm: A function that takes a question with the collection's name, and returns whether to delete it. By
                default, the question is asked in the terminal.

        Returns:
            The name of the deleted collection; ``None`` if the deletion was not confirmed.

        Raises:
            MigrationError: If the source would be deleted but the target is not verified. Also if the source has an
                alias, or points that were not migrated or were written since the switch. When the target would be
                deleted, also if it has an alias or data that the source lacks, or if the source is gone.
            ConfigurationError: If ``what`` is required, or if the migration is in place.
        """
        return await clean_up(self._job, what, confirm=confirm)
