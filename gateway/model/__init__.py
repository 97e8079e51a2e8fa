"""Which operations S3 has and how each is asked for: data derived from botocore's description of S3 (see NOTICE).

`python -m gateway.model.refresh` makes it anew.
"""

from importlib.resources import files

import msgspec


class Route(msgspec.Struct, frozen=True):
    """How an operation is asked for."""

    name: str
    method: str
    uri: str  # /, /{Bucket} or /{Bucket}/{Key+}, with the query that names a sub-resource
    query: dict[str, bool] = {}  # further parameters, and whether each is required
    headers: list[str] = []  # required ones


def routes_of_s3() -> list[Route]:
    return msgspec.json.decode(files(__name__).joinpath("s3-routes.json").read_bytes(), type=list[Route])
