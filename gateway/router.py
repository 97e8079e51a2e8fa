"""Which S3 operation a request asks for, decided here and nowhere else, from S3's own model.

It depends on the method, on whether there are a bucket and a key, and on the *sub-resources* that the query names: those
that stand in a request URI of the model (?acl), and parameters without which an operation is another one (?uploadId).
An operation answers only if it knows every sub-resource that is named, so none is ever passed over.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from gateway import configurations
from gateway.errors import S3Error, invalid_argument
from gateway.model import Route, routes_of_s3, subresources
from gateway.operations import OPERATIONS, POST_OBJECT, PREFLIGHT, Operation
from gateway.request import Request

_PATHS = ("/", "/{Bucket}", "/{Bucket}/{Key+}")  # by how much of bucket and key a request names
_NONE = frozenset[str]()


class _Candidate(NamedTuple):
    operation: Operation
    selects: frozenset[str]  # the sub-resources that ask for it
    takes: frozenset[str]  # these, and its other parameters
    values: dict[str, str]  # that a sub-resource must have: list-type=2
    query: frozenset[str]  # without which another candidate is meant
    headers: frozenset[str]


def route(request: Request) -> Operation:
    """Raises InvalidArgument for sub-resources that exclude each other, MethodNotAllowed, or NotImplemented."""
    if request.method == "OPTIONS" and request.bucket:
        return PREFLIGHT  # whatever the question is about
    named = subresources().intersection(request.query) if request.query else _NONE
    candidates = _candidates(request.method, 2 if request.key else 1 if request.bucket else 0, named)
    found = candidates[-1]
    if len(candidates) > 1:
        query, headers = request.query.keys(), request.headers.keys()
        for each in candidates:
            if each.query <= query and each.headers <= headers:
                found = each
                break
    for name, value in found.values.items():
        if request.query[name] != value:
            raise invalid_argument(name, request.query[name], f"Invalid {name} specified in Request")
    return found.operation


@lru_cache(1024)
def _candidates(method: str, level: int, named: frozenset[str]) -> tuple[_Candidate, ...]:
    """Those that answer to these sub-resources, the one that asks for most first."""
    possible = [each for each in _ALL.get((method, level), ()) if each.selects <= named <= each.takes]
    if possible:
        most = max(len(each.selects) for each in possible)
        return tuple(each for each in possible if len(each.selects) == most)
    if not named or method not in _METHODS:
        raise S3Error("MethodNotAllowed", "", [("allow", _allowed(level, named))])
    if len(named) > 1:
        message = f"Conflicting query string parameters: {', '.join(sorted(named))}"
        raise invalid_argument("ResourceType", min(named), message)
    if level == 0:
        raise S3Error("NotImplemented")
    return (_Candidate(_UNKNOWN, named, named, {}, _NONE, _NONE),)


def _allowed(level: int, named: frozenset[str]) -> str:
    """The methods that there are here (RFC 9110 §10.2.1)."""
    known = {key: [each for each in found if each.selects <= named <= each.takes] for key, found in _ALL.items()}
    return ", ".join(sorted({method for (method, where), found in known.items() if where == level and found}))


_UNKNOWN = Operation("", configurations.not_implemented)


def _read(routes: Iterable[Route]) -> dict[tuple[str, int], list[_Candidate]]:
    """Candidates by method and level."""
    routes = [each for each in routes if each.uri.partition("?")[0] in _PATHS]
    optional = {name for each in routes for name in each.query.keys() - each.required}
    handlers = {each.name: each for each in OPERATIONS}
    found: dict[tuple[str, int], list[_Candidate]] = {}
    for each in routes:
        candidate = _Candidate(
            handlers.get(each.name, Operation(each.name, configurations.not_implemented)),
            frozenset(each.named) or each.required - optional,
            frozenset(each.named) | each.query.keys(),
            {name: value for name, value in each.named.items() if value},
            each.required,
            frozenset(each.headers),
        )
        found.setdefault((each.method, _PATHS.index(each.uri.partition("?")[0])), []).append(candidate)
    for candidates in found.values():
        candidates.sort(key=lambda each: (-len(each.query) - len(each.headers), each.operation.name not in handlers))
    return found


_ALL = _read([*routes_of_s3(), Route(POST_OBJECT.name, "POST", "/{Bucket}")])
_METHODS = {method for method, _ in _ALL}
