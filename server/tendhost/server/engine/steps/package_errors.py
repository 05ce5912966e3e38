"""From what is wrong with a host's packages to the error that ends an operation."""

from collections.abc import Mapping

from tendhost.server.domain import host_errors
from tendhost.server.domain.host_errors import HostError, InventoryFailed, PackageFailed
from tendhost.server.packages import errors as found
from tendhost.server.packages.errors import PackageError
from tendhost.server.packages.failures import FailureKind, PackageFailure

_ERRORS: Mapping[type[PackageError], type[PackageFailed | InventoryFailed]] = {
    found.ParseFailed: InventoryFailed,
    found.PartMissing: InventoryFailed,
    found.NoPackageManager: host_errors.PackageManagerMissing,
    found.LockHeld: host_errors.PackageManagerLocked,
    found.NoSpaceLeft: host_errors.DiskFull,
    found.NotRefreshed: host_errors.RefreshFailed,
    found.SourceUntrusted: host_errors.ArchiveUntrusted,
    found.DatabaseBroken: host_errors.PackageDatabaseBroken,
}
"""Every other one is a PackageFailed."""

_KINDS: Mapping[FailureKind, type[PackageFailed]] = {
    FailureKind.LOCK_HELD: host_errors.PackageManagerLocked,
    FailureKind.DISK_FULL: host_errors.DiskFull,
    FailureKind.INTERRUPTED: host_errors.PackageDatabaseBroken,
    FailureKind.DATABASE_UNREADABLE: host_errors.PackageDatabaseBroken,
    FailureKind.REINSTALL_IMPOSSIBLE: host_errors.PackageDatabaseBroken,
    FailureKind.UNMET_DEPENDENCIES: host_errors.PackageDatabaseBroken,
    FailureKind.FETCH_FAILED: host_errors.RefreshFailed,
}


def host_error(host: str, error: PackageError) -> HostError:
    """The error that ends an operation on `host` because of `error`."""
    match error:
        case found.NotPrivileged():
            return host_errors.PrivilegeMissing(host=host, user=error.user, problem=error.text)
        case found.ImmutableSystem():
            return host_errors.SystemImmutable(host=host, why=error.why, instead=error.instead)
        case found.DatabaseBroken(repairable=True):
            # No reason to stop the host for: an update begins by repairing it.
            return PackageFailed(host=host, problem=f"{error}; an update repairs it")
        case found.NotRefreshed(lasting=True) if not isinstance(error, found.SourceUntrusted):
            return host_errors.RefreshFailed(host=host, problem=str(error), lasting=True)
        case found.PackageCommandFailed():
            return PackageFailed(host=host, problem=str(error), exit_status=error.exit_status)
    return _ERRORS.get(type(error), PackageFailed)(host=host, problem=str(error))


def upgrade_error(host: str, failure: PackageFailure, exit_status: int) -> PackageFailed:
    """The error that ends an operation whose package transaction failed."""
    kind = _KINDS.get(failure.kind, PackageFailed)
    return kind(host=host, problem=failure.reason, exit_status=exit_status)


def raise_first(host: str, problems: tuple[PackageError, ...], *, packages: bool) -> None:
    """Raise the first problem that matters: without a change of packages only the privilege does."""
    for problem in problems:
        if packages or isinstance(problem, found.NotPrivileged):
            raise host_error(host, problem) from problem
