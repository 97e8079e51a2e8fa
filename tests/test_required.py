"""What cannot run is skipped where nothing is required, and fails where it is."""

import pytest

from tests.required import missing


@pytest.mark.parametrize(
    ("required", "fails"),
    [("", False), ("kafka", False), ("root", True), ("kafka,root", True), ("all", True)],
)
def test_what_is_missing_fails_where_it_is_required(monkeypatch: pytest.MonkeyPatch, required: str, fails: bool) -> None:
    monkeypatch.setenv("BUCKETLOG_TEST_REQUIRED", required)
    with pytest.raises(pytest.fail.Exception if fails else pytest.skip.Exception, match="install it"):
        missing("root", "install it")
