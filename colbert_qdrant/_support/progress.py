"""Reports the progress of long operations, with a progress bar or through the caller's reporter."""

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
    """Receives the progress of a long operation. Any object with these three methods is a reporter.

    An ingest that fits its encoding uses the reporter for several phases in sequence. These are the first documents,
    the fit, the encodings of stored documents, and the remaining documents. `evaluate` uses it for the documents, the
    queries, and the searches of each mode; then it counts queries.
    """

    def start(self, total: int | None) -> None:
        """Start, before the first document.

        Args:
            total: The number of documents, without those that an earlier run finished; ``None`` if it is unknown.
        """

    def advance(self, documents: int) -> None:
        """Add the number of documents in a batch, after the engine acknowledged the batch."""

    def stop(self) -> None:
        """Stop; called after an error, too."""


class Silence:
    """Reports nothing."""

    def start(self, total: int | None) -> None:
        """Do nothing."""

    def advance(self, documents: int) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""


class _RichBar:
    """A live progress bar on stderr, with its units per second and the remaining time."""

    def __init__(self, label: str, unit: str) -> None:
        self._label = label
        self._unit = unit
        try:
            from rich.console import Console  # noqa: PLC0415
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415
        except ImportError as error:
            raise MissingExtraError(
                "progress=True needs rich to draw its bar: pip install 'colbert-qdrant[progress]'"
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
            self._progress.update(self._task, rate=f"{task.completed / task.elapsed:,.0f} {self._unit}/s")

    def stop(self) -> None:
        self._progress.stop()


class _PeriodicReport:
    """Reports the progress at the start, at the end, and in between at most once per ``SECONDS``."""

    SECONDS: ClassVar[float]

    def __init__(self, label: str, unit: str) -> None:
        self._label = label
        self._unit = unit
        self._total: int | None = None
        self._done = 0
        self._started = self._reported = 0.0

    def start(self, total: int | None) -> None:
        self._total = total
        self._started = self._reported = time.monotonic()
        self._report()

    def advance(self, documents: int) -> None:
        self._done += documents
        if time.monotonic() - self._reported >= self.SECONDS:
            self._reported = time.monotonic()
            self._report()

    def stop(self) -> None:
        self._report()

    def _report(self) -> None:
        raise NotImplementedError

    def __repr__(self) -> str:  # shown by notebooks without HTML
        seconds = time.monotonic() - self._started
        of = "" if self._total is None else f" of {self._total:,}"
        rate = f", {self._done / seconds:,.0f} {self._unit}/s" if self._done and seconds else ""
        return f"{self._label}: {self._done:,}{of} {self._unit}, {seconds:,.0f} s{rate}"


class _Lines(_PeriodicReport):
    """Log records, for output that is not a terminal."""

    SECONDS = 10.0

    def _report(self) -> None:
        _LOG.info("%s", str(self))


class _NotebookBar(_PeriodicReport):
    """A progress bar of plain HTML under a notebook cell, without widgets."""

    SECONDS = 0.2

    def start(self, total: int | None) -> None:
        from IPython.display import display  # noqa: PLC0415 - only where it is running

        self._handle = display(self, display_id=True)
        super().start(total)

    def _report(self) -> None:
        if self._handle is not None:
            self._handle.update(self)

    def _repr_html_(self) -> str:
        value = "" if not self._total else f' value="{self._done}" max="{self._total}"'
        return f"<div><progress{value}></progress> {html.escape(str(self))}</div>"


class _Guarded:
    """Prevents a failing reporter from stopping the work: its error is logged once."""

    def __init__(self, reporter: ProgressReporter) -> None:
        self._reporter = reporter
        self._has_warned = False

    def start(self, total: int | None) -> None:
        self._report("start", total)

    def advance(self, documents: int) -> None:
        self._report("advance", documents)

    def stop(self) -> None:
        self._report("stop")

    def _report(self, method: str, *arguments: int | None) -> None:
        try:
            getattr(self._reporter, method)(*arguments)
        except Exception:  # noqa: BLE001 - users' reporters may raise anything
            if not self._has_warned:
                self._has_warned = True
                _LOG.warning("the progress reporter failed in %s(); the work continues", method, exc_info=True)


@contextmanager
def reporting(
    progress: bool | ProgressReporter,  # noqa: FBT001
    *,
    label: str,
    total: int | None,
    unit: str = "documents",
) -> Iterator[ProgressReporter]:
    """Start the requested reporter, and stop it at the end.

    ``True`` shows a progress bar in terminals and notebooks. Elsewhere it writes log records at level ``INFO``. The
    ``unit`` names the items that are counted.

    Raises:
        MissingExtraError: If a terminal's progress bar is requested and rich is not installed.
        ConfigurationError: If ``progress`` is neither a boolean nor a reporter.
    """
    report = _Guarded(_reporter(progress, label, unit))
    report.start(total)
    try:
        yield report
    finally:
        report.stop()


def require_progress(progress: object) -> None:
    """Raise `ConfigurationError` unless ``progress`` is a boolean or a reporter."""
    members = ("start", "advance", "stop")
    if not isinstance(progress, bool) and not all(
        has(progress, each) and callable(getattr(progress, each)) for each in members
    ):
        raise ConfigurationError(
            f"progress must be True, False or an object with start, advance and stop, got {type(progress).__name__}"
        )


def _shown(label: str, unit: str) -> ProgressReporter:
    if _in_notebook():
        return _NotebookBar(label, unit)
    return _RichBar(label, unit) if _in_terminal() else _Lines(label, unit)


def _in_terminal() -> bool:
    """Tell whether standard error is a terminal; it may be closed, missing or replaced by any writable object."""
    try:
        return bool(sys.stderr.isatty())
    except (AttributeError, ValueError):
        return False


def _in_notebook() -> bool:
    """Tell whether a notebook's kernel runs this code; the check imports nothing."""
    find = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = None if find is None else find()
    return shell is not None and getattr(shell, "kernel", None) is not None


def _reporter(progress: bool | ProgressReporter, label: str, unit: str) -> ProgressReporter:  # noqa: FBT001
    progress = plain(progress)
    if isinstance(progress, bool):
        return _shown(label, unit) if progress else Silence()
    require_progress(progress)
    return progress
