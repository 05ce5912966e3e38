"""From what the parsers say went wrong to what ends an operation."""

from tendhost.server.domain import host_errors
from tendhost.server.domain.host_errors import HostError
from tendhost.server.packages import errors as found
from tendhost.server.packages.errors import NotPrivileged, PackageError
from tendhost.server.packages.failures import FailureKind, PackageFailure

_KINDS: dict[FailureKind, type[host_errors.PackageFailed]] = {
    FailureKind.LOCK_HELD: host_errors.PackageManagerLocked,
    FailureKind.DISK_FULL: host_errors.DiskFull,
    FailureKind.INTERRUPTED: host_errors.PackageDatabaseBroken,
    FailureKind.DATABASE_UNREADABLE: host_errors.PackageDatabaseBroken,
    FailureKind.REINSTALL_IMPOSSIBLE: host_errors.PackageDatabaseBroken,
    FailureKind.UNMET_DEPENDENCIES: host_errors.PackageDatabaseBroken,
    FailureKind.FETCH_FAILED: host_errors.RefreshFailed,
}


def host_error(host: str, error: found.PackageError) -> HostError:
    """The error that ends an operation on `host` because of `error`."""
    match error:
        case found.ParseFailed():
            return host_errors.InventoryFailed(host=host, problem=str(error))
        case found.NotPrivileged():
            return host_errors.PrivilegeMissing(host=host, user=error.user, problem=error.words)
        case found.NoPackageManager():
            return host_errors.PackageManagerMissing(host=host, problem=str(error))
        case found.LockHeld():
            return host_errors.PackageManagerLocked(host=host, problem=str(error))
        case found.DiskFull():
            return host_errors.DiskFull(host=host, problem=str(error))
        case found.ArchiveUntrusted():
            return host_errors.ArchiveUntrusted(host=host, problem=str(error))
        case found.RefreshFailed():
            return host_errors.RefreshFailed(host=host, problem=str(error))
        case found.PackageDatabaseBroken(repairable=False):
            return host_errors.PackageDatabaseBroken(host=host, problem=str(error))
        case found.PackageDatabaseBroken():
            # No reason to stop the host for: an update begins by repairing it.
            problem = f"{error}; an update repairs it"
            return host_errors.PackageFailed(host=host, problem=problem)
        case found.PackageCommandFailed():
            return host_errors.PackageFailed(
                host=host, problem=str(error), exit_status=error.exit_status
            )
        case _:
            return host_errors.PackageFailed(host=host, problem=str(error))


def upgrade_error(
    host: str, failure: PackageFailure, exit_status: int
) -> host_errors.PackageFailed:
    """The error that ends an operation whose package transaction failed."""
    kind = _KINDS.get(failure.kind, host_errors.PackageFailed)
    return kind(host=host, problem=failure.reason, exit_status=exit_status)


def raise_first(host: str, problems: tuple[PackageError, ...], *, packages: bool) -> None:
    """Raise the first problem that matters: without a change of packages only the privilege does."""
    for problem in problems:
        if packages or isinstance(problem, NotPrivileged):
            raise host_error(host, problem) from problem
