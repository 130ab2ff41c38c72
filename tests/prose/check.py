"""Prints the sentences that are not plain: `python -m tests.prose.check [FILE …]`."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.prose.banned import CONDITION, LONGEST, PATTERNS
from tests.prose.sentences import of_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT: Final = Path(__file__).parents[2]
DOCUMENTS: Final = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docker/README.md")


def files() -> list[Path]:
    """All files whose English is checked."""
    written = [path for path in sorted((ROOT / "colbert_qdrant").rglob("*.py")) if path.name != "sync.py"]
    return [*(ROOT / name for name in DOCUMENTS), *sorted((ROOT / "docs").rglob("*.md")), *written]


def problems(path: Path) -> Iterator[str]:
    """Each sentence that is too long or has a banned construction, with its line and the remedy."""
    for sentence in of_file(path):
        for pattern, remedy in PATTERNS.items():
            if found := pattern.search(sentence.text):
                yield f"{sentence.line}: {found[0]!r}: {remedy}: {sentence.text}"
        if sentence.kind == "raises" and not CONDITION.match(sentence.text):
            yield f"{sentence.line}: no condition: `If …`, `When …` or `Unless …`: {sentence.text}"
        if sentence.words > LONGEST:
            yield f"{sentence.line}: {sentence.words} words: {sentence.text}"


def main(arguments: Sequence[str]) -> int:
    """Print what is found, and the counts by file; returns the exit status."""
    counts: Counter[str] = Counter()
    for path in [Path(name).absolute() for name in arguments] or files():
        for problem in problems(path):
            counts[str(path.relative_to(ROOT))] += 1
            print(f"{path.relative_to(ROOT)}:{problem}")
    for name, count in counts.most_common(20):
        print(f"{count:6}  {name}", file=sys.stderr)
    print(f"{counts.total():6}  in all", file=sys.stderr)
    return 1 if counts else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
