"""Two releases that take turns on one log: the second refuses writes that the first carries out.

The knob is `World.releases`: how many there are. Which one of two starts next is left to chance. What the second refused is
carried out by nobody, and what the first did stays (`RefusalsAreTrue`).
"""

from collections.abc import Callable

import pytest

from processors.machine import decide
from processors.machine.rejection import Rejected
from processors.view import Readable
from topics import commands, events

Put = Callable[[Readable, commands.PutObject], events.Event]
REFUSAL = "InvalidRequest"  # as if its rules knew something wrong with it
REFUSED_OF = 3  # writes, one


def run_release(patch: pytest.MonkeyPatch, number: int) -> None:
    """From here on this process is of that release: 0 is the code as it is."""
    patch.setattr("processors.runtime.own_release", lambda: f"release {number}")
    if number:
        patch.setattr(decide, "_put_object", _strict(decide._put_object))


def _strict(honest: Put) -> Put:
    def put(view: Readable, body: commands.PutObject) -> events.Event:
        if body.etag.isdigit() and int(body.etag) % REFUSED_OF == 0:
            raise Rejected(REFUSAL)
        return honest(view, body)

    return put
