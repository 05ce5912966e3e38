"""Commands that change a host, as a type of their own, and the permission that each kind needs.

A command that changes a host is not a string, so nothing that runs scripts accepts it: only the door
(`engine/jobs/door.py`) does, and asks for permission each time. A script that only reads is a string.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Permission(StrEnum):
    """What is checked right before a changing command is sent."""

    CHANGE = "change"
    """Window, freeze, cancellation and deadline."""
    PREPARE = "prepare"
    """Cancellation and deadline: what the host runs stays as it is, so no window has to be open."""
    FINISH = "finish"
    """Nothing: the command completes or reverts a change that has begun, and a host that is left in the middle
    of it is worse than one that is changed outside its window."""


class ChangeKind(StrEnum):
    """What a changing command does, whether a job runs it or a connection waits for its end.

    The kind of a job (`JobRecord`) is one of these: what a job may do is what it is permitted to do. Which step
    runs which of them stands in the step's traits.
    """

    REBOOT = "reboot"
    RESTART_SERVICES = "restart_services"
    SNAPSHOT = "snapshot"
    DOWNLOAD = "download"
    APPLY = "apply"
    REPAIR = "repair"
    COMPOSE = "compose"
    PRE_HOOK = "pre_hook"
    POST_HOOK = "post_hook"
    ROLLBACK = "rollback"
    UNDO = "undo"
    """Compose projects return to their former images."""


_CHANGE = frozenset({Permission.CHANGE})
_FINISH = frozenset({Permission.FINISH})
PERMISSIONS: Mapping[ChangeKind, frozenset[Permission]] = MappingProxyType(
    {
        ChangeKind.REBOOT: _CHANGE,
        ChangeKind.RESTART_SERVICES: _CHANGE,
        ChangeKind.SNAPSHOT: _CHANGE,
        ChangeKind.DOWNLOAD: frozenset({Permission.PREPARE}),
        ChangeKind.APPLY: _CHANGE,
        # What the operation's own transaction left is repaired at any time; a host that was found broken is not.
        ChangeKind.REPAIR: frozenset({Permission.CHANGE, Permission.FINISH}),
        ChangeKind.COMPOSE: _CHANGE,
        ChangeKind.PRE_HOOK: _CHANGE,
        ChangeKind.POST_HOOK: _FINISH,
        ChangeKind.ROLLBACK: _FINISH,
        ChangeKind.UNDO: _FINISH,
    }
)
"""The permissions with which each kind may be sent; the door accepts no others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangingCommand:
    """A command for sh that changes a host. Only `remote/changes.py` reads `change_script`."""

    kind: ChangeKind
    change_script: str
    privileged: bool = False
    """Whether it runs as root, through sudo for anybody else."""
