"""Options that select hosts: for rollouts and saved selections, and for what a list shows."""

from typing import Annotated

import typer

Saved = Annotated[
    str,
    typer.Option(
        "--selection", metavar="NAME", help="Also require membership in this saved selection."
    ),
]
HostNames = Annotated[
    list[str] | None,
    typer.Option(
        "--host", metavar="NAME", help="Select a host, or hosts by a glob. May be repeated."
    ),
]
HostTags = Annotated[
    list[str] | None,
    typer.Option(
        "--tag", metavar="TAG", help="Select hosts with all of these tags. May be repeated."
    ),
]
AnyHostTags = Annotated[
    list[str] | None,
    typer.Option(
        "--any-tag", metavar="TAG", help="Select hosts with one of these tags. May be repeated."
    ),
]
HostGroups = Annotated[
    list[str] | None,
    typer.Option(
        "--group", metavar="GROUP", help="Select hosts in one of these groups. May be repeated."
    ),
]
ExcludedHosts = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude", metavar="NAME", help="Exclude a host, or hosts by a glob. May be repeated."
    ),
]
HostStates = Annotated[
    list[str] | None,
    typer.Option(
        "--state", metavar="STATE", help="Select hosts in one of these states. May be repeated."
    ),
]
RebootNeeded = Annotated[
    bool | None,
    typer.Option(
        "--reboot-needed/--no-reboot-needed",
        help="Select hosts that need a reboot, or that do not.",
    ),
]
ShownNames = Annotated[
    list[str] | None,
    typer.Option("--name", metavar="NAME", help="Show only hosts with this name or glob."),
]
ShownTags = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="TAG", help="Show only hosts with all of these tags."),
]
ShownGroups = Annotated[
    list[str] | None,
    typer.Option("--group", metavar="GROUP", help="Show only hosts in one of these groups."),
]
NotShown = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="NAME", help="Exclude hosts with this name or glob."),
]


def without_empty(values: list[str] | None) -> tuple[str, ...] | None:
    """The values that were given: None without the option, and none at all for '' alone."""
    return None if values is None else tuple(value for value in values if value)
