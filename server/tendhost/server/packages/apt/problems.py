"""What is wrong with a host where an apt or dpkg command fails that should have changed nothing."""

from tendhost.server.packages.apt.failures import diagnose, lock_holder
from tendhost.server.packages.errors import (
    DatabaseBroken,
    LockHeld,
    NoSpaceLeft,
    PackageCommandFailed,
    PackageError,
)
from tendhost.server.packages.failures import FailureKind


def apt_problem(command: str, exit_status: int, output: str) -> PackageError:
    """The error for a failed apt or dpkg command that should have changed nothing."""
    failure = diagnose(exit_status, output)
    match failure.kind:
        case FailureKind.LOCK_HELD if holder := lock_holder(output):
            return LockHeld(path=holder.path, pid=holder.pid, command=holder.command)
        case FailureKind.DISK_FULL:
            return NoSpaceLeft(text=failure.reason)
        case FailureKind.INTERRUPTED:
            return DatabaseBroken(text="dpkg was interrupted", repairable=True)
        case FailureKind.DATABASE_UNREADABLE | FailureKind.REINSTALL_IMPOSSIBLE:
            return DatabaseBroken(text=failure.reason, repairable=False)
        case FailureKind.UNMET_DEPENDENCIES:
            return DatabaseBroken(
                text="dependencies are unmet", packages=failure.packages, repairable=False
            )
    return PackageCommandFailed(command=command, exit_status=exit_status, text=failure.reason)
