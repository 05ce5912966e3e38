"""Tokens, formatted for people."""

from collections.abc import Sequence

from tendhost.client import HostFilter, Token
from tendhost.client.cli.console import draw, say, say_incomplete, table
from tendhost.client.cli.formatting import ago


def tokens(found: Sequence[Token]) -> None:
    """Tokens, by id."""
    if not found:
        say("no tokens")
        return
    rows = (
        (
            token.id,
            token.principal,
            ", ".join(token.roles),
            f"{token.expires_at:%Y-%m-%d %H:%M} UTC" if token.expires_at else "never",
            ago(token.last_used_at) if token.last_used_at else "never",
            scope(token.scope),
            token.description,
        )
        for token in found
    )
    draw(table(("ID", "PRINCIPAL", "ROLES", "EXPIRES", "LAST USED", "HOSTS", "DESCRIPTION"), rows))
    say_incomplete(*((token.id, token.incomplete) for token in found))


def scope(bound: HostFilter | None) -> str:
    """The hosts that a token is bound to, in words."""
    if bound is None:
        return "all"
    parts = (
        ("group", " or ", bound.groups),
        ("tag", " and ", bound.all_tags),
        ("tag", " or ", bound.any_tags),
    )
    return "; ".join(f"{noun} {joint.join(names)}" for noun, joint, names in parts if names)
