"""What a test needs of the machine: root, a broker, free ports, Go.

Where that is missing the test is skipped and says what to install. Where BUCKETLOG_TEST_REQUIRED names it (kafka, root,
ports, go; several by commas), or is `all`, as in CI, the test fails instead: what never runs there is not tested.
"""

import os
from typing import Literal, NoReturn

import pytest


def missing(what: Literal["kafka", "root", "ports", "go"], why: str) -> NoReturn:
    """`why` says what to install or do."""
    if {what, "all"} & set(os.environ.get("BUCKETLOG_TEST_REQUIRED", "").split(",")):
        pytest.fail(why)
    pytest.skip(why)
