"""Options for the scope of an update."""

from typing import Annotated

import typer

from tendhost.client import ScopeOverride

Security = Annotated[
    bool | None, typer.Option("--security/--no-security", help="Install only security updates.")
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        "--package", metavar="GLOB", help="Update only packages with this name. May be repeated."
    ),
]
Without = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude-package",
        metavar="GLOB",
        help="Do not update packages with this name. May be repeated.",
    ),
]
Removals = Annotated[
    bool | None,
    typer.Option(
        "--allow-removals/--no-allow-removals",
        help="Allow the removal of packages so that others can be upgraded.",
    ),
]
Autoremove = Annotated[
    bool | None,
    typer.Option(
        "--autoremove/--no-autoremove", help="Remove dependencies that are no longer needed."
    ),
]
DownloadFirst = Annotated[
    bool | None,
    typer.Option(
        "--download-first/--no-download-first",
        help="Download everything before anything is changed.",
    ),
]


def override_of(
    security: bool | None,
    package: list[str] | None,
    exclude_package: list[str] | None,
    allow_removals: bool | None,
    autoremove: bool | None,
    download_first: bool | None,
) -> ScopeOverride | None:
    """What the options ask for over each host's policy; None where none was given.

    An empty name takes the names of the policy away.
    """
    given = (security, package, exclude_package, allow_removals, autoremove, download_first)
    if all(option is None for option in given):
        return None
    names = (*(package or ()), *(exclude_package or ()))
    return ScopeOverride(
        security_only=security,
        include=tuple(filter(None, package or ())),
        exclude=tuple(filter(None, exclude_package or ())),
        ignore_policy_packages="" in names,
        allow_removals=allow_removals,
        autoremove=autoremove,
        download_first=download_first,
    )
