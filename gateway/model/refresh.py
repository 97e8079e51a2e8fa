"""Makes `s3-routes.json` anew from the description of S3 that the installed botocore carries:

    .venv/bin/python -m gateway.model.refresh

After an update of botocore; a test fails until it was done. Documentation and shapes are left out.
"""

import json
from pathlib import Path
from typing import Any

from botocore.loaders import Loader

TARGET = Path(__file__).with_name("s3-routes.json")


def routes() -> list[dict[str, Any]]:
    """One an operation: name, method, URI, query parameters by name (whether required), required headers."""
    model = Loader().load_service_model("s3", "service-2")
    return [_route(name, operation, model["shapes"]) for name, operation in model["operations"].items()]


def text() -> str:
    return "[\n" + ",\n".join(json.dumps(each, separators=(",", ":")) for each in routes()) + "\n]\n"


def _route(name: str, operation: dict[str, Any], shapes: dict[str, Any]) -> dict[str, Any]:
    shape = shapes[operation["input"]["shape"]] if "input" in operation else {"members": {}}
    required = set(shape.get("required", []))
    found: dict[str, dict[str, bool]] = {"querystring": {}, "header": {}}
    for member, what in shape["members"].items():
        if what.get("location") in found:
            found[what["location"]][what["locationName"]] = member in required
    headers = [each for each, is_required in found["header"].items() if is_required]
    http = operation["http"]
    return {
        "name": name,
        "method": http["method"],
        "uri": http["requestUri"],
        "query": found["querystring"],
        "headers": headers,
    }


if __name__ == "__main__":
    TARGET.write_text(text())
