"""The rights of each role, as the table in docs/OPERATING.md has them, and users of a broker that have just those."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

GUIDE = Path(__file__).parents[2] / "docs" / "OPERATING.md"
_KINDS = (ResourceType.ANY, None, ResourcePatternType.ANY)
ANY = AclBindingFilter(*_KINDS, None, None, AclOperation.ANY, AclPermissionType.ANY)  # type: ignore[arg-type]
HEADING = "| role | topics | rights |"


class Right(NamedTuple):
    role: str  # a user of that name has it
    kind: str  # topic, group
    name: str
    has_prefix: bool
    operation: str


def told() -> list[Right]:
    return list(_rights(GUIDE.read_text()))


def grant(bootstrap: str, prefix: str, rights: list[Right]) -> None:
    """Give users rights, on topics that begin with `prefix`; `bootstrap` is reached as one who may do all."""
    wanted = [
        AclBinding(
            ResourceType[right.kind.upper()],
            f"{prefix}{right.name}" if right.has_prefix else right.name,
            ResourcePatternType.LITERAL,
            f"User:{right.role}",
            "*",
            AclOperation[right.operation.upper()],
            AclPermissionType.ALLOW,
        )
        for right in rights
    ]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for done in admin.create_acls(wanted).values():
        done.result()
    while not set(wanted) <= set(admin.describe_acls(ANY).result()):  # brokers take them from their log
        time.sleep(0.05)


def _rights(guide: str) -> Iterator[Right]:
    rows = guide.partition(HEADING)[2].partition("\n\n")[0].strip().splitlines()[1:]
    roles = ""
    for row in rows:
        first, resources, operations = (cell.strip() for cell in row.strip("|").split("|"))
        roles = first or roles
        is_group = resources.startswith("group")
        for role in roles.split(", "):
            for name in re.findall("`(.*?)`", resources):
                for operation in re.sub(r" \(.*|:.*", "", operations).split(", "):
                    has_prefix = not is_group or "prefix" in resources
                    yield Right(role.replace(" ", ""), "group" if is_group else "topic", name, has_prefix, operation)
