"""Options that say what is configured of a host."""

from typing import Annotated, Literal

import typer

Name = Annotated[str, typer.Argument(metavar="NAME", help="The host's name.")]
Address = typer.Option(
    metavar="ADDRESS", help="Host name or IP address; 'local': the server's own."
)
Port = typer.Option(min=1, max=65_535, metavar="PORT", help="The port of its sshd.")
User = typer.Option(metavar="USER", help="root, or one that may use sudo -n.")
Tags = Annotated[
    list[str] | None, typer.Option("--tag", metavar="TAG", help="A tag. May be repeated.")
]
Groups = Annotated[
    list[str] | None, typer.Option("--group", metavar="GROUP", help="A group. May be repeated.")
]
AddTags = Annotated[
    list[str] | None,
    typer.Option("--add-tag", metavar="TAG", help="Add a tag. May be repeated."),
]
RemoveTags = Annotated[
    list[str] | None,
    typer.Option("--remove-tag", metavar="TAG", help="Remove a tag. May be repeated."),
]
AddGroups = Annotated[
    list[str] | None,
    typer.Option("--add-group", metavar="GROUP", help="Add it to a group. May be repeated."),
]
RemoveGroups = Annotated[
    list[str] | None,
    typer.Option(
        "--remove-group", metavar="GROUP", help="Remove it from a group. May be repeated."
    ),
]
Paths = Annotated[
    list[str] | None,
    typer.Option(
        "--compose-path", metavar="PATH", help="A compose project's folder on it. May be repeated."
    ),
]
Key = Annotated[
    str | None, typer.Option(metavar="PATH", help="A private key on the server. Else: its own.")
]
HostKey = Annotated[
    str, typer.Option(metavar="KEY", help="The key that it must show: SHA256:… or a public key.")
]
Duplicate = Annotated[
    bool,
    typer.Option(
        "--allow-duplicate", help="Accept a host key or an address that another host has."
    ),
]
WhenInterrupted = Annotated[
    Literal["upgrade", "repair"] | None,
    typer.Option(
        "--after-interruption",
        help="An upgrade that was cut off on it: begin it once more, or only repair what it left.",
    ),
]
AutoReboot = Annotated[
    bool | None,
    typer.Option(
        "--auto-reboot/--no-auto-reboot",
        help="Whether an update may reboot it when it needs that.",
    ),
]
Restart = Annotated[
    Literal["never", "restart", "reboot"] | None,
    typer.Option(
        "--restart-services",
        help="Services that still run what an update replaced: only list them, restart them, or"
        " count them as a reason to reboot.",
    ),
]
MakeSnapshots = Annotated[
    Literal["never", "if-possible", "required"] | None,
    typer.Option("--snapshots", help="Whether to make a file system snapshot before a change."),
]
TakeBack = Annotated[
    Literal["never", "unhealthy"] | None,
    typer.Option("--rollback", help="Whether an update is taken back by itself."),
]
WhichCompose = Annotated[
    Literal["auto", "v1", "v2"] | None,
    typer.Option("--compose-version", help="docker-compose (v1) or docker compose (v2)."),
]
Pull = Annotated[
    bool | None, typer.Option("--pull/--no-pull", help="Whether an update pulls compose images.")
]
HealthTimeout = Annotated[
    str | None,
    typer.Option(
        "--compose-health-timeout",
        metavar="DURATION",
        help="How long a compose project may take to be healthy before it is put back: 90s, 5m.",
    ),
]
Prune = Annotated[
    bool | None,
    typer.Option(
        "--compose-prune/--no-compose-prune",
        help="Whether compose images that an update replaced are removed.",
    ),
]
Window = Annotated[
    list[str] | None,
    typer.Option(
        "--window",
        metavar="WINDOW",
        help="When it may be changed: 'sat,sun 22:00-04:00 Europe/Vienna', or 'always'. May be"
        " repeated. '' alone: as its groups and the fleet say.",
    ),
]
