"""Two releases on one log: the second refuses writes that the first carries out.

What the second refused is carried out by nobody, and what the first did stays (`RefusalsAreTrue`).
"""

from collections.abc import Callable

import pytest

from processors.machine import decide
from processors.machine.rejection import Rejected
from processors.view import Readable
from topics import commands, events

REFUSAL = "InvalidRequest"  # as if its rules knew something wrong with it
REFUSED_OF = 3  # writes, one


def run_releases(patch: pytest.MonkeyPatch, current: Callable[[], int]) -> None:
    """`current`: of which release whoever decides is then; 0 is the code as it is."""
    honest = decide._put_object

    def put(view: Readable, body: commands.PutObject) -> events.Event:
        if current() and body.etag.isdigit() and int(body.etag) % REFUSED_OF == 0:
            raise Rejected(REFUSAL)
        return honest(view, body)

    patch.setattr("processors.runtime.own_release", lambda: f"release {current()}")
    patch.setattr(decide, "_put_object", put)
