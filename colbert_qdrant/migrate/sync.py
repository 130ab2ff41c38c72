# Generated from colbert_qdrant/migrate/aio.py by .ci/generate_sync.py: change it, and run `make generate`.

"""Turns existing collections into collections for late interaction, and has a way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self

from qdrant_client import models

from colbert_qdrant._support.progress import ProgressReporter
from colbert_qdrant._support.stays import StaysHere
from colbert_qdrant.config import CollectionConfig, FdeConfig, RetryConfig
from colbert_qdrant.encoders import LateInteractionEncoder
from colbert_qdrant.engines import Client, blocking_engine
from colbert_qdrant.engines.runtime import run_blocking
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


class Migration(StaysHere):
    """Turns an existing collection into one for late interaction, with nothing lost and a way back.

    Made with `plan`, or on another machine, or later, with `resume`. Points keep their ids, payloads and vectors, also
    in form: what read the source can read the target. Printed, it is its plan.

    The clients stay the caller's: they are never closed here.

    Example:
        >>> from qdrant_client import QdrantClient
        >>> from colbert_qdrant import Migration, ColbertEncoder
        >>> def migrate(client: QdrantClient, encoder: ColbertEncoder) -> None:
        ...     migration = Migration.plan(client, "docs-2024", "docs-2025", encoder=encoder)
        ...     print(migration)
        ...     migration.run(progress=True)
        ...     verdict = migration.verify()
        ...     if verdict.passed:
        ...         migration.switch("docs")
    """

    _instead: ClassVar = (
        "make it with Migration.plan, or go on with one by Migration.resume, in the process that uses it"
    )

    def __init__(self, job: MigrationJob) -> None:
        """Used by `plan` and `resume`."""
        self._job = job

    @classmethod
    def plan(
        cls,
        client: Client,
        source: str,
        target: str | None = None,
        *,
        target_client: Client | None = None,
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
        """Find out what has to be done, what it costs and what can go wrong. Nothing is written.

        What the source has is used: token vectors in a multivector need no encoder. Encodings that FastEmbed made are
        adopted where computing some again proves their parameters. A collection of this library gets another encoding
        (``fde``), another encoder, or another engine. A target that this plan has begun with is gone on with.

        Args:
            client: A ``QdrantClient`` or an `EdgeClient`, that of the source's engine.
            source: The collection, or an alias of it.
            target: The new collection's name; by default the source's with ``_colbert``, in another engine the same.
            target_client: The client of the target's engine; by default the source's.
            encoder: The encoder that makes token vectors of texts. Stored ones need none; if it is given, they are
                compared with its own.
            fde: The encoding; by default that of the source, or ``MuveraConfig()``.
            config: All settings of the target, in the place of ``fde``; ids, texts and copied vectors stay what they
                are.
            text_key: The path of texts in payloads (`metadata.text`, `parts[].text`); by default where LangChain,
                LlamaIndex, Haystack and FastEmbed put them.
            text: The function that finds a payload's text, in the place of a path.
            token_vector: The multivector with token vectors, if there are several.
            reencode: Whether texts are encoded although there are token vectors.
            strategy: ``"blue_green"`` migrates into a new collection, which an alias is switched to. ``"in_place"``
                adds the vectors to the points where they are, on servers since 1.19 and embedded engines.
            filter: The points to migrate; by default all.
            allow_irreversible: Whether a plan may be run that `rollback` cannot undo; its risks say why it cannot.
            retry: What is done about failing requests.

        Raises:
            CollectionNotFoundError: There is no such collection.
            ConfigurationError: Something has to be said that cannot be known, or two arguments contradict each other.
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
        source_engine = blocking_engine(client, retry=retry)
        target_engine = source_engine if target_client is None else blocking_engine(target_client, retry=retry)
        return cls(run_blocking(plan_migration(source_engine, target_engine, source, target, options)))

    @classmethod
    def resume(
        cls,
        client: Client,
        target: str,
        *,
        target_client: Client | None = None,
        encoder: LateInteractionEncoder | None = None,
        text: TextOf | None = None,
        retry: RetryConfig | None = None,
    ) -> Self:
        """Go on with a migration that was begun, wherever that was: all it needs is kept with the target.

        Args:
            client: The client of the source's engine.
            target: The target's name.
            target_client: The client of the target's engine, if it is another.
            encoder: The encoder that it was begun with; only needed to run and verify, where texts are encoded.
            text: The function that finds a payload's text, if it was begun with one.
            retry: What is done about failing requests.

        Raises:
            MigrationError: The collection is no migration's target, or it was begun with another encoder.
        """
        source_engine = blocking_engine(client, retry=retry)
        target_engine = source_engine if target_client is None else blocking_engine(target_client, retry=retry)
        return cls(run_blocking(resume_migration(source_engine, target_engine, target, encoder=encoder, text=text)))

    @property
    def details(self) -> MigrationPlan:
        """The plan, with everything that was found out."""
        return self._job.plan

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return self.details.to_dict()

    def __str__(self) -> str:
        return str(self.details)

    def __repr__(self) -> str:
        plan = self.details
        return f"{type(self).__name__}({plan.source!r} → {plan.target!r}, {plan.strategy}, {plan.kind})"

    def run(
        self, *, progress: bool | ProgressReporter = False, points_per_second: float | None = None
    ) -> MigrationReport:
        """Write every point that the target has not, or has with another payload or other dense or sparse vectors.

        A run can be stopped at any time, and begun again: it also catches up with what was written to the source
        meanwhile. Token vectors and encodings alone that were changed there are found by a sample of `verify` only.
        Points that were deleted from the source are deleted from the target, too. In place, points get vectors that
        lack them, or have those of another text.

        Args:
            progress: ``True`` for a live bar in a terminal (needs the ``progress`` extra) or a notebook, and lines in
                the log elsewhere; or an object of your own that is told of every acknowledged batch.
            points_per_second: Most points to write in a second, to leave the server something for its searches.

        Returns:
            What was done.

        Raises:
            ConfigurationError: ``points_per_second`` is not more than 0.
            MigrationError: Something is in the way (see the plan's risks), the target is in use already, or the server
                refuses points; all others are written.
            RequestError: The server failed for good; what was written stays, and the next run goes on from there.
        """
        return run_blocking(run_migration(self._job, progress=progress, points_per_second=points_per_second))

    def verify(
        self,
        *,
        sample: int = 64,
        queries: int = 16,
        min_recall: float = 0.8,
        timeout: float = 600.0,
        progress: bool | ProgressReporter = False,
    ) -> Verdict:
        """Compare the target with the source, and its two-stage search with the exact one; the outcome is kept.

        All ids, payloads, dense and sparse vectors are compared, how many points have which vectors, the other vectors
        of some points, and payload indexes. In place, all texts are compared with those that vectors were made of. A
        server goes on building graphs after `run`: this waits until they are there.

        Args:
            sample: Points whose vectors are compared, and computed again.
            queries: Pieces of documents that are searched for in both ways; the exact one takes long in large
                collections.
            min_recall: The least part of the exact search's ten best that the two-stage search has to find.
            timeout: Seconds to wait for the graphs; a verdict of a target without them does not pass.
            progress: As for `run`, told of every page of ids and payloads, and then of vectors in graphs.

        Returns:
            The verdict, with reasons, and with warnings of what does not speak against the target. After a switch,
            points that applications added to the target do not.

        Raises:
            ConfigurationError: An argument is out of range.
            MigrationError: The migration was not begun.
        """
        return run_blocking(
            verify_target(
                self._job, sample=sample, queries=queries, min_recall=min_recall, timeout=timeout, progress=progress
            )
        )

    def switch(self, alias: str, *, force: str | None = None) -> None:
        """Have an alias stand for the target, in one request: no search finds neither collection, or both.

        Before that, what was written to the source since the verification is copied; after it, what was written while
        the alias moved. Once an alias stands for the target, nothing is copied over what applications write there; a
        warning names points that were written on both sides meanwhile.

        Args:
            alias: The alias, which may be new, or stand for the source, or any other collection.
            force: The reason to do without a passed verification, and without copying anything; it is kept.

        Raises:
            MigrationError: The last verification did not pass, or somebody wrote to the target since. Or texts have to
                be encoded, and there is no encoder.
            ConfigurationError: A collection has that name, the reason is empty, or the migration is in place.
        """
        run_blocking(switch_alias(self._job, alias, force=force))

    def rollback(self, *, force: str | None = None) -> None:
        """Have all aliases stand for what they stood for before `switch`; in place, take the added vectors away.

        Args:
            force: The reason to leave behind what only the target has, or has in another version; it is kept, and
                neither `run` nor `cleanup` deletes that then.

        Raises:
            MigrationError: What an alias stood for is gone, or somebody else changed it since. Or source and target are
                not the same, since applications wrote to the target.
            ConfigurationError: The reason is empty.
        """
        run_blocking(roll_back(self._job, force=force))

    def cleanup(self, what: Side | None = None, *, confirm: Callable[[str], bool] = ask) -> str | None:
        """Delete the collection that is not needed any more: after a switch the source, else the target.

        Args:
            what: ``"source"`` or ``"target"``. It has to be said where they are in two engines, or somebody else
                changed an alias since.
            confirm: The function that is told what would be deleted, and says whether to. By default somebody at the
                terminal is asked.

        Returns:
            The name of what was deleted; ``None`` if it was not confirmed.

        Raises:
            MigrationError: The source is to go, but the target is not verified. Or it has points that were not
                migrated, or were written since the switch, or an alias. Or the target is to go, and has an alias, or
                something that the source has not, or the source is gone.
            ConfigurationError: It has to be said which one is to go, or the migration is in place.
        """
        return run_blocking(clean_up(self._job, what, confirm=confirm))
