"""The script that shows after a login who the user is, and how the user becomes root."""

from dataclasses import dataclass

from tendhost.server.packages.bounding import parser
from tendhost.server.packages.facts import PRIVILEGE, Privilege, parse_privilege
from tendhost.server.packages.script import framed_script, parse_parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """What a user who has logged in can do."""

    user: str
    """Name of the user, as the host says it."""
    privilege: Privilege
    sudo_message: str
    """The message of sudo if it refuses; empty otherwise."""


def login_script() -> str:
    """The script that asks who the user is and how the user becomes root. It changes nothing."""
    return framed_script(PRIVILEGE, "part privilege privilege")


@parser
def parse_login(output: bytes) -> Login:
    """Understand the output of `login_script`. Raises ParseFailed, PartMissing."""
    part = parse_parts(output, expected=("privilege",))["privilege"]
    privilege, user = parse_privilege(part)
    return Login(user=user, privilege=privilege, sudo_message=part.message)
