"""Defines the verdict of a verification, as text, JSON and Markdown."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Final

_END: Final = "\n\n"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check of a verification.

    Attributes:
        name: The name of the check.
        passed: The outcome; ``None`` if the check could not be made, which does not fail the verification.
        detail: The finding; with the remedy if the check did not pass.
        warns: Whether you should look at the finding although the check did not fail.
    """

    name: str
    passed: bool | None
    detail: str
    warns: bool = False


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The outcome of a verification: whether a target equals its source and can be searched.

    Attributes:
        source: The source.
        target: The target.
        at: The time, in UTC.
        points: The number of points.
        digest: The SHA-256 of ids and payloads; it does not depend on their order.
        recall: The recall@10 of two-stage search against exact search; ``None`` if it was not measured.
        checks: All checks.
    """

    source: str
    target: str
    at: str
    points: int
    digest: str
    recall: float | None
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not self.reasons

    @property
    def reasons(self) -> tuple[str, ...]:
        """The failed checks, with remedies."""
        return tuple(f"{check.name}: {check.detail}" for check in self.checks if check.passed is False)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The findings that you should look at although their checks did not fail, with remedies."""
        return tuple(f"{check.name}: {check.detail}" for check in self.checks if check.warns)

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON values."""
        return {**asdict(self), "checks": [asdict(check) for check in self.checks], "passed": self.passed}

    def to_json(self) -> str:
        """Return the verdict as JSON."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def to_markdown(self) -> str:
        """Return the verdict as a Markdown table."""
        marks = {True: "passed", False: "**failed**", None: "not checked"}
        rows = "".join(
            f"| {each.name} | {'**warning**' if each.warns else marks[each.passed]} | {_cell(each.detail)} |\n"
            for each in self.checks
        )
        outcome = "not verified" if not self.passed else "verified, with warnings" if self.warnings else "verified"
        return (
            f"# {self.source} → {self.target}: {outcome}\n\n"
            f"{self.points:,} points, {self.at}, SHA-256 of ids and payloads `{self.digest}`.\n\n"
            f"{''.join(f'**Warning:** {each}.{_END}' for each in self.warnings)}"
            f"| check | outcome | detail |\n|---|---|---|\n{rows}"
        )

    def __str__(self) -> str:
        return self.to_markdown()


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
