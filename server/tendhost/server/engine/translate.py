"""From what the parsers say went wrong to what ends an operation."""

from tendhost.server.domain import errors
from tendhost.server.domain.errors import WorkError
from tendhost.server.packages import errors as found
from tendhost.server.packages.failures import Failure, FailureKind

_KINDS: dict[FailureKind, type[errors.PackageFailed]] = {
    FailureKind.LOCK_HELD: errors.PackageManagerLocked,
    FailureKind.DISK_FULL: errors.DiskFull,
    FailureKind.INTERRUPTED: errors.PackageDatabaseBroken,
    FailureKind.DATABASE_UNREADABLE: errors.PackageDatabaseBroken,
    FailureKind.REINSTALL_IMPOSSIBLE: errors.PackageDatabaseBroken,
    FailureKind.UNMET_DEPENDENCIES: errors.PackageDatabaseBroken,
    FailureKind.FETCH_FAILED: errors.RefreshFailed,
}


def work_error(host: str, error: found.PackageError) -> WorkError:
    """The error that ends an operation on `host` because of `error`."""
    match error:
        case found.ParseFailed():
            return errors.InventoryFailed(host=host, problem=str(error))
        case found.NotPrivileged():
            return errors.PrivilegeMissing(host=host, user=error.user, problem=error.words)
        case found.NoPackageManager():
            return errors.PackageManagerMissing(host=host, problem=str(error))
        case found.LockHeld():
            return errors.PackageManagerLocked(host=host, problem=str(error))
        case found.DiskFull():
            return errors.DiskFull(host=host, problem=str(error))
        case found.ArchiveUntrusted():
            return errors.ArchiveUntrusted(host=host, problem=str(error))
        case found.RefreshFailed():
            return errors.RefreshFailed(host=host, problem=str(error))
        case found.PackageDatabaseBroken(repairable=False):
            return errors.PackageDatabaseBroken(host=host, problem=str(error))
        case found.PackageDatabaseBroken():
            # No reason to stop the host for: an update begins by repairing it.
            problem = f"{error}; an update repairs it"
            return errors.PackageFailed(host=host, problem=problem)
        case found.PackageCommandFailed():
            return errors.PackageFailed(
                host=host, problem=str(error), exit_status=error.exit_status
            )
        case _:
            return errors.PackageFailed(host=host, problem=str(error))


def upgrade_error(host: str, failure: Failure, exit_status: int) -> errors.PackageFailed:
    """The error that ends an operation whose package transaction failed."""
    kind = _KINDS.get(failure.kind, errors.PackageFailed)
    return kind(host=host, problem=failure.reason, exit_status=exit_status)
