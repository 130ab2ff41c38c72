"""Reports the progress of long work, on a bar or to a reporter of the caller's own."""

from __future__ import annotations

import html
import logging
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

from colbert_qdrant._support.values import plain
from colbert_qdrant.errors import ConfigurationError, MissingExtraError
from colbert_qdrant.shown import has

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress

_LOG: Final = logging.getLogger(__name__)


class ProgressReporter(Protocol):
    """Is told how far long work has come. Any object with these three methods is a reporter.

    An ingest that fits its encoding uses it several times, one after the other: for the documents, for the fit, for
    the encodings that are added to what is stored, and for the documents that are left.
    """

    def start(self, total: int | None) -> None:
        """Begin, before the first document; ``total`` is without those done before, ``None`` if nobody knows it."""

    def advance(self, documents: int) -> None:
        """Count the documents of a batch, after it was acknowledged."""

    def stop(self) -> None:
        """End, also after an error."""


class Silence:
    """Reports nothing."""

    def start(self, total: int | None) -> None:
        """Ignore the beginning."""

    def advance(self, documents: int) -> None:
        """Ignore the documents."""

    def stop(self) -> None:
        """Ignore the end."""


class _RichBar:
    """A live bar on stderr with documents per second and the time left."""

    def __init__(self, label: str) -> None:
        self._label = label
        try:
            from rich.console import Console  # noqa: PLC0415
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415
        except ImportError as error:
            raise MissingExtraError(
                "progress=True draws its bar with rich: pip install 'colbert-qdrant[progress]'"
            ) from error
        self._progress: Progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )

    def start(self, total: int | None) -> None:
        self._task = self._progress.add_task(self._label, total=total, rate="")
        self._progress.start()

    def advance(self, documents: int) -> None:
        self._progress.advance(self._task, documents)
        task = self._progress.tasks[0]
        if task.elapsed:
            self._progress.update(self._task, rate=f"{task.completed / task.elapsed:,.0f} documents/s")

    def stop(self) -> None:
        self._progress.stop()


class _Told:
    """Tells how far the work is, at most once in so many seconds, and at its beginning and its end."""

    SECONDS: ClassVar[float]

    def __init__(self, label: str) -> None:
        self._label = label
        self._total: int | None = None
        self._done = 0
        self._begun = self._told = 0.0

    def start(self, total: int | None) -> None:
        self._total = total
        self._begun = self._told = time.monotonic()
        self._tell()

    def advance(self, documents: int) -> None:
        self._done += documents
        if time.monotonic() - self._told >= self.SECONDS:
            self._told = time.monotonic()
            self._tell()

    def stop(self) -> None:
        self._tell()

    def _tell(self) -> None:
        raise NotImplementedError

    def __repr__(self) -> str:  # what a notebook without HTML shows
        seconds = time.monotonic() - self._begun
        of = "" if self._total is None else f" of {self._total:,}"
        rate = f", {self._done / seconds:,.0f} documents/s" if self._done and seconds else ""
        return f"{self._label}: {self._done:,}{of} documents, {seconds:,.0f} s{rate}"


class _Lines(_Told):
    """Lines in the log, for what is no terminal."""

    SECONDS = 10.0

    def _tell(self) -> None:
        _LOG.info("%s", str(self))


class _NotebookBar(_Told):
    """A bar of plain HTML under a notebook's cell, without widgets."""

    SECONDS = 0.2

    def start(self, total: int | None) -> None:
        from IPython.display import display  # noqa: PLC0415 - only where it is running

        self._handle = display(self, display_id=True)
        super().start(total)

    def _tell(self) -> None:
        if self._handle is not None:
            self._handle.update(self)

    def _repr_html_(self) -> str:
        value = "" if not self._total else f' value="{self._done}" max="{self._total}"'
        return f"<div><progress{value}></progress> {html.escape(str(self))}</div>"


class _Guarded:
    """Keeps the work from failing where a reporter does: its error is logged once."""

    def __init__(self, reporter: ProgressReporter) -> None:
        self._reporter = reporter
        self._has_warned = False

    def start(self, total: int | None) -> None:
        self._tell("start", total)

    def advance(self, documents: int) -> None:
        self._tell("advance", documents)

    def stop(self) -> None:
        self._tell("stop")

    def _tell(self, method: str, *arguments: int | None) -> None:
        try:
            getattr(self._reporter, method)(*arguments)
        except Exception:  # noqa: BLE001 - it may be anybody's
            if not self._has_warned:
                self._has_warned = True
                _LOG.warning("the progress reporter fails in %s(), and the work goes on without", method, exc_info=True)


@contextmanager
def reporting(progress: bool | ProgressReporter, *, label: str, total: int | None) -> Iterator[ProgressReporter]:  # noqa: FBT001
    """Start the reporter that is asked for, and stop it in the end; ``True`` shows a bar in terminals and notebooks.

    Elsewhere it is lines in the log, at level ``INFO``.

    Raises:
        MissingExtraError: A bar is wanted and rich is not installed.
        ConfigurationError: ``progress`` is neither a boolean nor a reporter.
    """
    report = _Guarded(_reporter(progress, label))
    report.start(total)
    try:
        yield report
    finally:
        report.stop()


def require_progress(progress: object) -> None:
    """Raise unless the value of a parameter says whether, or whom, progress is reported to."""
    members = ("start", "advance", "stop")
    if not isinstance(progress, bool) and not all(
        has(progress, each) and callable(getattr(progress, each)) for each in members
    ):
        raise ConfigurationError("progress must be True, False or an object with start, advance and stop")


def _shown(label: str) -> ProgressReporter:
    if _in_notebook():
        return _NotebookBar(label)
    return _RichBar(label) if _in_terminal() else _Lines(label)


def _in_terminal() -> bool:
    """Tell whether standard error is a terminal; it may be closed, missing or anything that somebody writes to."""
    try:
        return bool(sys.stderr.isatty())
    except (AttributeError, ValueError):
        return False


def _in_notebook() -> bool:
    """Tell whether a notebook's kernel runs this; nothing is imported for it."""
    find = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = None if find is None else find()
    return shell is not None and getattr(shell, "kernel", None) is not None


def _reporter(progress: bool | ProgressReporter, label: str) -> ProgressReporter:  # noqa: FBT001
    progress = plain(progress)
    if isinstance(progress, bool):
        return _shown(label) if progress else Silence()
    require_progress(progress)
    return progress
