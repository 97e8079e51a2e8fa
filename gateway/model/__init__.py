"""Which operations S3 has and how each is asked for: data derived from botocore's description of S3 (see NOTICE).

`python -m gateway.model.refresh` makes it anew.
"""

import functools
from importlib.resources import files

import msgspec


class Route(msgspec.Struct, frozen=True):
    """How an operation is asked for."""

    name: str
    method: str
    uri: str  # /, /{Bucket} or /{Bucket}/{Key+}, with the query that names a sub-resource
    query: dict[str, bool] = {}  # further parameters, and whether each is required
    headers: list[str] = []  # required ones

    @property
    def named(self) -> dict[str, str]:
        """The sub-resources in its URI, and their values."""
        pairs = self.uri.partition("?")[2].split("&")
        return dict(pair.partition("=")[::2] for pair in pairs if pair)

    @property
    def required(self) -> frozenset[str]:
        """Further parameters without which another operation is asked for, or none."""
        return frozenset(name for name, is_required in self.query.items() if is_required)


@functools.cache
def routes_of_s3() -> list[Route]:
    return msgspec.json.decode(files(__name__).joinpath("s3-routes.json").read_bytes(), type=list[Route])


@functools.cache
def subresources() -> frozenset[str]:
    """The parameters that name an operation: those of URIs, and those that an operation without any requires."""
    return frozenset(name for route in routes_of_s3() for name in route.named or route.required)
