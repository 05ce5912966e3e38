"""Options for the settings of a host, the same for `host add` and `host set`."""

import errno
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer

from tendhost.client import (
    AfterInterruption,
    ComposeVersion,
    HostSettings,
    RestartServices,
    Rollback,
    Snapshots,
    UpdateScope,
)
from tendhost.client.cli.formatting import duration, windows
from tendhost.client.cli.options.health import (
    Checks,
    HookCodes,
    HookTimeout,
    PostHook,
    PreHook,
    SecretHooks,
    Settle,
    checks_of,
    hook_of,
    require_hook,
    settle_of,
)
from tendhost.client.cli.options.option_group import option_group
from tendhost.client.cli.options.scope import (
    Autoremove,
    DownloadFirst,
    Only,
    Removals,
    Security,
    Without,
)
from tendhost.client.cli.session import refuse
from tendhost.client.given_files import FileUnusable, read_given

Name = Annotated[str, typer.Argument(metavar="NAME", help="The host's name.")]
Address = typer.Option(
    metavar="ADDRESS",
    help="Host name or IP address, or 'local' for the server's own machine. Not an alias of ssh_config(5).",
)
Port = typer.Option(
    min=1, max=65_535, metavar="PORT", help="Port of the host's sshd. Default for a new host: 22."
)
User = typer.Option(
    metavar="USER",
    help="User to log in as: root, or a user that can run sudo -n. Default for a new host: root.",
)
Tags = Annotated[
    list[str] | None, typer.Option("--tag", metavar="TAG", help="Tag of the host. May be repeated.")
]
Groups = Annotated[
    list[str] | None,
    typer.Option("--group", metavar="GROUP", help="Group of the host. May be repeated."),
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
    typer.Option("--add-group", metavar="GROUP", help="Add the host to a group. May be repeated."),
]
RemoveGroups = Annotated[
    list[str] | None,
    typer.Option(
        "--remove-group", metavar="GROUP", help="Remove the host from a group. May be repeated."
    ),
]
Paths = Annotated[
    list[str] | None,
    typer.Option(
        "--compose-path",
        metavar="PATH",
        help="Folder of a compose project on the host. May be repeated.",
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="Path of a private key on the server, with its certificate beside it (PATH-cert.pub) if it has one."
        " Default: the server's own key.",
    ),
]
Jump = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Registered host through which to reach this one (ProxyJump). Use '' for none.",
    ),
]
JumpOnly = Annotated[
    bool | None,
    typer.Option(
        "--jump-only/--no-jump-only",
        help="Use the host only as a jump for others, and never query or change it.",
    ),
]
HostKey = Annotated[
    list[str] | None,
    typer.Option(
        "--host-key",
        metavar="KEY",
        help="Key that the host must show: SHA256:…, a public key or its file, or a line of ssh-keygen -l or"
        " known_hosts. May be repeated: the host must show one of them, and all are pinned.",
    ),
]
KnownHosts = Annotated[
    Path | None,
    typer.Option(
        "--known-hosts",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="A known_hosts file with the keys of the host, hashed or not. Lines that name its address or name count.",
    ),
]
AddHostKeys = Annotated[
    list[str] | None,
    typer.Option(
        "--add-host-key",
        metavar="KEY",
        help="Pin a further key beside the pinned ones, as for a rotation of keys. May be repeated.",
    ),
]
RemoveHostKeys = Annotated[
    list[str] | None,
    typer.Option("--remove-host-key", metavar="KEY", help="Remove a pinned key. May be repeated."),
]
Repin = Annotated[
    bool,
    typer.Option(
        "--accept-new-host-key",
        "--repin",
        help="Pin the key that the host shows now in place of the pinned ones, after a reinstallation.",
    ),
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
        help="What to do after an interrupted upgrade: repair the package database and upgrade again,"
        " or only repair it.",
    ),
]
AutoReboot = Annotated[
    bool | None,
    typer.Option(
        "--auto-reboot/--no-auto-reboot",
        help="Reboot the host after an update that requires it.",
    ),
]
Restart = Annotated[
    Literal["never", "restart", "reboot"] | None,
    typer.Option(
        "--restart-services",
        help="Services that still run files that an update replaced: only list them, restart them,"
        " or count them as a reason to reboot.",
    ),
]
MakeSnapshots = Annotated[
    Literal["never", "if-possible", "required"] | None,
    typer.Option("--snapshots", help="Make a snapshot of the root file system before a change."),
]
TakeBack = Annotated[
    Literal["never", "unhealthy"] | None,
    typer.Option(
        "--rollback",
        help="Roll back automatically when the host is unhealthy after an update.",
    ),
]
WhichCompose = Annotated[
    Literal["auto", "v1", "v2"] | None,
    typer.Option("--compose-version", help="Use docker-compose (v1) or docker compose (v2)."),
]
Pull = Annotated[
    bool | None, typer.Option("--pull/--no-pull", help="Pull compose images in an update.")
]
HealthTimeout = Annotated[
    str | None,
    typer.Option(
        "--compose-health-timeout",
        metavar="DURATION",
        help="Time for a compose project to become healthy before it is rolled back: 90s, 5m.",
    ),
]
Prune = Annotated[
    bool | None,
    typer.Option(
        "--compose-prune/--no-compose-prune",
        help="Remove compose images that an update replaced.",
    ),
]
Window = Annotated[
    list[str] | None,
    typer.Option(
        "--window",
        metavar="WINDOW",
        help="Maintenance window: 'sat,sun 22:00-04:00 Europe/Vienna', or 'always'. May be"
        " repeated. Use '' to inherit from the group or fleet policy.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenSettings:
    """The settings of a host that were typed."""

    settings: HostSettings
    """All of them but the scope of updates."""
    scope: dict[str, Any]
    """Those fields of UpdateScope that were typed."""

    def with_scope(self, former: UpdateScope) -> HostSettings:
        """All settings: of the scope, what was not typed is as in `former`."""
        if not self.scope:
            return self.settings
        return {**self.settings, "scope": replace(former, **self.scope)}


def settings_of(
    port: Annotated[int | None, Port] = None,
    user: Annotated[str | None, User] = None,
    ssh_key: Key = None,
    jump: Jump = None,
    jump_only: JumpOnly = None,
    tag: Tags = None,
    group: Groups = None,
    compose_path: Paths = None,
    auto_reboot: AutoReboot = None,
    window: Window = None,
    after_interruption: WhenInterrupted = None,
    restart_services: Restart = None,
    snapshots: MakeSnapshots = None,
    rollback: TakeBack = None,
    pre_hook: PreHook = None,
    post_hook: PostHook = None,
    hook_timeout: HookTimeout = None,
    hook_exit_code: HookCodes = None,
    secret_hooks: SecretHooks = False,
    check: Checks = None,
    settle: Settle = None,
    security: Security = None,
    package: Only = None,
    exclude_package: Without = None,
    allow_removals: Removals = None,
    autoremove: Autoremove = None,
    download_first: DownloadFirst = None,
    compose_version: WhichCompose = None,
    pull: Pull = None,
    compose_health_timeout: HealthTimeout = None,
    compose_prune: Prune = None,
) -> GivenSettings:
    """The settings that were typed. Those that cannot be understood are refused as they were typed."""
    require_hook(pre_hook, post_hook, hook_timeout, hook_exit_code, secret=secret_hooks)
    settings: dict[str, Any] = {
        "port": port,
        "user": user,
        "ssh_key": ssh_key,
        "jump": jump,
        "jump_only": jump_only,
        "tags": _without_empty(tag),
        "groups": _without_empty(group),
        "compose_paths": _without_empty(compose_path),
        "auto_reboot": auto_reboot,
        "windows": windows(window, "--window"),
        "after_interruption": _enum(AfterInterruption, after_interruption),
        "restart_services": _enum(RestartServices, restart_services),
        "snapshots": _enum(Snapshots, snapshots),
        "rollback": _enum(Rollback, rollback),
        "pre_hook": hook_of(
            pre_hook, "--pre-hook", hook_timeout, hook_exit_code, secret=secret_hooks
        ),
        "post_hook": hook_of(
            post_hook, "--post-hook", hook_timeout, hook_exit_code, secret=secret_hooks
        ),
        "health_checks": checks_of(check),
        "settle": settle_of(settle),
        "compose_version": _enum(ComposeVersion, compose_version),
        "pull_before_update": pull,
        "compose_health_timeout": None
        if compose_health_timeout is None
        else duration(compose_health_timeout, "--compose-health-timeout"),
        "compose_prune": compose_prune,
    }
    scope = {
        "security_only": security,
        "include": _without_empty(package),
        "exclude": _without_empty(exclude_package),
        "allow_removals": allow_removals,
        "autoremove": autoremove,
        "download_first": download_first,
    }
    given: HostSettings = _given(settings)  # type: ignore[assignment]
    return GivenSettings(settings=given, scope=_given(scope))


with_settings = option_group(settings_of, "given")
"""Gives a command the options of `settings_of`, and what was typed as its `given`."""

E = TypeVar("E", bound=StrEnum)
MOST_KNOWN_HOSTS = 1024 * 1024
"""Characters of a known_hosts file that the server accepts."""
LARGEST_KEY_FILE = 65_536


def host_keys_of(typed: list[str] | None, option: str) -> list[str]:
    """The keys that were typed, or that stand in files that were named; private ones are refused."""
    keys = [(text, _host_key_of(text, option)) for text in typed or ()]
    for text, key in keys:
        if not key.strip():
            # Most likely of a command that failed; without a key, the server would pin whichever the host shows.
            refuse(f"{option}: {text!r} is empty; expected a fingerprint or a public key")
    return [key for _, key in keys]


def _host_key_of(text: str, option: str) -> str:
    file = Path(text)
    try:
        if not text or "\n" in text or not file.exists():
            return text
        found = read_given(file, most=LARGEST_KEY_FILE).data.decode("utf-8", "replace")
    except FileUnusable as error:
        refuse(f"{option}: {text} {error}; expected a public key")
    except ValueError:  # a NUL in what is no path
        return text
    except OSError as error:
        # A key may be longer than a path.
        if error.errno == errno.ENAMETOOLONG:
            return text
        refuse(f"{option}: cannot read {text}: {error.strerror}")
    if "PRIVATE KEY" in found:
        refuse(f"{option}: {text} is a private key; expected the public key, {text}.pub")
    return found


def known_hosts_of(file: Path | None) -> str:
    """The contents of a known_hosts file; empty: none was named."""
    if file is None:
        return ""
    try:
        text = read_given(file, most=MOST_KNOWN_HOSTS).data.decode("utf-8", "replace")
    except FileUnusable as error:
        refuse(f"--known-hosts: {file} {error}")
    if not text.strip():
        refuse(f"--known-hosts: {file} is empty; expected a known_hosts file")
    return text


def _enum(kind: type[E], text: str | None) -> E | None:
    """The SDK's value for what was typed; options have hyphens where values have underscores."""
    return kind(text.replace("-", "_")) if text else None


def _without_empty(values: list[str] | None) -> tuple[str, ...] | None:
    """The values that were typed; `--tag ''` alone means none."""
    return None if values is None else tuple(filter(None, values))


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
