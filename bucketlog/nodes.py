"""What an operator does with data nodes: POST /-/nodes/NAME/ACTION, and with all of them: POST /-/cluster/ACTION. Answered
when it is decided.

drain: its groups are copied elsewhere, and it gives them up then; stay: no longer; remove: it is forgotten, once it holds
nothing and is not up. 404 NoSuchNode, 409 NodeHoldsData. Of the cluster, pause: no node goes out by itself; resume: again.
"""

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from bucketlog.admin import Answer, json_response
from gateway.errors import S3Error
from gateway.request import Request
from gateway.submit import Commander
from topics import commands

PATH = "/-/nodes/{name}/{action}"
CLUSTER_PATH = "/-/cluster/{action}"


def path(name: str, action: str) -> str:
    return PATH.format(name=name, action=action)


def answer_node(commander: Commander) -> Answer:
    async def answer(http: HttpRequest, request: Request) -> Response:
        name, action = http.path_params["name"], http.path_params["action"]
        await commander.submit(request.id, request.principal, _command(name, action))
        return json_response({"node": name, "done": action})

    return answer


def answer_cluster(commander: Commander) -> Answer:
    async def answer(http: HttpRequest, request: Request) -> Response:
        action = http.path_params["action"]
        if action not in ("pause", "resume"):
            raise S3Error("InvalidArgument", "A cluster can be asked to pause or to resume.")
        await commander.submit(request.id, request.principal, commands.PauseCluster(action == "pause"))
        return json_response({"done": action})

    return answer


def _command(name: str, action: str) -> commands.ClusterBody:
    match action:
        case "drain" | "stay":
            return commands.DrainNode(name, action == "drain")
        case "remove":
            return commands.RemoveNode(name)
        case _:
            raise S3Error("InvalidArgument", "A node can be asked to drain, to stay, or be removed.")
