"""What an operator does with data nodes: POST /-/nodes/NAME/ACTION, answered when it is decided.

drain: its groups are copied elsewhere, and it gives them up then; stay: no longer; remove: it is forgotten, once it holds
nothing and is not up. 404 NoSuchNode, 409 NodeHoldsData.
"""

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from bucketlog.admin import Answer, json_response
from gateway.errors import S3Error
from gateway.request import Request
from gateway.submit import Commander
from topics import commands

PATH = "/-/nodes/{name}/{action}"


def path(name: str, action: str) -> str:
    return PATH.format(name=name, action=action)


def answer_node(commander: Commander) -> Answer:
    async def answer(http: HttpRequest, request: Request) -> Response:
        name, action = http.path_params["name"], http.path_params["action"]
        await commander.submit(request.id, request.principal, _command(name, action))
        return json_response({"node": name, "done": action})

    return answer


def _command(name: str, action: str) -> commands.ClusterBody:
    match action:
        case "drain" | "stay":
            return commands.DrainNode(name, action == "drain")
        case "remove":
            return commands.RemoveNode(name)
        case _:
            raise S3Error("InvalidArgument", "A node can be asked to drain, to stay, or be removed.")
