"""What holds for all files of the tests."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
FILES = sorted(TESTS.rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Modules of ours, and names in them."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{each.name}" for each in node.names)
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names)


def test_no_test_is_imported() -> None:
    """What several tests use has a file of its own, which says what it is."""
    found = [
        f"{path.relative_to(TESTS)} imports {name}"
        for path in FILES
        for name in imported(path)
        if name.startswith("tests.") and any(part.startswith("test_") for part in name.split(".")[1:])
    ]
    assert found == []


def test_no_test_is_skipped_but_by_what_is_required() -> None:
    """So that in CI none is: see `required`."""
    skips = re.compile(r"pytest\.skip\(|mark\.skip|importorskip|unittest\.skip|mark\.xfail")
    others = [path for path in FILES if path.name not in {"required.py", "test_layout.py"}]
    assert [str(path.relative_to(TESTS)) for path in others if skips.search(path.read_text())] == []
