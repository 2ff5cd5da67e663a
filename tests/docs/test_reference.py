"""The pages that are made from the code are what the code says now."""

import re
from pathlib import Path

import pytest

from nhwc.flows.reference import codes_page, index_page, manifest_page, pages
from nhwc.validators.manifest import COLUMNS, MEANINGS
from nhwc.validators.quality import FIGURE_COLUMNS
from nhwc.validators.violation import CHAPTERS, Code

DOCS = Path(__file__).parents[2] / "docs"
MADE = pages(DOCS)


@pytest.mark.parametrize("name", MADE)
def test_it_is_what_the_code_says(name: str) -> None:
    """Whoever changes a key, a code or a page's first sentence makes them again."""
    there = (DOCS / name).read_text(encoding="utf-8") if (DOCS / name).exists() else ""
    assert there == MADE[name], f"docs/{name} is not what the code says now: run `make docs` and commit what it writes"


def test_the_index_lists_every_page() -> None:
    """Once each, with a sentence that ends."""
    for path in DOCS.glob("*.md"):
        lines = [line for line in MADE["index.md"].splitlines() if f"]({path.name})" in line]
        assert (0 if path.name == "index.md" else 1) == len(lines), path.name
        assert all(line.endswith(".") and len(line) < 200 for line in lines), lines


def test_a_page_of_another_room_is_listed_too() -> None:
    """Its title, and its first sentence in one line."""
    page = index_page({"new.md": "# A title\n\nWhat it\nsays. And more.\n"})
    assert "- [A title](new.md): What it says." in page.splitlines()


def test_every_column_has_its_line() -> None:
    """And nothing is said of a column that there is not."""
    told = re.findall(r"^\| `(\w+)` \| \S+ \| .{5,} \|$", manifest_page(), re.MULTILINE)
    assert list(COLUMNS) == told
    assert MEANINGS.keys() | FIGURE_COLUMNS.keys() == COLUMNS.keys()


def test_every_code_has_its_line() -> None:
    """In the chapter that the table in validators/violation.py gives it, the first code in the first chapter."""
    page = codes_page({"BLANK": ["a.py"]})
    for code in Code:
        assert 1 == page.count(f"\n| `{code}` | "), code
    assert next(iter(Code)) in CHAPTERS
    assert len(set(CHAPTERS.values())) == page.count("| code | means | to mend | found by |")
    assert f"| `blank` | {Code.BLANK.meaning} | {Code.BLANK.mend} | [a.py](../a.py) |" in page
