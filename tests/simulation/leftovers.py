"""What somebody has changed in the code and not put back: a plant that stays would be in all worlds behind it."""

import sys
from collections.abc import Iterator
from typing import Any

PACKAGES = ("topics", "processors", "datanode", "gateway", "bucketlog", "tests.simulation", "tests.disks")
OF_LIBRARIES = {"_abc_impl", "__msgspec_cache__", "__doc__"}  # which they set when they want
Name = tuple[str, ...]


def code() -> dict[Name, Any]:
    """All that modules and their classes have."""
    return dict(_names())


def changed(before: dict[Name, Any]) -> list[str]:
    return sorted(".".join(name) for name, value in _names() if name in before and before[name] is not value)


def _names() -> Iterator[tuple[Name, Any]]:
    for module, found in list(sys.modules.items()):
        if not f"{module}.".startswith(tuple(f"{each}." for each in PACKAGES)):
            continue
        for name, value in vars(found).items():
            yield (module, name), value
            if isinstance(value, type) and value.__module__ == module:
                yield from (((module, name, each), of) for each, of in vars(value).items() if each not in OF_LIBRARIES)
