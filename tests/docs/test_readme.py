"""README.md stays short, and leads to files that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
README: Final = (ROOT / "README.md").read_text(encoding="utf-8")


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150


def test_the_quick_start_is_short() -> None:
    first, *_ = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in first.splitlines() if line.strip()]) <= 12


def test_links_lead_to_files() -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)|src=\"([^\"]+)\"", README)
    inside = [link or image for link, image in links if not (link or image).startswith("https://")]
    assert len(inside) > 10
    assert [link for link in inside if not (ROOT / link).exists()] == []
