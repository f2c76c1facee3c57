"""The pages find each other: links lead somewhere, and the README leads to every page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").glob("*.md"))
LINK = re.compile(r"\]\(([\w./-]+\.md)(?:#[^)]*)?\)")


def links(path: Path) -> set[Path]:
    """The pages that a page leads to."""
    text = path.read_text(encoding="utf-8")
    return {(path.parent / target).resolve() for target in LINK.findall(text)}


@pytest.mark.parametrize("path", [README, *PAGES], ids=lambda path: path.name)
def test_every_link_leads_to_a_page(path):
    assert not [target for target in links(path) if not target.exists()]


def test_the_readme_leads_to_every_page():
    assert {page.name for page in PAGES} <= {target.name for target in links(README)}
